"""The pipeline's own working copies of the source and the target data set, converted and ready to train on.

A user's data set is never written to: the working copy links to its files, or copies them on a disk that has
no links, and holds the converted labels itself. Where no data set is given, street scenes are drawn.
"""

import errno
import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

from datum.config import DatasetSettings
from datum.contents import Checked, digest_of_set, read_digests
from datum.datasets.convert import DEFAULT_WORKERS, convert_pairs
from datum.errors import InputError
from datum.formats.source_scale import write_scale
from datum.layouts import check_dataset, describe_passed_over, layout_of
from datum.methods import DatasetName
from datum.outputs import building, is_complete, replacing
from datum.photographs import PHOTOGRAPH_MODES, image_header, require_photograph
from datum.provenance import NAMED, PROVENANCE, Provenance
from datum.resizing import fits_within
from datum.room import require_disk
from datum.telemetry import log

DRAWN_SEED = 0
"""What is recorded as the seed of drawn scenes, which are the same for all seeds of a run."""

_FIRST_SCENE = 100_000_000
"""Above the seeds of the scenes that the small base model is trained and measured on."""
_SCENES_A_PART = 1_000_000
"""Room for scene seeds in each of the parts below."""
_SCENES_A_PROCESS = 500
"""Fewer scenes (about five seconds' work at 128x128) are not worth starting another process."""
_SOURCE, _TARGET_TRAIN, _TARGET_VAL = 0, 1, 2

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EACCES)
"""What file systems without symbolic links answer where one is to be made."""


def ingest_dataset(
    dataset: DatasetName,
    root: Path | None,
    output: Path,
    *,
    settings: DatasetSettings,
    workers: int = DEFAULT_WORKERS,
    recorded_root: Path | None = None,
    scale: tuple[int, int] | None = None,
) -> None:
    """Makes `output` a root of the data set, with train ids of its labels and the JSON files of a conversion.

    `root` is the user's data set in the layout of `dataset`; without one, as many street scenes as `settings`
    name are drawn in that layout. Of a target, `output` holds the images of
    `leftImg8bit/train`, from which the one-shot images are chosen, and the images and labels of the val
    split. Labels of the training split are left behind: the method never sees them. The JSON files name the
    labels below `recorded_root`, or below the absolute path of `output`. A source of the user's that is
    larger than `scale` = (width, height) is stored as a training at this scale resizes it, without the labels
    that it came with (`datum.formats.source_scale`).

    Raises `InputError` for a target without training images, a damaged image and for what
    `datum.datasets.convert.convert` does not accept; `output` is absent then. Started again after a kill, it
    converts what is left to convert; drawn scenes are drawn from the first.
    """
    stage = f"ingest-{part_of(dataset)}"
    if root:
        files, pairs = check_dataset(dataset, root)
        if notice := describe_passed_over(dataset, root, pairs):
            log(notice)
        inputs = {"files_sha256": dataset_digest(dataset, root, files), NAMED: {"root": str(root.resolve())}}
        if scale and all(fits_within(image_header(root / pair.image)[0], scale) for pair in pairs):
            scale = None
        provenance = Provenance(stage=stage, inputs=inputs, arguments={"scale": list(scale)} if scale else {})
    else:
        scale = None  # Scenes are drawn as large as the settings say.
        # GTA's is what scenes of a source always had.
        other = {"layout": dataset} if dataset == "synthia" else {}
        provenance = Provenance(stage=stage, settings=settings, seed=DRAWN_SEED, arguments=other)
    if is_complete(output, provenance):
        return
    try:
        with building(output, provenance) as partial:
            if root and scale:
                _make_folders(files, partial)
            elif root:
                _link(root, files, partial)
            else:
                _remove_all_but_provenance(partial)
                _draw(dataset, partial, settings, workers)
                _, pairs = check_dataset(dataset, partial)
            convert_pairs(
                dataset,
                pairs,
                root or partial,
                partial,
                recorded_root=recorded_root or output.absolute(),
                workers=workers,
                scale=scale,
            )
            if scale:
                write_scale(partial, scale)
    except InputError:
        shutil.rmtree(partial)
        raise


def part_of(dataset: DatasetName) -> str:
    """`source` or `target`: what `dataset` is in every benchmark."""
    return "target" if dataset == "cityscapes" else "source"


def dataset_digest(dataset: DatasetName, root: Path, files: Sequence[str]) -> str:
    """SHA-256 over names and contents of `files`, images and labels of a data set; reads those that have
    changed since they were last read. Raises `InputError` for an image that is damaged or of another kind."""
    images = f"{layout_of(dataset).images}/"

    def check(name: str, contents: Sequence[bytes]) -> None:
        if name.startswith(images):
            require_photograph(root / name, contents[0], PHOTOGRAPH_MODES)

    groups = [Checked(names=(name,), check=functools.partial(check, name)) for name in files]
    return digest_of_set(read_digests(f"read {dataset}", root, groups))


def _remove_all_but_provenance(folder: Path) -> None:
    for leftover in folder.iterdir():
        if leftover.is_dir():
            shutil.rmtree(leftover)
        elif leftover.name != PROVENANCE:
            leftover.unlink()


def _draw(dataset: DatasetName, folder: Path, settings: DatasetSettings, workers: int) -> None:
    """Draws the scenes of a source or of a target; no two of its parts share a scene."""
    from datum.streetscenes.drawing import write_gta, write_synthia, write_town

    def seeds(part: int, count: int) -> range:
        first = _FIRST_SCENE + part * _SCENES_A_PART
        return range(first, first + count)

    train, val = settings.target_train_scenes, settings.target_val_scenes
    count = train + val if dataset == "cityscapes" else settings.source_scenes
    log(f"draw {part_of(dataset)}: {count} street scenes")
    processes = min(workers, max(1, count // _SCENES_A_PROCESS))
    size = {"height": settings.height, "width": settings.width}
    if dataset == "cityscapes":
        train_seeds, val_seeds = seeds(_TARGET_TRAIN, train), seeds(_TARGET_VAL, val)
        write_town(folder, train_seeds=train_seeds, val_seeds=val_seeds, workers=processes, **size)
        return
    write = {"gta": write_gta, "synthia": write_synthia}[dataset]
    write(folder, seeds=seeds(_SOURCE, count), workers=processes, **size)


def _make_folders(files: Sequence[str], destination: Path) -> None:
    for folder in sorted({(destination / file).parent for file in files}):
        folder.mkdir(parents=True, exist_ok=True)


def _link(root: Path, files: Sequence[str], destination: Path) -> None:
    """Links every file of `root` to the same place below `destination`, where an earlier start has not, or
    copies them where the disk has no links."""
    resolved = root.resolve()
    _make_folders(files, destination)
    missing = [file for file in files if not (destination / file).exists()]
    try:
        for file in missing:
            (destination / file).unlink(missing_ok=True)
            (destination / file).symlink_to(resolved / file)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        missing = [file for file in missing if not (destination / file).exists()]
        needed = sum((resolved / file).stat().st_size for file in missing)
        log(f"{destination}: this disk has no links, {len(missing)} files are copied")
        require_disk(destination, needed, "the copy of the data set")
        for file in missing:
            with replacing(destination / file) as temporary:
                shutil.copyfile(resolved / file, temporary)
