"""Conversion of label ids to train ids, with the class statistics that rare class sampling reads.

Names and bytes are those of DAFormer's `tools/convert_datasets/{gta,synthia,cityscapes}.py`, called as its
README does (`python tools/convert_datasets/gta.py data/gta`). Three things differ: a pixel is mapped by one
lookup; Cityscapes is converted from `*_gtFine_labelIds.png` (the polygons are not needed: they draw the same
ids); and Cityscapes' frames are listed in sorted order, where DAFormer lists them as the file system does.
"""

import contextlib
import functools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from datum.errors import InputError
from datum.formats.class_statistics import STATISTICS_FILES, statistics_texts
from datum.label_files import require_same_size
from datum.labels import CLASSES
from datum.layouts import Pair, check_dataset, find_pairs, layout_of
from datum.methods import DatasetName
from datum.photographs import image_header
from datum.telemetry import Progress

DEFAULT_WORKERS = os.cpu_count() or 1
"""Processes that convert labels: one a processor core."""

_PIXELS_A_PROCESS = 16_000_000
"""Labels of fewer pixels (half a second's work) are done before another process has started."""


def convert(dataset: DatasetName, root: Path, *, workers: int = DEFAULT_WORKERS) -> None:
    """Writes `*_labelTrainIds.png` beside every label of `root`, and the three JSON files into `root`.

    Cityscapes also gets `train.txt`, `val.txt` and `test.txt` with the frames of the splits that have
    labels; its statistics count the training split. `workers` is the number of processes.

    Raises `InputError` for a folder that is missing or cannot be written to, a pair that is not complete, a
    file that cannot be read, a label of another size than its image and a label with ids outside the data
    set's space. Everything is read and verified before the first output takes its name, and the JSON files
    come last: an interrupted conversion leaves none.
    """
    pairs = find_pairs(dataset, root)
    convert_pairs(dataset, pairs, root, root, recorded_root=root, workers=workers)


def convert_pairs(
    dataset: DatasetName,
    pairs: Sequence[Pair],
    root: Path,
    destination: Path,
    *,
    recorded_root: Path,
    workers: int,
) -> None:
    """Converts `pairs` of `root` as `convert` does, with the outputs below `destination`.

    The folders of the outputs must be there. The JSON files name them below `recorded_root`: the place that
    `destination` will be renamed to.
    """
    if workers < 1:
        raise InputError(f"--workers {workers}: expected a number of processes, 1 or more")
    targets = [destination / pair.train_ids for pair in pairs]
    indices = [destination / name for name in STATISTICS_FILES]
    split_lists = {
        destination / f"{split}.txt": text
        for split in layout_of(dataset).splits
        if (text := "".join(f"{pair.frame}\n" for pair in pairs if pair.split == split))
    }
    for folder in sorted({file.parent for file in [*targets, *indices]}):
        if not os.access(folder, os.W_OK):
            raise InputError(
                f"{folder}: cannot be written to, expected a folder for the converted labels; change its "
                "permissions or convert a copy"
            )
    with _all_or_none([*targets, *split_lists, *indices], stale=indices):
        counts = _convert_all(dataset, pairs, root, destination, workers)
        statistics = {
            str(recorded_root / pair.train_ids): count
            for pair, count in zip(pairs, counts)
            if pair.split in ("", "train")
        }
        for file, text in [*split_lists.items(), *zip(indices, statistics_texts(statistics))]:
            _staged(file).write_text(text, encoding="utf-8")


def _convert_all(
    dataset: DatasetName, pairs: Sequence[Pair], root: Path, destination: Path, workers: int
) -> list[dict[int, int]]:
    """Pixels by train id of every pair's label, in the pairs' order."""
    progress = Progress(f"convert {dataset}", len(pairs), unit="labels")
    counts = []
    width, height = image_header(root / pairs[0].label)[0]
    processes = min(workers, max(1, len(pairs) * width * height // _PIXELS_A_PROCESS))
    convert_one = functools.partial(_convert_label, dataset, root, destination)
    with contextlib.ExitStack() as stack:
        if processes == 1:
            results: Iterator[dict[int, int]] = map(convert_one, pairs)
        else:
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(processes, mp_context=context))
            results = pool.map(convert_one, pairs)
        for count in results:
            counts.append(count)
            progress.advance()
    return counts


def check_labels(dataset: DatasetName, root: Path) -> None:
    """Reads every label of `root` that a run reads; raises `InputError` where `convert` would."""
    _, pairs = check_dataset(dataset, root)
    progress = Progress(f"check {dataset}", len(pairs), unit="labels")
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(functools.partial(_read_checked_label, dataset, root), pairs):
            progress.advance()


def _read_checked_label(dataset: DatasetName, root: Path, pair: Pair) -> np.ndarray:
    """Label ids, an integer array [height, width].

    Raises `InputError` for a file that cannot be read, a label of another size than its image and a label
    with ids outside the data set's space.
    """
    label_ids = layout_of(dataset).read_label_ids(root / pair.label)
    require_same_size(root / pair.image, root / pair.label)
    return label_ids


def _convert_label(dataset: DatasetName, root: Path, destination: Path, pair: Pair) -> dict[int, int]:
    """Writes the label's train ids; pixels of every train id that occurs, in ascending order."""
    to_train_id = layout_of(dataset).to_train_id
    label_ids = _read_checked_label(dataset, root, pair)
    pixels = np.bincount(label_ids.ravel(), minlength=len(to_train_id))
    Image.fromarray(to_train_id[label_ids]).save(_staged(destination / pair.train_ids), format="PNG")
    pixels_by_train_id = np.zeros(256, dtype=np.int64)
    np.add.at(pixels_by_train_id, to_train_id, pixels[: len(to_train_id)])
    return {c.train_id: int(n) for c in CLASSES if (n := pixels_by_train_id[c.train_id]) > 0}


def _staged(file: Path) -> Path:
    """Where `file` is written before all files of the conversion are whole."""
    return file.with_name(f".{file.name}.partial")


@contextlib.contextmanager
def _all_or_none(files: Sequence[Path], *, stale: Sequence[Path]) -> Iterator[None]:
    """Renames the staged files in their order when the block ends, or removes them if it fails.

    The files of an earlier conversion in `stale` go first, so that they never describe labels of this one.
    """
    try:
        yield
        for file in stale:
            file.unlink(missing_ok=True)
        for file in files:
            _staged(file).replace(file)
    finally:
        for file in files:
            _staged(file).unlink(missing_ok=True)
