"""What Python's library does not say of disks: mount points, where the user's cache is, writing in parts, and
writing all through."""

import ctypes
import os
import re
from pathlib import Path
from typing import BinaryIO

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")
"""How blanks are written there."""

PIECE = 2**18
"""Bytes of one write. Linux looks for memory in one piece as large as a write: a new file is written at 0.4
to 1 GB/s with 8 MiB at a time, at 5 GB/s with 256 KiB (ext4, Linux 6.18)."""

_SYNC_FILE_RANGE_WRITE = 2
"""Of Linux's fcntl.h."""


def user_cache() -> Path:
    """`$XDG_CACHE_HOME/datum`, else `~/.cache/datum`; raises `RuntimeError` where there is no home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "datum"


def is_mount_point(folder: Path) -> bool:
    """Whether `folder` (absolute, without links) is a mount point; also of a folder of the same disk, as in a
    container."""
    if os.path.ismount(folder):
        return True
    if not _MOUNTS.exists():  # another system than Linux
        return False
    mounted = (line.split(b" ")[4] for line in _MOUNTS.read_bytes().splitlines())
    return any(_ESCAPED.sub(_character, place) == os.fsencode(folder) for place in mounted)


def _character(escaped: re.Match[bytes]) -> bytes:
    return bytes([int(escaped[1], 8)])


def write_at(stream: BinaryIO, start: int, data: bytes) -> None:
    """Writes all of `data` into a file that is open for writing, from byte `start` on, and has the disk begin
    with it, so that flushing the file at its end takes little. Threads may."""
    left, place = memoryview(data), start
    while left:
        written = os.pwrite(stream.fileno(), left[:PIECE], place)
        left, place = left[written:], place + written
    system = ctypes.CDLL(None)
    if hasattr(system, "sync_file_range"):  # Linux
        offset, length = ctypes.c_longlong(start), ctypes.c_longlong(len(data))
        system.sync_file_range(stream.fileno(), offset, length, _SYNC_FILE_RANGE_WRITE)


def file_identity(stream: BinaryIO) -> tuple[int, int]:
    """What changes when a file is written to: nobody can set back the time of its last change of any kind."""
    status = os.fstat(stream.fileno())
    return status.st_size, status.st_ctime_ns


def flush_folder(folder: Path) -> None:
    """Returns when all that was written to the disk of `folder` is on it, so that a loss of power does not
    take back what a finished output claims."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        system = ctypes.CDLL(None, use_errno=True)
        if not hasattr(system, "syncfs"):  # another system than Linux
            os.sync()
        elif system.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(handle)
