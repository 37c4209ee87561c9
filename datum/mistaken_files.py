"""What a file that should hold weights holds instead, told from its first bytes: a download that failed often
leaves a file of the right name."""

from pathlib import Path

_BEGINNING = 64
"""Bytes that are looked at."""

_KINDS = (
    ((b"<",), "a web page or an error in XML, saved in place of the weights; download them again"),
    ((b"version https://git-lfs",), "Git LFS's pointer to the weights; fetch them with `git lfs pull`"),
    (
        (b"\x1f\x8b", b"BZh", b"\xfd7zXZ"),
        "a compressed archive; unpack it and name the file of weights in it",
    ),
    ((b"{", b"["), "a text in JSON, perhaps an error or a configuration; name the file of weights"),
)
"""First bytes, white space aside -> what such a file is, and what to do."""


def mistaken(beginning: bytes) -> str:
    """What a file is that begins so, and what to do about it; empty where it may hold weights."""
    text = beginning[:_BEGINNING].removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((what for starts, what in _KINDS if text.startswith(starts)), "")


def mistaken_file(file: Path) -> str:
    """The same of a file."""
    with file.open("rb") as stream:
        return mistaken(stream.read(_BEGINNING))
