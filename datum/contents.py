"""What files hold, as digests: the same data are the same data wherever they lie.

Data sets have tens of gigabytes, so a file is read once: what was found is kept in the user's cache folder
(`$XDG_CACHE_HOME/datum`, else `~/.cache/datum`) and holds while the file's size, times and inode stay as they
were. A file changed in place with its time set back is read again: the time of the change itself (ctime)
cannot be set. Where no cache can be kept, every start reads.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datum.disk import user_cache
from datum.outputs import replacing
from datum.photographs import read_image_bytes
from datum.processors import processors
from datum.telemetry import Progress

_SETTLED = 2 * 10**9
"""Nanoseconds. A file that changed this shortly before it was read may have changed again within one tick of
the clock."""

_FEW = 100

_Stamp = tuple[int, ...]
"""Size, times of the last writing and of the last change in nanoseconds, inode; empty for no file."""
_Known = dict[str, tuple[_Stamp, str]]
"""Name of a file -> its stamp when it was read, and its SHA-256."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """Files that are checked together: an image and its label."""

    names: tuple[str, ...]
    """Relative to the root of the data set."""
    check: Callable[[Sequence[bytes]], object]
    """Looks at the bytes of each; raises `InputError` where they are not as expected."""


def read_digests(what: str, root: Path, groups: Sequence[Checked], *, given: str = "") -> dict[str, str]:
    """Name -> SHA-256 of the files of `groups` below `root`, each read and checked.

    Files that were read before, are as they were and passed their check, are not read again. `what` says for
    the reader, and `given` is a digest of, what the checks depend on besides the files. Raises `InputError`
    as the checks do, for the first group that fails, and for a file that is missing.
    """
    record = _record(what, root)
    known = _read(record, given)
    found: _Known = {}
    # A few are read before anybody could read a line about them.
    progress = Progress(what, len(groups), unit="images") if len(groups) > _FEW else None
    try:
        with ThreadPoolExecutor(processors()) as pool:
            for entry in pool.map(lambda group: _digest(root, group, known), groups):
                found |= entry
                if progress:
                    progress.advance()
    finally:
        # What was read before a failure or a signal is not read again either.
        if any(known.get(name) != entry for name, entry in found.items()):
            _write(record, given, known | found)
    return {name: digest for name, (_, digest) in found.items()}


def digest_of_set(digests: Mapping[str, str]) -> str:
    """SHA-256 over names and what is said of each, a line each as `sha256sum` writes them, by name."""
    lines = (f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _digest(root: Path, group: Checked, known: _Known) -> _Known:
    stamps = {name: _stamp(root / name) for name in group.names}
    if all(stamp and name in known and known[name][0] == stamp for name, stamp in stamps.items()):
        return {name: known[name] for name in stamps}
    contents = [read_image_bytes(root / name) for name in group.names]
    group.check(contents)
    return {
        name: (stamp, hashlib.sha256(data).hexdigest())
        for (name, stamp), data in zip(stamps.items(), contents)
    }


def _stamp(file: Path) -> _Stamp:
    try:
        status = file.stat()
    except OSError:
        return ()  # reading it says what is wrong
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _record(what: str, root: Path) -> Path | None:
    """Where the digests of a data set are kept; None where there is no place."""
    try:
        cache = user_cache()
    except RuntimeError:
        return None
    name = hashlib.sha256(os.fsencode(f"{what}\0{root.resolve()}")).hexdigest()[:32]
    return cache / f"{name}.json" if cache.is_absolute() else None


def _read(record: Path | None, given: str) -> _Known:
    """What is known of files that had settled when they were read; nothing where the record is damaged."""
    if record is None:
        return {}
    try:
        written = record.stat().st_mtime_ns
        content = json.loads(record.read_bytes())
        if content["given"] != given:
            return {}
        return {
            name: (tuple(stamp), str(digest))
            for name, (stamp, digest) in content["files"].items()
            if max(stamp[1], stamp[2]) < written - _SETTLED
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        return {}


def _write(record: Path | None, given: str, known: _Known) -> None:
    if record is None:
        return
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with replacing(record) as temporary:
            temporary.write_text(json.dumps({"given": given, "files": known}), encoding="utf-8")
    except OSError:
        pass  # the next start reads again
