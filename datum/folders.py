"""Which files of a folder count: the rule that data sets and folders of images share.

Passed over is what is hidden and what systems leave beside files: `._x.png` and `__MACOSX` of a Mac,
thumbnails of a network drive, temporary files of our own that a killed process left. Linked folders are
entered, but not from inside of themselves.
"""

import errno
import os
import stat
import unicodedata
from collections.abc import Collection
from pathlib import Path

from datum.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Endings, in lower case, of the images in a folder that has no layout."""
_OF_SYSTEMS = ("__MACOSX", "@eaDir")
_LOOKS_LIKE_IMAGES = (*IMAGE_SUFFIXES, ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".heic")


def files_below(folder: Path) -> list[str]:
    """Names of the files in `folder` at any depth, relative to it, with forward slashes, sorted.

    Raises `InputError` for what has the name of an image or a folder and is neither: a link that leads
    nowhere, a pipe.
    """
    found: list[str] = []
    _walk(folder, "", (), found)
    return sorted(found)


def images_below(folder: Path) -> list[Path]:
    """The images in `folder` at any depth, in the order of their names; raises `InputError` as
    `files_below` and `require_portable` do."""
    names = [name for name in files_below(folder) if name.lower().endswith(IMAGE_SUFFIXES)]
    require_portable(str(folder), names)
    return [folder / name for name in names]


def is_passed_over(name: str) -> bool:
    """Whether a file of this name, relative to its data set, is hidden or a system's own."""
    return any(part.startswith(".") or part in _OF_SYSTEMS for part in name.split("/"))


def looks_like_an_image(name: str) -> bool:
    """Whether a file's owner may take it for an image of the data set."""
    return name.lower().endswith(_LOOKS_LIKE_IMAGES)


def require_portable(folder: str, names: Collection[str]) -> None:
    """Raises `InputError` for a name in `folder` that another system or a store cannot keep: one that is
    not UTF-8 or holds control characters, and two that differ in case alone."""
    known: dict[str, str] = {}
    for name in names:
        if printable(name) != name:
            raise InputError(
                f"{folder}/{printable(name)}: the name is not UTF-8 or holds control characters, expected a "
                "name that can be written in a text file; rename it, for example with convmv"
            )
        other = known.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise InputError(
                f"{folder}/{name}: differs from {other} in case or in the writing of accents alone, and "
                "would replace it on other systems; rename one of them"
            )


def printable(name: str) -> str:
    """`name` with all that no text file can hold written as escapes."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        c if unicodedata.category(c) != "Cc" else c.encode("unicode_escape").decode() for c in text
    )


def _walk(folder: Path, below: str, ancestors: tuple[tuple[int, int], ...], found: list[str]) -> None:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in ancestors:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            name = below + entry.name
            if is_passed_over(entry.name):
                continue
            mode = _mode(entry)
            if stat.S_ISDIR(mode):
                _walk(folder / entry.name, f"{name}/", (*ancestors, here), found)
            elif stat.S_ISREG(mode):
                found.append(name)
            elif looks_like_an_image(name) or (entry.is_symlink() and "." not in entry.name):
                kind = "a link that leads nowhere" if entry.is_symlink() else "no regular file"
                raise InputError(
                    f"{folder}/{printable(entry.name)}: is {kind}, expected an image or a folder of images; "
                    "mend or remove it"
                )


def _mode(entry: os.DirEntry[str]) -> int:
    """What an entry, or what it leads to, is; 0 for a link that leads nowhere."""
    try:
        return entry.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return 0
        raise
