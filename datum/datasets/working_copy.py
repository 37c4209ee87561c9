"""The pipeline's own working copies of the source and the target data set, converted and ready to train on.

A user's data set is never written to: the working copy links to its files and holds the converted labels
itself. Where no data set is given, street scenes are drawn.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from datum.config import DatasetSettings, to_dict
from datum.datasets.convert import DEFAULT_WORKERS, convert_pairs
from datum.errors import InputError
from datum.layouts import find_images, find_pairs
from datum.methods import BENCHMARKS, DRAWN_BENCHMARK, DatasetName
from datum.outputs import building, is_complete
from datum.provenance import PROVENANCE, Provenance
from datum.telemetry import log

_FIRST_SCENE = 100_000_000
"""Above the seeds of the scenes that the small base model is trained and measured on."""
_SCENES_A_PART = 1_000_000
"""Room for scene seeds in each of the parts below."""
_SCENES_A_PROCESS = 500
"""Fewer scenes (about five seconds' work at 128x128) are not worth starting another process."""
_SOURCE, _TARGET_TRAIN, _TARGET_VAL, _PARTS = 0, 1, 2, 3


def ingest_source(
    dataset: DatasetName,
    root: Path | None,
    output: Path,
    *,
    settings: DatasetSettings,
    seed: int = 0,
    workers: int = DEFAULT_WORKERS,
    recorded_root: Path | None = None,
) -> None:
    """Makes `output` a root of the labeled source data set, with train ids and the three JSON files.

    `root` is the user's data set in the layout of `dataset`; without one, `settings.source_scenes` street
    scenes are drawn in GTA's layout from `seed` (0 or more). The JSON files name the labels below
    `recorded_root`, or below the absolute path of `output`.

    Raises `InputError` for what `datum.datasets.convert.convert` does not accept; `output` is then absent.
    """
    if root is None and dataset != BENCHMARKS[DRAWN_BENCHMARK].source:
        raise InputError(
            f"--source: none given for {dataset}, and street scenes are drawn in GTA's layout; "
            f"give the root of {dataset} or choose {DRAWN_BENCHMARK}"
        )

    def draw(folder: Path) -> None:
        from datum.streetscenes.drawing import write_gta

        seeds = _scene_seeds(_SOURCE, seed, settings.source_scenes)
        log(f"draw source: {len(seeds)} street scenes")
        write_gta(
            folder,
            seeds=seeds,
            height=settings.height,
            width=settings.width,
            workers=_drawing_processes(len(seeds), workers),
        )

    pairs = find_pairs(dataset, root) if root else []
    files = [file for pair in pairs for file in (pair.image, pair.label)]
    with _building("ingest-source", root, files, output, settings, seed, draw) as folder:
        if folder:
            convert_pairs(
                dataset,
                pairs or find_pairs(dataset, folder),
                root or folder,
                folder,
                recorded_root=recorded_root or output.absolute(),
                workers=workers,
            )


def ingest_target(
    root: Path | None,
    output: Path,
    *,
    settings: DatasetSettings,
    seed: int = 0,
    workers: int = DEFAULT_WORKERS,
    recorded_root: Path | None = None,
) -> None:
    """Makes `output` a root of the target data set in Cityscapes' layout, with train ids of its val split.

    It holds the images of `leftImg8bit/train`, from which the one-shot images are chosen, and the images
    and labels of the val split. Labels of the training split are left behind: the method never sees them.
    `root` is the user's data set; without one, `settings.target_train_scenes` and
    `settings.target_val_scenes` street scenes are drawn from `seed` (0 or more).

    Raises `InputError` for an empty training split and for what `datum.datasets.convert.convert` does not
    accept; `output` is then absent.
    """

    def draw(folder: Path) -> None:
        from datum.streetscenes.drawing import write_cityscapes

        train_seeds = _scene_seeds(_TARGET_TRAIN, seed, settings.target_train_scenes)
        val_seeds = _scene_seeds(_TARGET_VAL, seed, settings.target_val_scenes)
        log(f"draw target: {len(train_seeds) + len(val_seeds)} street scenes")
        write_cityscapes(
            folder,
            train_seeds=train_seeds,
            val_seeds=val_seeds,
            height=settings.height,
            width=settings.width,
            workers=_drawing_processes(len(train_seeds) + len(val_seeds), workers),
        )

    train_images = find_images("cityscapes", root, split="train") if root else []
    pairs = find_pairs("cityscapes", root, split="val") if root else []
    files = train_images + [file for pair in pairs for file in (pair.image, pair.label)]
    with _building("ingest-target", root, files, output, settings, seed, draw) as folder:
        if folder:
            convert_pairs(
                "cityscapes",
                pairs or find_pairs("cityscapes", folder, split="val"),
                root or folder,
                folder,
                recorded_root=recorded_root or output.absolute(),
                workers=workers,
            )


def fingerprint(root: Path, files: Sequence[str]) -> str:
    """SHA-256 over names, sizes and modification times, so that a changed data set is converted anew."""
    digest = hashlib.sha256()
    for file in files:
        status = (root / file).stat()
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _building(
    stage: str,
    root: Path | None,
    files: Sequence[str],
    output: Path,
    settings: DatasetSettings,
    seed: int,
    draw: Callable[[Path], None],
) -> Iterator[Path | None]:
    """Yields a new folder with links to `files` of `root`, or with drawn scenes; None where `output` is
    complete already. Unlike other outputs it begins empty, and does not outlive an `InputError`."""
    if root:
        inputs = {"root": str(root.resolve()), "files_sha256": fingerprint(root, files)}
        provenance = Provenance(stage=stage, inputs=inputs)
    else:
        provenance = Provenance(stage=stage, settings=to_dict(settings), seed=seed)
    if is_complete(output, provenance):
        yield None
        return
    try:
        with building(output, provenance) as partial:
            for leftover in partial.iterdir():
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                elif leftover.name != PROVENANCE:
                    leftover.unlink()
            if root:
                _link(root, files, partial)
            else:
                draw(partial)
            yield partial
    except InputError:
        shutil.rmtree(partial)
        raise


def _scene_seeds(part: int, seed: int, count: int) -> range:
    """Seeds of the drawn scenes: no two parts and no two values of `seed` share one."""
    first = _FIRST_SCENE + (seed * _PARTS + part) * _SCENES_A_PART
    return range(first, first + count)


def _drawing_processes(scenes: int, workers: int) -> int:
    return min(workers, max(1, scenes // _SCENES_A_PROCESS))


def _link(root: Path, files: Sequence[str], destination: Path) -> None:
    """Links every file of `root` to the same place below `destination`."""
    resolved = root.resolve()
    for file in files:
        link = destination / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(resolved / file)
