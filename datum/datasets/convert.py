"""Conversion of label ids to train ids, with the class statistics that rare class sampling reads.

Names and bytes are those of DAFormer's `tools/convert_datasets/{gta,synthia,cityscapes}.py`, called as its
README does (`python tools/convert_datasets/gta.py data/gta`). Three things differ: a pixel is mapped by one
lookup; Cityscapes is converted from `*_gtFine_labelIds.png` (the polygons are not needed: they draw the same
ids); and Cityscapes' frames are listed in sorted order, where DAFormer lists them as the file system does.
"""

import contextlib
import dataclasses
import functools
import multiprocessing
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
from PIL import Image

from datum.datasets.conversion_journal import Journal
from datum.disk import flush_folder
from datum.errors import InputError, TemporaryFaultError
from datum.formats.class_statistics import STATISTICS_FILES, statistics_texts
from datum.label_files import sizes_differ
from datum.labels import CLASSES
from datum.layouts import Pair, check_dataset, describe_passed_over, find_pairs, layout_of
from datum.methods import DatasetName
from datum.one_writer import locked
from datum.photographs import image_header, read_image
from datum.processors import end_with_parent, processors
from datum.room import require_disk
from datum.telemetry import Progress, log

DEFAULT_WORKERS = processors()
"""Processes that convert labels: one a processor that this process may use."""

_PIXELS_A_PROCESS = 16_000_000
"""Labels of fewer pixels (half a second's work) are done before another process has started."""

_LITTLE = 10**8
"""Bytes of disk that are not worth a line."""

_LOCK = ".datum-conversion"
"""What is locked in the root of a data set."""


def convert(dataset: DatasetName, root: Path, *, workers: int = DEFAULT_WORKERS) -> None:
    """Writes `*_labelTrainIds.png` beside every label of `root`, and the three JSON files into `root`.

    Cityscapes also gets `train.txt`, `val.txt` and `test.txt` with the frames of the splits that have
    labels; its statistics count the training split. `workers` is the number of processes.

    Raises `InputError` for a folder that is missing or cannot be written to, a pair that is not complete, a
    file that cannot be read, a label of another size than its image, a label with ids outside the data set's
    space, and where another process is converting `root`. Everything is read and verified before the first
    output takes its name, and the JSON files come last: an interrupted conversion leaves none, and the next
    one goes on where it was.
    """
    pairs = find_pairs(dataset, root)
    if notice := describe_passed_over(dataset, root, pairs):
        log(notice)
    _require_writable([root])
    folders = {root, *((root / pair.train_ids).parent for pair in pairs)}
    with _unchanged_where_refused(folders), locked(root / _LOCK):
        convert_pairs(dataset, pairs, root, root, recorded_root=root, workers=workers)


def convert_pairs(
    dataset: DatasetName,
    pairs: Sequence[Pair],
    root: Path,
    destination: Path,
    *,
    recorded_root: Path,
    workers: int,
    scale: tuple[int, int] | None = None,
) -> None:
    """Converts `pairs` of `root` as `convert` does, with the outputs below `destination`.

    The folders of the outputs must be there, and no other process may work on them. The JSON files name them
    below `recorded_root`: the place that `destination` will be renamed to. With `scale` = (width, height) the
    images are outputs too, and they and the converted labels are resized to fit within it where they are
    larger, as training would resize them; the JSON files tell of the labels in full size.
    """
    if workers < 1:
        raise InputError(f"--workers {workers}: expected a number of processes, 1 or more")
    targets = [destination / pair.train_ids for pair in pairs]
    if scale:
        targets += [destination / pair.image for pair in pairs]
    indices = [destination / name for name in STATISTICS_FILES]
    split_lists = {
        destination / f"{split}.txt": text
        for split in layout_of(dataset).splits
        if (text := "".join(f"{pair.frame}\n" for pair in pairs if pair.split == split))
    }
    files = [*targets, *split_lists, *indices]
    folders = sorted({file.parent for file in files})
    _require_writable(folders)
    _remove_leftovers(folders, files)
    with _goes_on_or_leaves_nothing(Journal(dataset, root, destination), files) as journal:
        counts = _convert_all(_Work(dataset, root, destination, scale), pairs, journal, workers)
        statistics = {
            str(recorded_root / pair.train_ids): count
            for pair, count in zip(pairs, counts)
            if pair.split in ("", "train")
        }
        for file, text in [*split_lists.items(), *zip(indices, statistics_texts(statistics))]:
            _staged(file).write_text(text, encoding="utf-8")
        for folder in folders[:1] if len({folder.stat().st_dev for folder in folders}) == 1 else folders:
            flush_folder(folder)
        # Those of an earlier conversion go first, so that they never describe labels of this one.
        for file in indices:
            file.unlink(missing_ok=True)
        for file in files:
            # Where a conversion was killed in this very loop, some have their names already.
            with contextlib.suppress(FileNotFoundError):
                _staged(file).replace(file)


@dataclasses.dataclass(frozen=True)
class _Work:
    """What a process needs to know to convert a label."""

    dataset: DatasetName
    root: Path
    destination: Path
    scale: tuple[int, int] | None


def _convert_all(work: _Work, pairs: Sequence[Pair], journal: Journal, workers: int) -> list[dict[int, int]]:
    """Pixels by train id of every pair's label, in the pairs' order."""
    counts: dict[str, dict[int, int]] = {}
    for pair in pairs:
        file = work.destination / pair.train_ids
        if (known := journal.counts(pair, [_staged(file), file])) is not None:
            counts[pair.label] = known
    remaining = [pair for pair in pairs if pair.label not in counts]
    if counts:
        log(f"convert {work.dataset}: goes on after {len(counts)} of {len(pairs)} labels")
    # A label of train ids takes about as much as the label, and a smaller image less than the image.
    read = [pair.label for pair in remaining] + [pair.image for pair in remaining if work.scale]
    needed = sum((work.root / name).stat().st_size for name in read)
    if needed > _LITTLE:
        require_disk(work.destination, needed, f"convert {work.dataset}")
    progress = Progress(f"convert {work.dataset}", len(pairs), unit="labels", done=len(counts))
    looks = {pair.label: journal.look(pair) for pair in remaining}
    with contextlib.ExitStack() as stack:
        for pair, count in zip(remaining, _results(work, remaining, workers, stack)):
            journal.add(pair, looks[pair.label], _staged(work.destination / pair.train_ids), count)
            counts[pair.label] = count
            progress.advance()
    return [counts[pair.label] for pair in pairs]


def _results(
    work: _Work, pairs: Sequence[Pair], workers: int, stack: contextlib.ExitStack
) -> Iterator[dict[int, int]]:
    """Converts `pairs`, in processes of their own where there are many."""
    convert_one = functools.partial(_convert_label, work)
    width, height = image_header(work.root / pairs[0].label)[0] if pairs else (0, 0)
    processes = min(workers, max(1, len(pairs) * width * height // _PIXELS_A_PROCESS))
    if processes == 1:
        yield from map(convert_one, pairs)
        return
    context = multiprocessing.get_context("spawn")
    pool = stack.enter_context(
        ProcessPoolExecutor(
            processes, mp_context=context, initializer=end_with_parent, initargs=(os.getpid(),)
        )
    )
    # Closed first: what has not begun by then is not begun.
    results = stack.enter_context(contextlib.closing(pool.map(convert_one, pairs)))  # type: ignore[type-var]
    try:
        yield from results
    except BrokenProcessPool:
        raise TemporaryFaultError(
            f"convert {work.dataset}: the system ended one of {processes} processes, as it does where memory "
            "is used up; give fewer --workers or more memory"
        ) from None


def check_labels(dataset: DatasetName, root: Path) -> None:
    """Reads every label of `root` that a run reads; raises `InputError` where `convert` would."""
    _, pairs = check_dataset(dataset, root)
    progress = Progress(f"check {dataset}", len(pairs), unit="labels")
    with ThreadPoolExecutor(processors()) as pool:
        for _ in pool.map(functools.partial(_read_checked_label, dataset, root), pairs):
            progress.advance()


def _read_checked_label(dataset: DatasetName, root: Path, pair: Pair) -> np.ndarray:
    """Label ids, an integer array [height, width].

    Raises `InputError` for a file that cannot be read, a label of another size than its image and a label
    with ids outside the data set's space.
    """
    label_ids = layout_of(dataset).read_label_ids(root / pair.label)
    size, label_size = image_header(root / pair.image)[0], label_ids.shape[::-1]
    if size != label_size:
        raise sizes_differ(root / pair.image, size, root / pair.label, label_size)
    return label_ids


def _convert_label(work: _Work, pair: Pair) -> dict[int, int]:
    """Writes the label's train ids, and the image where there is a scale; pixels of every train id that the
    label holds, in ascending order."""
    to_train_id = layout_of(work.dataset).to_train_id
    label_ids = _read_checked_label(work.dataset, work.root, pair).astype(np.uint8)
    pixels = np.bincount(label_ids.ravel(), minlength=len(to_train_id))
    # Bytes are mapped in half of the time that NumPy's indexing takes.
    mapped = label_ids.tobytes().translate(to_train_id.tobytes())
    train_ids = np.frombuffer(mapped, np.uint8).reshape(label_ids.shape)
    if work.scale:
        train_ids = _store_fitted(work, pair, train_ids, work.scale)
    Image.fromarray(train_ids).save(_staged(work.destination / pair.train_ids), format="PNG")
    pixels_by_train_id = np.zeros(256, dtype=np.int64)
    np.add.at(pixels_by_train_id, to_train_id, pixels[: len(to_train_id)])
    return {c.train_id: int(n) for c in CLASSES if (n := pixels_by_train_id[c.train_id]) > 0}


def _store_fitted(work: _Work, pair: Pair, train_ids: np.ndarray, scale: tuple[int, int]) -> np.ndarray:
    """Writes the pair's image so that it fits within `scale`; `train_ids` of the same size."""
    import cv2

    from datum.resizing import fits_within, fitted_size, resize_image, resize_label

    full = train_ids.shape
    size = full if fits_within(full, scale) else fitted_size(full, scale)
    image = resize_image(read_image(work.root / pair.image), size)
    # OpenCV's PNG is written and read in half of the time that Pillow's takes, and a tenth larger.
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    _staged(work.destination / pair.image).write_bytes(data.tobytes())
    return resize_label(train_ids, size)


def _require_writable(folders: Sequence[Path]) -> None:
    for folder in folders:
        if not os.access(folder, os.W_OK):
            raise InputError(
                f"{folder}: cannot be written to, expected a folder for the converted labels; change its "
                "permissions or convert a copy"
            )


@contextlib.contextmanager
def _unchanged_where_refused(folders: Collection[Path]) -> Iterator[None]:
    """Sets back the times of the folders in which files came and went where the block raises `InputError`:
    nobody is to think that something changed there."""
    before = {folder: folder.stat() for folder in folders}
    try:
        yield
    except InputError:
        for folder, status in before.items():
            with contextlib.suppress(OSError):
                os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))
        raise


def _staged(file: Path) -> Path:
    """Where `file` is written before all files of the conversion are whole."""
    return file.with_name(f".{file.name}.partial")


def _remove_leftovers(folders: Sequence[Path], files: Sequence[Path]) -> None:
    """Removes what a killed conversion staged for files that this one does not write."""
    staged = {_staged(file) for file in files}
    for folder in folders:
        for pattern in (".*_labelTrainIds.png.partial", ".*.json.partial", ".*.txt.partial"):
            for file in folder.glob(pattern):
                if file not in staged:
                    file.unlink()


@contextlib.contextmanager
def _goes_on_or_leaves_nothing(journal: Journal, files: Sequence[Path]) -> Iterator[Journal]:
    """Leaves the staged files and the journal for the next conversion where the block is stopped, and
    removes them where it fails."""
    try:
        yield journal
    except Exception:
        for file in files:
            _staged(file).unlink(missing_ok=True)
        journal.remove()
        raise
    except BaseException:
        journal.close()
        raise
    journal.remove()
