"""JSON from files that other programs, or people, may have changed: an object, or a line that says what is
wrong.

Stricter than Python's own reader: no NaN and no infinity, no number that another program would read as one,
no key twice, and no text that cannot be written again.
"""

import json
import math
from pathlib import Path
from typing import Any

from datum.errors import InputError

MAX_BYTES = 1 << 26
"""A file of ours stays far below 64 MiB; a longer one is none of ours, and would fill the memory."""
MAX_INTEGER = 1 << 63
"""Seeds are the largest whole numbers that we write, and stay below."""


def require_file(file: Path) -> Path:
    """`file`; raises `InputError` where it is missing."""
    if not file.is_file():
        raise InputError(f"{file}: missing; run the stage that writes it again")
    return file


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`; raises `InputError` where it is missing or holds anything else."""
    return parse_json(str(file), read_text(file))


def read_json_lines(file: Path) -> list[dict[str, Any]]:
    """The JSON objects in `file`, one per line; raises `InputError` as above."""
    # Not by splitlines(), which takes other characters for line ends, in the middle of a text.
    lines = read_text(file).split("\n")
    if not lines[-1]:
        lines.pop()
    return [parse_json(f"{file}, line {n}", line) for n, line in enumerate(lines, start=1)]


def read_text(file: Path) -> str:
    """The text in `file`; raises `InputError` where it is missing, not UTF-8, or too long to be ours."""
    if require_file(file).stat().st_size > MAX_BYTES:
        raise InputError(
            f"{file}: found {file.stat().st_size} bytes, expected at most {MAX_BYTES}; "
            "run the stage that writes it again"
        )
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{file}: is not UTF-8 text; run the stage that writes it again") from None


def parse_json(where: str, text: str) -> dict[str, Any]:
    """The JSON object in `text`; raises `InputError`, which begins with `where`, for anything else."""
    try:
        content = json.loads(
            text,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_bounded,
            object_pairs_hook=_without_repetition,
        )
        # Half of a surrogate pair is text to JSON, and cannot be written to a page or be a file's name.
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise InputError(f"{where}: is nested too deeply; run the stage that writes it again") from None
    except ValueError as error:
        raise InputError(f"{where}: is not JSON ({error}); run the stage that writes it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{where}: found {type(content).__name__}, expected a JSON object")
    return content


def _refuse(constant: str) -> float:
    raise ValueError(f"found {constant}, expected a finite number")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        _refuse(text[:40])
    return value


def _bounded(text: str) -> int:
    # The length is asked first: Python refuses to read thousands of digits in words of its own.
    if len(text) > 20 or not -MAX_INTEGER <= int(text) < 2 * MAX_INTEGER:
        raise ValueError(f"found the number {text[:20]}… of {len(text)} digits")
    return int(text)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"found the key {twice[:40]!r} twice")
    return content
