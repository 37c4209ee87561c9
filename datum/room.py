"""The disk and the memory that work needs: said at its start and checked against what is there."""

import shutil
from pathlib import Path

from datum.errors import TemporaryFaultError
from datum.telemetry import log

CGROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of cgroup version 2 and 1: folder, file with the memory limit of this container in bytes, file with what it
uses, and the line of `memory.stat` that tells how much of that is a cache of files, which gives way."""


def require_disk(place: Path, needed: int, purpose: str) -> None:
    """Says what `purpose` needs of the disk below `place`, in bytes; raises `TemporaryFaultError` where less
    is free."""
    folder = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    log(f"{purpose}: needs {size_in_words(needed)} of disk in {place}, {size_in_words(free)} are free")
    if needed > free:
        raise TemporaryFaultError(
            f"{place}: {size_in_words(free)} of disk are free, expected {size_in_words(needed)} "
            f"for {purpose}; "
            "make room, or name another place"
        )


def require_memory(needed: int, purpose: str) -> None:
    """Says what `purpose` needs of memory, in bytes; raises `TemporaryFaultError` where less is available."""
    available = available_memory()
    log(f"{purpose}: needs {size_in_words(needed)} of memory, {size_in_words(available)} are available")
    if needed > available:
        raise TemporaryFaultError(
            f"memory: {size_in_words(available)} are available, expected {size_in_words(needed)} "
            f"for {purpose}; "
            "end other programs, or use a machine (a container limit) with more"
        )


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, and of its container's limit."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():  # another system than Linux: nothing is known
        return 2**62
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    for folder, limit, use, cache in CGROUPS:
        try:
            left = int(Path(folder, limit).read_text()) - int(Path(folder, use).read_text())
            statistics = dict(line.split() for line in Path(folder, "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no such version of cgroups, or `max`: no limit
            continue
        available = min(available, max(0, left + int(statistics.get(cache, 0))))
    return available


def bytes_below(folder: Path) -> int:
    """Bytes that the files below `folder` take, if there is one; those with several names count once."""
    files = [file.lstat() for file in folder.rglob("*")] if folder.is_dir() else []
    return sum({(status.st_dev, status.st_ino): status.st_size for status in files}.values())


def size_in_words(size: int) -> str:
    """`17.3 GB`, `250 MB` or `4 kB`."""
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6)):
        if size >= bytes_:
            return f"{size / bytes_:.3g} {unit}"
    return f"{-(-size // 1000)} kB"
