"""Reading images and label PNGs, with an error that names the file where one cannot be read."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from datum.errors import InputError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for a file that is no image, is cut short or has a wrong checksum."""


def open_image(file: Path) -> Image.Image:
    """The decoded image; raises `InputError` for a file that is no image, cut short or damaged."""
    try:
        # A decoder may be content with a file cut short near its end; the checksums are not.
        with Image.open(file) as unread:
            unread.verify()
        image = Image.open(file)
        image.load()
    except _UNREADABLE as error:
        raise _unreadable(file, error) from None
    return image


def image_size(file: Path) -> tuple[int, int]:
    """(width, height) in pixels of a PNG, from its header; raises `InputError` where its end is missing.

    Only a file that does not end as a PNG should is decoded, so that a data set of tens of gigabytes is
    looked through without reading it.
    """
    with file.open("rb") as stream:
        head = stream.read(24)
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - len(_PNG_END)))
        tail = stream.read()
    if not head.startswith(PNG_SIGNATURE) or len(head) < 24 or tail != _PNG_END:
        with open_image(file) as image:
            return image.size
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def read_label(file: Path) -> np.ndarray:
    """Label ids, uint8[height, width], of a single-channel 8-bit PNG, with a palette or without.

    Raises `InputError` for an unreadable file or any other kind of image.
    """
    with open_image(file) as image:
        if image.mode not in ("L", "P"):
            raise InputError(
                f"{file}: found an image of mode {image.mode}, expected label ids in one 8-bit channel; "
                "take the data set's label ids, not its colour labels"
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
    except _UNREADABLE as error:
        raise _unreadable(file, error) from None
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise _unreadable(file, "OpenCV cannot decode it")
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError(
            f"{file}: found an array of shape {pixels.shape}, expected SYNTHIA's three channels with the "
            "class in the first; take the PNGs of GT/LABELS as downloaded"
        )
    ids: np.ndarray = pixels[:, :, 2]  # OpenCV's order is blue, green, red
    return ids


def _unreadable(file: Path, error: Exception | str) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"{file}: cannot be read as an image ({reason}), expected a whole PNG; "
        "it may be cut short: copy or download it again"
    )
