"""Outputs that are either whole or absent.

A stage builds its output in `<output>.partial` and renames it when it is whole, so that no reader ever
sees half of one. The partial folder outlives a killed process: running the same command again finds it
and resumes. One process at a time builds an output. Unfinished work of other settings or inputs is set aside.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from datum.disk import flush_folder, is_mount_point
from datum.errors import InputError
from datum.instruments import disks
from datum.one_writer import locked, require_unlocked
from datum.provenance import PROVENANCE, Provenance, read_provenance
from datum.telemetry import duration, log

_TEMPORARY = re.compile(r"\.datum-[0-9a-f]{8}(\..*)?")
"""Names of files that are being written; a killed process may leave one."""

_NO_MATTER = 60.0
"""Seconds of work that are deleted, not set aside, where they cannot be gone on with."""


def is_complete(output: Path, provenance: Provenance, *, replaceable: bool = False) -> bool:
    """Whether `output` is already the whole result of exactly this stage, settings and inputs; says so if it
    is.

    Raises `InputError` where it holds anything else, so that nothing of the user's is overwritten, where no
    folder can be made there, and where another process is building it. With `replaceable`, for what is made
    in seconds, an older output of the same stage is no obstacle: `building` replaces it.
    """
    require_room(output)
    require_unlocked(output.resolve())
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    if provenance.made(output):
        log(f"{output}: already complete")
        return True
    if replaceable and _is_of_stage(output, provenance):
        return False
    different = provenance.differences(output)
    what = f" ({different})" if different else ""
    raise InputError(
        f"--output {output}: already holds something else than this command's output{what}; "
        "remove it or name another folder"
    )


def set_aside_outdated(output: Path, provenance: Provenance) -> None:
    """Makes way for the output of a changed input: sets the finished `output` aside where it was made by the
    same stage and settings from the same paths, and what lies there has changed since (one that was made in
    less than a minute is deleted); says so. Anything else at `output` is left."""
    place = output.resolve()
    if not provenance.outdated(place):
        return
    require_room(output)
    with locked(place):
        different = provenance.differences(place)
        if seconds_of_work(place) <= _NO_MATTER:
            shutil.rmtree(place)
            log(f"{output}: an input has changed ({different}); it is made anew")
            return
        aside = _set_aside(place, place.name)
    log(f"{output}: an input has changed ({different}); the old output is set aside as {aside}")


def require_folder(output: Path) -> None:
    """Raises `InputError` where files cannot be written into a folder `output`, which may be missing."""
    place = output.resolve()
    parent = next(folder for folder in (place, *place.parents) if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"--output {output}: {parent} is no folder that can be written to; name another")


def require_room(output: Path) -> None:
    """Raises `InputError` where no folder can be made at or above `output`, or none can take its place."""
    place = output.resolve()
    require_folder(place.parent)
    if place.exists() and is_mount_point(place):
        raise InputError(
            f"--output {output}: is a mount point, which no folder can replace; name a folder in it"
        )
    if place in (Path.cwd(), *Path.cwd().parents):
        raise InputError(
            f"--output {output}: is the folder that this command runs in or one above it; name a folder in it"
        )


def unfinished(output: Path) -> Path:
    """The folder that `output` is built in."""
    place = output.resolve()
    return place.with_name(place.name + ".partial")


@contextlib.contextmanager
def building(output: Path, provenance: Provenance) -> Iterator[Path]:
    """Yields the folder to build in; renames it to `output` when the block ends without an exception.

    What an interrupted run of the same stage, settings and inputs left in the folder is still there, less
    the files that a killed process was writing. The provenance records the SHA-256 of all files. `output` may
    be a link to a folder, which stays. Raises `InputError` where another process builds the same output.
    """
    place, partial = output.resolve(), unfinished(output)
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place):
        if place.exists() and provenance.made(place):
            raise InputError(
                f"--output {output}: was just completed by another process; run the command again"
            )
        started = _take_over(partial, provenance) or time.time()
        partial.mkdir(exist_ok=True)
        disks["output"] = partial.parent
        write_json(partial / PROVENANCE, provenance.record(started=started))
        yield partial
        write_json(partial / PROVENANCE, provenance.record(started=started, outputs=digests_below(partial)))
        flush_folder(partial)
        if _is_of_stage(place, provenance):
            shutil.rmtree(place)
        partial.rename(place)


def _take_over(partial: Path, provenance: Provenance) -> float | None:
    """Prepares what an earlier process left in `partial`, if anything; when that work began (`time.time`)."""
    if not partial.exists():
        return None
    if provenance.goes_on_from(partial):
        for file in partial.rglob(".datum-*"):
            if is_temporary(file):
                file.unlink()
        started = (read_provenance(partial) or {}).get("started")
        return started if isinstance(started, float) else None
    worked = seconds_of_work(partial)
    ours = read_provenance(partial) is not None or all(is_temporary(file) for file in partial.iterdir())
    if ours and worked <= _NO_MATTER:
        log(f"{partial}: {duration(worked)} of other unfinished work are deleted")
        shutil.rmtree(partial)
        return None
    different = provenance.differences(partial) or "made by something else"
    aside = _set_aside(partial, partial.name.removesuffix(".partial"))
    log(
        f"{partial}: held unfinished work ({duration(worked)}) of other settings or inputs ({different}); "
        f"it is set aside as {aside}: remove it if you do not need it"
    )
    return None


def _set_aside(folder: Path, name: str) -> Path:
    """Renames `folder` to the first free `<name>.set-aside-<number>` beside it."""
    asides = (folder.with_name(f"{name}.set-aside-{number}") for number in itertools.count(1))
    aside = next(aside for aside in asides if not aside.exists())
    folder.rename(aside)
    return aside


def seconds_of_work(folder: Path) -> float:
    """Seconds between the first and the last change of the files in `folder`."""
    times = [file.lstat().st_mtime for file in folder.rglob("*")]
    started = (read_provenance(folder) or {}).get("started")
    times += [started] if isinstance(started, float) else []
    return max(times) - min(times) if times else 0.0


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yields a temporary path beside `file`, renamed to `file` when the block ends without an exception.

    Its content is on the disk before it takes the name, so that a loss of power leaves the old or the new.
    """
    temporary = file.with_name(f".datum-{secrets.token_hex(4)}{file.suffix[-40:]}")
    # Not by tempfile, whose files only their owner may read.
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(file: Path) -> bool:
    """Whether `file` has the name of one that `replacing` is writing, or was when its process was killed."""
    return _TEMPORARY.fullmatch(file.name) is not None


def write_json(file: Path, content: Any) -> None:
    """Writes `content` as indented JSON, whole or not at all. A number that is not finite is a
    `ValueError`."""
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def sha256(file: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digests_below(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder` by its relative name, sorted; links and provenance are left out.

    A file that has several names (hard links) is read once.
    """
    files: dict[str, Path] = {}
    identities: dict[str, tuple[int, int]] = {}
    for file in sorted(folder.rglob("*")):
        status = file.lstat()
        if stat.S_ISREG(status.st_mode) and file != folder / PROVENANCE and not is_temporary(file):
            name = file.relative_to(folder).as_posix()
            files[name], identities[name] = file, (status.st_dev, status.st_ino)
    once = {identity: files[name] for name, identity in identities.items()}
    with ThreadPoolExecutor() as pool:
        by_identity = dict(zip(once, pool.map(sha256, once.values())))
    return {name: by_identity[identity] for name, identity in identities.items()}


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
