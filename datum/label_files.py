"""Label PNGs: read, and checked against the image that they belong to."""

from pathlib import Path

import numpy as np

from datum.errors import InputError
from datum.photographs import (
    decode,
    image_header,
    plain_pixels,
    read_image_bytes,
    require_whole,
    unreadable,
)

_BITS, _COLOR_TYPE = 24, 25
"""Where a PNG's header tells bits a channel and color type."""
_GRAY = 0


def read_label(file: Path) -> np.ndarray:
    """Ids, uint8[height, width], of a single-channel 8-bit PNG or of a PNG with a palette.

    Raises `InputError` for an unreadable file or any other kind of image.
    """
    return decode_label(file, read_image_bytes(file))


def decode_label(file: Path, data: bytes) -> np.ndarray:
    """`read_label` of `data`, the bytes of `file`."""
    _require_png(file, data)
    if (ids := plain_pixels(file, data, "L")) is not None:
        return ids
    with decode(file, data, ["PNG"]) as image:
        # Pillow stretches gray levels of fewer bits to 255; the indices of a palette stay as they are.
        stretched = data[_COLOR_TYPE] == _GRAY and data[_BITS] < 8
        if image.mode not in ("L", "P") or stretched or getattr(image, "is_animated", False):
            found = f"{data[_BITS]} bits a pixel" if stretched else f"an image of mode {image.mode}"
            raise InputError(
                f"{file}: found {found}, expected label ids in one 8-bit channel; "
                "take the data set's label ids, not its color labels"
            )
        return np.asarray(image)


def read_synthia_label(file: Path) -> np.ndarray:
    """Label ids, uint16 or uint8[height, width], from the first channel (red) of a SYNTHIA label PNG.

    The other channels number the instances. Pillow would cut the 16 bits to the upper eight, in which
    every id is 0, so OpenCV decodes; it draws what it can of a damaged file and says nothing, so all
    checksums are verified first. Raises `InputError` for an unreadable file or any other kind of image.
    """
    import cv2

    data = read_image_bytes(file)
    _require_png(file, data)
    image_header(file)
    require_whole(file, data)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
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
        raise sizes_differ(image, size, label, label_size)
    return size


def sizes_differ(image: Path, size: tuple[int, int], label: Path, found: tuple[int, int]) -> InputError:
    """The error that says that a label has another size, (width, height), than its image."""
    return InputError(
        f"{label}: found {found[0]}x{found[1]} pixels, expected {size[0]}x{size[1]}, the size "
        f"of its image {image}; bring both to one size or remove the two files"
    )


def _require_png(file: Path, data: bytes) -> None:
    """Raises `InputError` for the bytes of a JPEG: its pixels are near the ids, not the ids."""
    if data.startswith(b"\xff\xd8"):
        raise InputError(
            f"{file}: found a JPEG, expected label ids in a PNG: a JPEG changes ids where they meet; take "
            "the label as downloaded"
        )
