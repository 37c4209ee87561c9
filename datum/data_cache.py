"""A folder that the tasks of a cluster share, in which fetched data sets stay for the next task.

It is one claim that every training mounts, so that GTA's 57 GB are fetched once and not once a training. An
entry is filled aside and moved into place: it is whole or absent. Whoever uses one touches the mark beside it
every minute, and what nobody has touched for an hour is removed where room is needed, the longest unused
first: neither needs locks, which some shared file systems have for one node alone. Where they work, tasks
that want the same entry wait for the first to fill it. A cache that cannot be used costs a fetch, never a
task.
"""

import contextlib
import fcntl
import math
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from datum.errors import TemporaryFaultError, one_line
from datum.room import size_in_words
from datum.telemetry import log

CACHE = "DATUM_DATA_CACHE"
"""Environment variable that names the folder; where it is not set there is none."""
TOUCH_SECONDS = 60.0
"""Time between two marks of use."""
IDLE_SECONDS = 3600.0
"""Time without a mark after which an entry may be removed, and what a killed task has left of one."""


def through_cache(key: str, sizes: Mapping[str, int], fill: Callable[[Path], object]) -> Path | None:
    """The folder `key` of the cache, which holds files of these names and `sizes`; None where there is no
    cache, or where it cannot be used. `fill` makes the folder `key` below the one that it is given."""
    if not (place := os.environ.get(CACHE)):
        return None
    try:
        return _kept(Path(place), key, sizes, fill)
    except (OSError, TemporaryFaultError) as error:
        log(f"{place}: cannot be used ({one_line(str(error))}); what it would hold is fetched for this task")
        return None


def _kept(cache: Path, key: str, sizes: Mapping[str, int], fill: Callable[[Path], object]) -> Path:
    entry, size = cache / key, size_in_words(sum(sizes.values()))
    with _turn(cache / f"{key}.lock"):
        # Marked before it is looked at: from here on nobody removes it.
        _touched(entry)
        if _is_whole(entry, sizes):
            log(f"{entry}: is kept there, {size} need not be fetched")
            return entry
        _remove(entry)
        _make_room(cache, sum(sizes.values()))
        aside = cache / f"{key}.{uuid.uuid4().hex[:8]}"
        marking = _touched(aside)
        try:
            fill(aside)
            try:
                (aside / key).rename(entry)
            except OSError:
                if not _is_whole(entry, sizes):  # Without locks another task may have been first.
                    raise
        finally:
            marking.set()
            _remove(aside)
            _mark(aside).unlink(missing_ok=True)
    log(f"{entry}: {size} are kept there for the next task")
    return entry


@contextlib.contextmanager
def _turn(file: Path) -> Iterator[None]:
    """Waits until no other task holds `file`, where the file system has locks; a killed task gives it up."""
    with file.open("a") as stream:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log(f"{file.with_suffix('')}: another task fetches it, and is waited for")
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _touched(entry: Path) -> threading.Event:
    """Marks `entry` as used, from now on until the event is set or this process ends."""
    mark, ended = _mark(entry), threading.Event()
    mark.touch()

    def touch() -> None:
        while not ended.wait(TOUCH_SECONDS):
            with contextlib.suppress(OSError):
                mark.touch()

    threading.Thread(target=touch, daemon=True).start()
    return ended


def _mark(entry: Path) -> Path:
    return entry.with_name(f"{entry.name}.used")


def _is_whole(entry: Path, sizes: Mapping[str, int]) -> bool:
    return all(
        (entry / name).is_file() and (entry / name).stat().st_size == size for name, size in sizes.items()
    )


def _make_room(cache: Path, needed: int) -> None:
    """Removes what has been idle for longest until `needed` bytes are free; raises `TemporaryFaultError`
    where that is not enough."""
    while (free := shutil.disk_usage(cache).free) < needed:
        clock = cache / f"{uuid.uuid4().hex}.clock"
        clock.touch()  # The time of the file system, by which the marks are.
        now = clock.stat().st_mtime
        clock.unlink()
        used = {entry: _last_used(entry) for entry in cache.iterdir() if entry.is_dir()}
        idle = [entry for entry, time in used.items() if now - time > IDLE_SECONDS]
        if not idle:
            raise TemporaryFaultError(
                f"{size_in_words(free)} are free and everything in it is in use, expected "
                f"{size_in_words(needed)}; enlarge its volume"
            )
        longest = min(idle, key=lambda entry: used[entry])
        log(f"{longest}: is removed, to make room")
        _remove(longest)
        _mark(longest).unlink(missing_ok=True)


def _last_used(entry: Path) -> float:
    for file in (_mark(entry), entry):
        with contextlib.suppress(FileNotFoundError):
            return file.stat().st_mtime
    return math.inf  # Another task has removed it meanwhile.


def _remove(entry: Path) -> None:
    """Removes an entry at once, as others see it, and then its files."""
    if entry.is_dir():
        gone = entry.with_name(f"{uuid.uuid4().hex}.gone")
        entry.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
