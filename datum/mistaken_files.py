"""What a file that should hold weights holds instead, told from its first bytes: a download that failed often
leaves a file of the right name."""

from pathlib import Path

BEGINNING = 64
"""Bytes that are looked at."""

_KINDS = (
    ((b"<",), "a web page or an error in XML", "was saved in place of the weights: download them again"),
    (
        (b"version https://git-lfs",),
        "Git LFS's pointer",
        "stands for the weights: fetch them with `git lfs pull`",
    ),
    (
        (b"\x1f\x8b", b"BZh", b"\xfd7zXZ"),
        "a compressed archive",
        "is to be unpacked: name the file of weights in it",
    ),
    ((b"{", b"["), "a text in JSON", "is an error or a configuration: name the file of weights"),
)
"""First bytes, white space aside -> what such a file is, and what that means."""


def mistaken(beginning: bytes) -> str:
    """What a file is that begins so; empty where it may hold weights."""
    return _kind(beginning)[0]


def mistaken_file(file: Path) -> str:
    """The same of a file, and what to do about it."""
    with file.open("rb") as stream:
        what, meaning = _kind(stream.read(BEGINNING))
    return f"{what}, which {meaning}" if what else ""


def _kind(beginning: bytes) -> tuple[str, str]:
    text = beginning[:BEGINNING].removeprefix(b"\xef\xbb\xbf").lstrip()
    return next(((what, meaning) for starts, what, meaning in _KINDS if text.startswith(starts)), ("", ""))
