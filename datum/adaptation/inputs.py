"""What adaptation trains on: found, paired and checked before anything is written."""

import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path

from datum.contents import Checked, digest_of_set, read_digests
from datum.errors import InputError
from datum.folders import images_below
from datum.formats.class_statistics import SourceImage, read_source, require_counts_of
from datum.formats.generated import IMAGES, MANIFEST
from datum.formats.json_files import read_json_lines
from datum.formats.labeled import LABELED, LabeledPair, read_labeled, read_labeled_manifest
from datum.formats.source_scale import is_stored_smaller, require_scale_of
from datum.label_files import decode_label, sizes_differ
from datum.layouts import TRAIN_IMAGES
from datum.methods import BENCHMARKS, METHODS, STREET_SCALE
from datum.photographs import PHOTOGRAPH_MODES, image_header, require_photograph
from datum.segmentation.validation import ValidationImage, digest_validation_images
from datum.telemetry import log


def find_source(benchmark: str, root: Path, scale: tuple[int, int] | None = None) -> list[SourceImage]:
    """All labeled images of a converted source data set, for a training at `scale`.

    Raises `InputError` for an unknown benchmark, a missing folder, a data set that was not converted or is
    stored for another scale, and an image without its label. What the files hold is looked at by
    `input_digests`.
    """
    if benchmark not in BENCHMARKS:
        raise InputError(f"--benchmark {benchmark}: unknown, expected one of {', '.join(BENCHMARKS)}")
    if scale:
        require_scale_of(root, scale)
    return read_source(BENCHMARKS[benchmark].source, root)


def find_target(method: str, folder: Path | None) -> tuple[list[Path], tuple[int, int] | None]:
    """Target images, and the scale that they are resized to fit within (None: as they are).

    `one-image` takes one file or a folder with one image, `source-only` and its like none, every other
    method one file, an output of `datum generate`, a folder of images, or a Cityscapes root. Generated images
    and folders of images stay as they are (DATUM); real street images, of which a file is one, get
    `STREET_SCALE`. Of generated images those count that their manifest lists.

    Raises `InputError` for an unknown method, a missing or empty folder, an image that is not RGB and a
    truncated file. What else the files hold is looked at by `input_digests`.
    """
    if method not in METHODS:
        raise InputError(f"--method {method}: unknown, expected one of {', '.join(METHODS)}")
    kind = METHODS[method].target
    if kind == "none":
        return [], None
    if folder is None:
        raise InputError(f"--target: missing, expected a folder of target images for --method {method}")
    if not folder.exists():
        raise InputError(f"--target {folder}: no such file or folder")
    inner = [folder / part for part in (IMAGES, TRAIN_IMAGES) if (folder / part).is_dir()]
    images = images_below(inner[0] if inner else folder) if folder.is_dir() else [folder]
    if (folder / MANIFEST).is_file():
        images = _listed(folder, images)
    if not images:
        raise InputError(f"--target {folder}: holds no image, expected .png or .jpg files")
    if kind == "one-shot" and len(images) != 1:
        raise InputError(
            f"--target {folder}: holds {len(images)} images, expected exactly one for --method {method}"
        )
    for image in images:
        _, mode = image_header(image)
        if mode != "RGB":
            raise InputError(f"{image}: mode {mode}, expected an RGB image; convert it to RGB")
    street = folder.is_file() or kind == "one-shot" or inner == [folder / TRAIN_IMAGES]
    return images, STREET_SCALE if street else None


def find_labeled(output: Path | None) -> list[LabeledPair]:
    """The labeled drawings in an output of `datum generate`, which is read and verified; none without one."""
    return read_labeled(output) if output else []


def input_digests(
    root: Path,
    source: Sequence[SourceImage],
    target: Sequence[Path],
    labeled: Path | None,
    validation_root: Path | None,
    validation: Sequence[ValidationImage],
) -> dict[str, str]:
    """SHA-256 of what the training is made of, by names below their folders and by contents: `source` and,
    where there are any, `target`, `labeled` and `validation`. One target image has its own, whatever its name
    is.

    Reads every file that has changed since it was last read. Raises `InputError` for one that is damaged or
    of the wrong kind, for labels with other ids or sizes than they should have, and where the statistics are
    not those of the labels: drawn hours into the training, each would end it.
    """
    smaller = is_stored_smaller(root)
    counted = {str(entry.label.relative_to(root)): json.dumps(entry.class_pixels) for entry in source}
    digests = {
        "source": digest_of_set(
            read_digests(
                "check source",
                root,
                [
                    Checked(
                        names=tuple(file.relative_to(root).as_posix() for file in (entry.image, entry.label)),
                        check=functools.partial(_check_source_image, entry, smaller),
                    )
                    for entry in source
                ],
                given=digest_of_set(counted),
            )
        )
    }
    if target:
        digests["target"] = _target_digest(target)
    if labeled:
        drawings = read_labeled_manifest(labeled / LABELED)
        digests["labeled"] = digest_of_set(
            {name: digest for drawing in drawings for name, digest in drawing.files().items()}
        )
    if validation_root:
        digests["validation"] = digest_validation_images(validation_root, validation)
    return digests


def _target_digest(images: Sequence[Path]) -> str:
    folder = Path(os.path.commonpath([image.parent for image in images]))
    names = [image.relative_to(folder).as_posix() for image in images]
    digests = read_digests(
        "check target",
        folder,
        [
            Checked(names=(name,), check=functools.partial(_check_target_image, image))
            for name, image in zip(names, images)
        ],
    )
    if (folder.parent / MANIFEST).is_file():
        drawn = _drawn(folder.parent)
        for name, digest in digests.items():
            if drawn.get(name) not in (None, digest):
                raise InputError(f"{folder / name}: is not the image of {MANIFEST}; generate it again")
    return digests[names[0]] if len(images) == 1 else digest_of_set(digests)


def _listed(folder: Path, images: Sequence[Path]) -> list[Path]:
    """The images of an output of `datum generate`; others that lie in its folder are passed over."""
    listed = sorted(folder / IMAGES / name for name in _drawn(folder))
    for image in listed:
        if not image.is_file():
            raise InputError(
                f"{image}: is missing, but {folder / MANIFEST} names it; generate it again, or remove the "
                "manifest to train on the images that are there"
            )
    if others := sorted(set(images) - set(listed)):
        log(
            f"{folder}: {len(others)} images are passed over that {MANIFEST} does not list, such as "
            f"{others[0].name}"
        )
    return listed


def _drawn(folder: Path) -> dict[str, str | None]:
    """Name of each image that the manifest of `folder` lists -> the SHA-256 that it was drawn with."""
    drawn = {}
    for number, line in enumerate(read_json_lines(folder / MANIFEST), start=1):
        file, digest = line.get("file"), line.get("sha256")
        if not isinstance(file, str) or not Path(file).name:
            raise InputError(f"{folder / MANIFEST}, line {number}: has no file; run `datum generate` again")
        # Only the base name counts: a manifest cannot point outside its own folder.
        drawn[Path(file).name] = digest if isinstance(digest, str) else None
    return drawn


def _check_source_image(entry: SourceImage, smaller: bool, contents: Sequence[bytes]) -> None:
    """`smaller` says whether the label is stored smaller than it was counted."""
    size = require_photograph(entry.image, contents[0], PHOTOGRAPH_MODES)
    ids = decode_label(entry.label, contents[1])
    if size != ids.shape[::-1]:
        raise sizes_differ(entry.image, size, entry.label, ids.shape[::-1])
    require_counts_of(entry.label, ids, entry.class_pixels, smaller=smaller)


def _check_target_image(file: Path, contents: Sequence[bytes]) -> None:
    require_photograph(file, contents[0], ("RGB",))
