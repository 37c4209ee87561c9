"""Pictures as data URIs, small enough that a whole report stays below 5 MB."""

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
from PIL import Image

from datum.errors import InputError
from datum.formats.json_files import require_file
from datum.photographs import open_image

JPEG_QUALITY = 80


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture for an `img` element."""

    uri: str
    width: int
    """In pixels."""
    height: int
    """In pixels."""


def photograph(file: Path, width: int) -> Picture:
    """`file` as a JPEG at most `width` pixels wide. Raises `InputError` for a missing or broken file."""
    image = _fitted(_open(file), width, Image.Resampling.LANCZOS)
    return _picture(image, "jpeg", quality=JPEG_QUALITY, optimize=True)


def label_map(file: Path, width: int) -> Picture:
    """A label in color as a lossless PNG at most `width` pixels wide. Raises `InputError` as above."""
    return _label_map(_open(file), width)


def label_colors(colors: np.ndarray, width: int) -> Picture:
    """The same of a label in color, uint8[height, width, 3]."""
    return _label_map(Image.fromarray(colors), width)


def _label_map(label: Image.Image, width: int) -> Picture:
    image = _fitted(label, width, Image.Resampling.NEAREST)
    # At most twenty colors: a palette holds them all, in a third of the bytes.
    return _picture(image.quantize(256, dither=Image.Dither.NONE), "png", optimize=True)


def pixels(array: np.ndarray, width: int) -> Picture:
    """uint8[height, width, 3], RGB, as a JPEG at most `width` pixels wide."""
    image = _fitted(Image.fromarray(array), width, Image.Resampling.BOX)
    return _picture(image, "jpeg", quality=JPEG_QUALITY, optimize=True)


def _open(file: Path) -> Image.Image:
    require_file(file)
    try:
        return open_image(file).convert("RGB")
    except InputError as error:
        reason = str(error).removeprefix(f"{file}: ")
        raise InputError(f"{file}: cannot be decoded: {reason}; run the stage that writes it again") from None


def _fitted(image: Image.Image, width: int, resampling: Image.Resampling) -> Image.Image:
    if image.width <= width:
        return image
    return image.resize((width, max(1, round(image.height * width / image.width))), resampling)


def _picture(image: Image.Image, kind: str, **options: int) -> Picture:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return Picture(uri=f"data:image/{kind};base64,{encoded}", width=image.width, height=image.height)
