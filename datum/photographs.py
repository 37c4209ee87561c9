"""Photographs: opened, turned as their EXIF tag says, and refused in one line where they cannot be used.

Every image file of the product is opened here. Only PNG and JPEG are, whatever a file's name says: for others
Pillow would start programs (Ghostscript for an EPS) that run what the file tells them to.
"""

import contextlib
import errno
import io
import re
import stat
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from datum.errors import InputError

FORMATS = ("PNG", "JPEG")
"""What is opened, by Pillow's names."""
PHOTOGRAPH_MODES = ("RGB", "RGBA", "L", "LA", "P")
"""Pillow's modes that an image of a data set may have: they become RGB without loss of what they show."""
LARGEST_PIXELS = 2 * 1024**3 // 4 // 3
"""More are refused before they are decoded: no camera takes them, and a file of a few kilobytes can claim
any number. It is where Pillow refuses to go on."""
LARGEST_BYTES = 2 * 2**30
"""Larger files are refused before they are read."""
LONGEST_SIDES = 16
"""How many times as long as the other one side of a photograph may be: scaled by its short side, a line of
a million pixels would fill the memory."""
# The size is asked before anything is decoded, with a message that names it.
Image.MAX_IMAGE_PIXELS = None

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_TAIL, _EXIF_TAIL = 64, 2**16
"""Bytes before the end of a file in which its end, and an EXIF block after the pixels, are looked for."""
_SPECIAL = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp", b"acTL", b"tRNS")
"""What a PNG has that may be turned, moves or is transparent."""
_JPEG_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
"""Anything but stuffed zeros, restarts and filling."""
_OF_THE_PATH = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "may not be read",
    errno.ELOOP: "is a link that leads to itself",
    errno.ENAMETOOLONG: "its name is too long",
}
"""What is wrong with a path, by the error's number; other errors are the machine's."""
_KINDS = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image upright, by the value of its EXIF tag."""
_SIDEWAYS = (5, 6, 7, 8)


def unreadable(file: Path, reason: str) -> InputError:
    """The error that says why `file` cannot be read as an image."""
    return InputError(
        f"{file}: cannot be read as an image ({reason}), expected a whole PNG or JPEG; copy or download it "
        "again, or convert it if it is of another format"
    )


def require_regular_file(file: Path, expected: str = "an image file") -> int:
    """Size in bytes of a regular file; raises `InputError` for anything else, a pipe that would be waited
    for among them."""
    try:
        status = file.stat()
    except OSError as error:
        if error.errno not in _OF_THE_PATH:
            raise
        raise InputError(f"{file}: {_OF_THE_PATH[error.errno]}, expected {expected}") from None
    if not stat.S_ISREG(status.st_mode):
        found = _KINDS.get(stat.S_IFMT(status.st_mode), "is no regular file")
        raise InputError(f"{file}: {found}, expected {expected}")
    return status.st_size


def require_image_file(file: Path) -> int:
    """The same for an image, which may not be too large."""
    size = require_regular_file(file)
    if size > LARGEST_BYTES:
        raise InputError(f"{file}: found {size} bytes, expected an image of at most 2 GiB")
    return size


def read_image_bytes(file: Path) -> bytes:
    """The bytes of an image file. Raises `InputError` as `require_image_file` does."""
    require_image_file(file)
    try:
        return file.read_bytes()
    except PermissionError:
        raise InputError(f"{file}: may not be read, expected an image file; change its permissions") from None


def require_whole(file: Path, data: bytes) -> None:
    """Raises `InputError` where `data`, the bytes of `file`, is a PNG or JPEG that is cut short, or a PNG
    with a damaged byte. Bytes after the end are no damage: phones put films there.

    A JPEG has no checksums: damage in its middle shows, if at all, when it is decoded.
    """
    reason = _png_damage(data) if data.startswith(_PNG_SIGNATURE) else _jpeg_damage(data)
    if reason:
        raise unreadable(file, reason)


def decode(file: Path, data: bytes, formats: Collection[str] = FORMATS) -> Image.Image:
    """The image in `data`, the bytes of `file`, as it is stored. Raises `InputError` for one that is none,
    cut short, damaged or too large."""
    with _refusing(file), io.BytesIO(data) as stream:
        image = _identified(file, stream, formats)
        require_whole(file, data)
        image.load()
        return image


def open_image(file: Path) -> Image.Image:
    """The decoded image, upright. Raises `InputError` for a file that is missing, no image, cut short or
    damaged."""
    return _upright(decode(file, read_image_bytes(file)))


def image_header(file: Path) -> tuple[tuple[int, int], str]:
    """((width, height), mode) of an image as it is shown, without decoding it.

    Looks at its header and its end alone, so that a data set of tens of gigabytes is looked through without
    reading it. Raises `InputError` for a file that is missing, no image, too large or cut short.
    """
    length = require_image_file(file)
    with _refusing(file), file.open("rb") as stream:
        stream.seek(max(0, length - _EXIF_TAIL))
        tail = stream.read()
        stream.seek(0)
        image = _identified(file, stream, FORMATS)
        if _ENDS["PNG" if image.format == "PNG" else "JPEG"] not in tail[-_TAIL:]:
            require_whole(file, read_image_bytes(file))
        if image.format == "PNG" and b"eXIf" in tail:
            image.load()
        return _upright_size(image), image.mode


def require_photograph(
    file: Path, data: bytes, modes: Collection[str], *, decoded: bool = True
) -> tuple[int, int]:
    """(width, height) as it is shown of the photograph in `data`, the bytes of `file`.

    Raises `InputError` where it cannot be used: as `decode` does, and for another mode than `modes`, more
    than 8 bits a channel, several pictures in one file and sides of very different length. A PNG's checksums
    vouch for its pixels; a JPEG is decoded, unless that is left to whoever needs its pixels.
    """
    with _refusing(file), io.BytesIO(data) as stream:
        image = _identified(file, stream, FORMATS)
        require_whole(file, data)
        if (image.format != "PNG" and decoded) or b"eXIf" in data[-_EXIF_TAIL:]:
            image.load()
        size = _upright_size(image)
    bits = _bits_a_channel(data)
    if image.mode not in modes or bits > 8:
        found = f"{image.mode} with {bits} bits per channel" if image.mode in modes else f"mode {image.mode}"
        raise InputError(
            f"{file}: found {found}, expected {' or '.join(modes)} with 8 bits per channel; if it is the "
            'photograph, convert it, for example with Pillow: Image.open(file).convert("RGB").save(new_file)'
        )
    if image.format == "PNG" and getattr(image, "is_animated", False):
        raise InputError(f"{file}: is an animation, expected one picture; save the one that is meant")
    if max(size) > LONGEST_SIDES * min(size):
        raise InputError(
            f"{file}: found {size[0]}x{size[1]} pixels, expected a photograph with no side more than "
            f"{LONGEST_SIDES} times as long as the other; crop it"
        )
    return size


def read_image(file: Path) -> np.ndarray:
    """uint8[height, width, 3], RGB, upright. Raises `InputError` as `open_image` does."""
    data = read_image_bytes(file)
    pixels = plain_pixels(file, data, "RGB")
    return np.asarray(_upright(decode(file, data)).convert("RGB")) if pixels is None else pixels


def plain_pixels(file: Path, data: bytes, mode: str) -> np.ndarray | None:
    """What `decode` finds in a PNG, in two thirds of the time: uint8[height, width, 3] for `mode` RGB,
    uint8[height, width] for L. Raises `InputError` as it does.

    None for any other image, for one with more than 8 bits a channel or anything of `_SPECIAL`, and for one
    that cannot be unpacked: Pillow has words for it.
    """
    around_pixels = data[:_EXIF_TAIL] + data[-_EXIF_TAIL:]
    if not data.startswith(_PNG_SIGNATURE) or any(mark in around_pixels for mark in _SPECIAL):
        return None
    with _refusing(file), io.BytesIO(data) as stream:
        if _identified(file, stream, ["PNG"]).mode != mode or _bits_a_channel(data) != 8:
            return None
    require_whole(file, data)
    import cv2

    flag = cv2.IMREAD_COLOR_RGB if mode == "RGB" else cv2.IMREAD_GRAYSCALE
    return cv2.imdecode(np.frombuffer(data, np.uint8), flag)


def open_one_shot_image(file: Path) -> Image.Image:
    """The decoded one-shot image, upright: RGB, 8 bits per channel.

    Raises `InputError` for any other file: a palette, gray or transparent image is more often a label or a
    mask than a photograph, so it is not converted silently.
    """
    data = read_image_bytes(file)
    require_photograph(file, data, ("RGB",))
    return _upright(decode(file, data))


@contextlib.contextmanager
def _refusing(file: Path) -> Iterator[None]:
    """Turns whatever a decoder raises for an image that is none into the one line of `unreadable`."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise unreadable(file, "neither PNG nor JPEG") from None
    except Exception as error:
        # Decoders raise SyntaxError, struct.error, KeyError and more for bytes that they did not expect.
        raise unreadable(file, " ".join(str(error).split()) or type(error).__name__) from None


def _identified(file: Path, stream: IO[bytes], formats: Collection[str]) -> Image.Image:
    """The image of which the header alone has been read; raises `InputError` for one that is too large."""
    image = Image.open(stream, formats=list(formats))
    width, height = image.size
    if width * height > LARGEST_PIXELS:
        raise InputError(
            f"{file}: found {width}x{height} pixels, expected at most {LARGEST_PIXELS / 1e6:.0f} million; "
            "make it smaller, for example with Pillow: image.resize((width, height))"
        )
    return image


def _png_damage(data: bytes) -> str:
    """What is wrong with the chunks of a PNG; empty where nothing is."""
    position, view = len(_PNG_SIGNATURE), memoryview(data)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(view[position : position + 4])
        if end > len(data):
            break
        kind = bytes(view[position + 4 : position + 8])
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            return f"damaged PNG: wrong checksum of its chunk {kind!r}"
        if kind == b"IEND":
            return ""
        position = end
    return "truncated PNG: its end is missing"


def _jpeg_damage(data: bytes) -> str:
    """Whether a JPEG lacks its end: not the end of a preview inside, nor of a picture after it."""
    position = 2
    while found := _JPEG_MARKER.search(data, position):
        if found[0] == _ENDS["JPEG"]:
            return ""
        # Every other block says how long it is; after the header of a scan the next marker is looked for.
        position = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2]))
    return "truncated JPEG: its end is missing"


def _orientation(image: Image.Image) -> int:
    """Value of the EXIF tag, 1 where there is none. Pillow would decode a PNG to find one after its pixels,
    which callers have done where there may be one."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif", "XML:com.adobe.xmp"} & set(image.info):
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:
        # Viewers pass over a block that they cannot read.
        return 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def _upright(image: Image.Image) -> Image.Image:
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _bits_a_channel(data: bytes) -> int:
    """Pillow opens 16-bit RGB as plain RGB, so a PNG's header is asked; other formats have 8 bits."""
    return data[24] if data.startswith(_PNG_SIGNATURE) else 8
