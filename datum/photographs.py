"""Reading images, with an error that names the file where one cannot be read."""

from pathlib import Path

import numpy as np
from PIL import Image

from datum.errors import InputError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
"""Bytes near the end of a whole file, by Pillow's name of its format."""
_TAIL = 64
"""Bytes at the end of a file in which its end is looked for: some writers add a few of their own."""
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no image, is cut short or has a wrong checksum."""


def unreadable(file: Path, error: Exception | str) -> InputError:
    """The error that says why `file` cannot be read as an image."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"{file}: cannot be read as an image ({reason}), expected a whole file; "
        "it may be cut short: copy or download it again"
    )


def open_image(file: Path) -> Image.Image:
    """The decoded image. Raises `InputError` for a file that is missing, no image, cut short or damaged."""
    try:
        # A decoder may be content with a file cut short near its end; the checksums are not.
        with Image.open(file) as unread:
            unread.verify()
        image = Image.open(file)
        image.load()
    except UNREADABLE as error:
        raise unreadable(file, error) from None
    return image


def image_header(file: Path) -> tuple[tuple[int, int], str]:
    """((width, height), mode) of an image, without decoding it.

    Looks at its header and its end alone, so that a data set of tens of gigabytes is looked through without
    reading it. Raises `InputError` for a file that is missing, no image or cut short.
    """
    try:
        with Image.open(file) as image:
            size, mode, kind = image.size, image.mode, image.format
        with file.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _TAIL))
            tail = stream.read()
    except UNREADABLE as error:
        raise unreadable(file, error) from None
    if _ENDS.get(kind or "", b"") not in tail:
        raise unreadable(file, f"truncated {kind}: its end is missing")
    return size, mode


def read_image(file: Path) -> np.ndarray:
    """uint8[height, width, 3], RGB. Raises `InputError` as `open_image` does."""
    with open_image(file) as image:
        return np.asarray(image.convert("RGB"))


def open_one_shot_image(file: Path) -> Image.Image:
    """The decoded one-shot image: RGB, 8 bits per channel.

    Raises `InputError` for any other file: a palette, gray or transparent image is more often a label or a
    mask than a photograph, so it is not converted silently.
    """
    if not file.is_file():
        found = "is a folder" if file.is_dir() else "no such file"
        raise InputError(f"{file}: {found}, expected the one-shot image, RGB with 8 bits per channel")
    image = open_image(file)
    bits = _bits_a_channel(file)
    if image.mode != "RGB" or bits != 8:
        found = f"RGB with {bits} bits per channel" if image.mode == "RGB" else f"mode {image.mode}"
        raise InputError(
            f"{file}: found {found}, expected RGB with 8 bits per channel; if it is the photograph, "
            'convert it, for example with Pillow: Image.open(file).convert("RGB").save(new_file)'
        )
    return image


def _bits_a_channel(file: Path) -> int:
    """Pillow opens 16-bit RGB as plain RGB, so a PNG's header is asked; other formats have 8 bits."""
    with file.open("rb") as stream:
        head = stream.read(25)
    return head[24] if head.startswith(_PNG_SIGNATURE) else 8
