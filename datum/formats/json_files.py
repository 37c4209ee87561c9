"""JSON from files that other programs, or people, may have changed: an object, or a line that says what is
wrong."""

import json
from pathlib import Path
from typing import Any

from datum.errors import InputError


def require_file(file: Path) -> Path:
    """`file`; raises `InputError` where it is missing."""
    if not file.is_file():
        raise InputError(f"{file}: missing; run the stage that writes it again")
    return file


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`; raises `InputError` where it is missing or holds anything else."""
    return _parse(str(file), _read_text(file))


def read_json_lines(file: Path) -> list[dict[str, Any]]:
    """The JSON objects in `file`, one per line; raises `InputError` as above."""
    return [
        _parse(f"{file}, line {n}", line) for n, line in enumerate(_read_text(file).splitlines(), start=1)
    ]


def _read_text(file: Path) -> str:
    try:
        return require_file(file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{file}: is not UTF-8 text; run the stage that writes it again") from None


def _parse(where: str, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: is not JSON ({error}); run the stage that writes it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{where}: found {type(content).__name__}, expected a JSON object")
    return content
