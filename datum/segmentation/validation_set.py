"""The labelled validation images of a data set in Cityscapes' layout.

`ROOT/leftImg8bit/val/<city>/<city>_<sequence>_<frame>_leftImg8bit.png` stands beside
`ROOT/gtFine/val/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datum.errors import InputError
from datum.labels import CITYSCAPES_MAX_LABEL_ID, LABEL_ID_TO_TRAIN_ID
from datum.photographs import image_header, read_label

IMAGE_SUFFIX = "_leftImg8bit.png"
LABEL_SUFFIX = "_gtFine_labelIds.png"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValidationImage:
    """An image file and the file of its label."""

    name: str
    """`<city>_<sequence>_<frame>`, what cityscapesScripts knows the image by."""
    image: Path
    label: Path
    size: tuple[int, int]
    """Width and height of both, in pixels."""


def find_validation_images(root: Path, option: str) -> list[ValidationImage]:
    """All validation images below `root`, by city and name; messages name the command line's `option`.

    Looks at names and sizes alone, not at pixels. Raises `InputError`
    for a missing or empty folder, a file name that cityscapesScripts cannot read, an image without its
    label and a label of another size than its image.
    """
    folder = root / "leftImg8bit" / "val"
    if not folder.is_dir():
        raise InputError(f"{option} {root}: found no folder leftImg8bit/val, expected Cityscapes' layout")
    files = sorted(folder.glob(f"*/*{IMAGE_SUFFIX}"))
    if not files:
        raise InputError(
            f"{option} {root}: found no validation image, expected leftImg8bit/val/<city>/*{IMAGE_SUFFIX}"
        )
    found: dict[str, ValidationImage] = {}
    for file in files:
        entry = _find(root, file)
        if entry.name in found:
            raise InputError(f"{file}: has the same name as {found[entry.name].image}; rename one of them")
        found[entry.name] = entry
    return list(found.values())


def load_label(file: Path) -> npt.NDArray[np.uint8]:
    """A label PNG as train ids, uint8 [height, width], `IGNORE` where void.

    Raises `InputError` where the file is broken, has several channels, or holds ids that are none.
    """
    label_ids = read_label(file)
    largest = int(label_ids.max())
    if largest > CITYSCAPES_MAX_LABEL_ID:
        raise InputError(
            f"{file}: found label id {largest}, expected Cityscapes' 0 to {CITYSCAPES_MAX_LABEL_ID}; "
            "train ids belong in *_labelTrainIds.png"
        )
    return LABEL_ID_TO_TRAIN_ID[label_ids]


def _find(root: Path, image: Path) -> ValidationImage:
    name = image.name.removesuffix(IMAGE_SUFFIX)
    if len(name.split("_")) != 3:
        raise InputError(f"{image}: expected a name like <city>_<sequence>_<frame>{IMAGE_SUFFIX}")
    label = root / "gtFine" / "val" / image.parent.name / f"{name}{LABEL_SUFFIX}"
    if not label.is_file():
        raise InputError(f"{image}: has no label, expected {label}")
    size, label_size = image_header(image)[0], image_header(label)[0]
    if size != label_size:
        raise InputError(
            f"{label}: is {label_size[0]}x{label_size[1]} pixels, its image {size[0]}x{size[1]}; "
            "expected the same size"
        )
    return ValidationImage(name=name, image=image, label=label, size=size)
