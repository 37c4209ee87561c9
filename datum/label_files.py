"""Label PNGs: read, and checked against the image that they belong to."""

from pathlib import Path

import numpy as np
from PIL import Image

from datum.errors import InputError
from datum.photographs import UNREADABLE, image_header, open_image, unreadable


def read_label(file: Path) -> np.ndarray:
    """Ids, uint8[height, width], of a single-channel 8-bit PNG, with a palette or without.

    Raises `InputError` for an unreadable file or any other kind of image.
    """
    with open_image(file) as image:
        if image.mode not in ("L", "P"):
            raise InputError(
                f"{file}: found an image of mode {image.mode}, expected label ids in one 8-bit channel; "
                "take the data set's label ids, not its color labels"
            )
        return np.asarray(image)


def read_synthia_label(file: Path) -> np.ndarray:
    """Label ids, uint16 or uint8[height, width], from the first channel (red) of a SYNTHIA label PNG.

    The other channels number the instances. Pillow would cut the 16 bits to the upper eight, in which
    every id is 0, so OpenCV decodes; it draws what it can of a damaged file and says nothing, so Pillow
    verifies all checksums first. Raises `InputError` for an unreadable file or any other kind of image.
    """
    import cv2

    try:
        with Image.open(file) as image:
            image.verify()
    except UNREADABLE as error:
        raise unreadable(file, error) from None
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise unreadable(file, "OpenCV cannot decode it")
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError(
            f"{file}: found an array of shape {pixels.shape}, expected SYNTHIA's three channels with the "
            "class in the first; take the PNGs of GT/LABELS as downloaded"
        )
    ids: np.ndarray = pixels[:, :, 2]  # OpenCV's order is blue, green, red
    return ids


def require_same_size(image: Path, label: Path) -> tuple[int, int]:
    """(width, height) of an image and its label, by their headers.

    Raises `InputError` where the two differ, and where either file is missing, no image or cut short.
    """
    size, label_size = image_header(image)[0], image_header(label)[0]
    if size != label_size:
        raise InputError(
            f"{label}: found {label_size[0]}x{label_size[1]} pixels, expected {size[0]}x{size[1]}, the size "
            f"of its image {image}; bring both to one size or remove the two files"
        )
    return size
