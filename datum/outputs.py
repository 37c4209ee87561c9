"""Outputs that are either whole or absent.

A stage builds its output in `<output>.partial` and renames it when it is whole, so that no reader ever
sees half of one. The partial folder outlives a killed process: running the same command again finds it
and resumes, and a command with other settings or inputs starts it anew.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.provenance import PROVENANCE, Provenance, read_provenance
from datum.telemetry import log


def is_complete(output: Path, provenance: Provenance, *, replaceable: bool = False) -> bool:
    """Whether `output` is already the whole result of exactly this stage, settings and inputs; says so if it
    is.

    Raises `InputError` where it holds anything else, so that nothing of the user's is overwritten, and where
    no folder can be made there. With `replaceable`, for what is made in seconds, an older output of the same
    stage is no obstacle: `building` replaces it.
    """
    require_room(output)
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    if provenance.made(output):
        log(f"{output}: already complete")
        return True
    if replaceable and _is_of_stage(output, provenance):
        return False
    raise InputError(
        f"--output {output}: already holds something else than this command's output; "
        "remove it or name another folder"
    )


def require_room(output: Path) -> None:
    """Raises `InputError` where no folder can be made at or above `output`."""
    parent = next(folder for folder in output.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"--output {output}: {parent} is no folder that can be written to; name another")


@contextlib.contextmanager
def building(output: Path, provenance: Provenance, *, digests: Sequence[str] = ()) -> Iterator[Path]:
    """Yields the folder to build in; renames it to `output` when the block ends without an exception.

    What an interrupted run of the same stage, settings and inputs left in the folder is still there. The
    provenance records the SHA-256 of the files that match the patterns `digests`.
    """
    partial = output.with_name(output.name + ".partial")
    if partial.exists() and not provenance.made(partial):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    write_json(partial / PROVENANCE, provenance.record())
    yield partial
    files = sorted({file for pattern in digests for file in partial.glob(pattern)})
    outputs = {file.relative_to(partial).as_posix(): sha256(file) for file in files}
    write_json(partial / PROVENANCE, provenance.record(outputs))
    if _is_of_stage(output, provenance):
        shutil.rmtree(output)
    elif output.exists():
        output.rmdir()
    partial.rename(output)


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yields a temporary path beside `file`, renamed to `file` when the block ends without an exception."""
    temporary = file.with_name(f".{file.stem}.{secrets.token_hex(4)}{file.suffix}")
    # Not by tempfile, whose files only their owner may read.
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(file: Path, content: Any) -> None:
    """Writes `content` as indented JSON, whole or not at all."""
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def sha256(file: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def place(source: Path, destination: Path) -> None:
    """Puts a file or a folder at `destination` too: by hard links on one file system, else by copying."""
    if source.is_dir():
        shutil.copytree(source, destination, copy_function=link_or_copy, dirs_exist_ok=True)
    else:
        destination.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(source, destination)


def link_or_copy(source: str | Path, destination: str | Path) -> None:
    """Puts a file at `destination` too: by a hard link or, where the file system has none, by copying."""
    Path(destination).unlink(missing_ok=True)
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)


def _is_of_stage(folder: Path, provenance: Provenance) -> bool:
    return (read_provenance(folder) or {}).get("stage") == provenance.stage
