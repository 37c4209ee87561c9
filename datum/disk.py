"""What Python's library does not say of disks: mount points of every kind, and writing everything through."""

import ctypes
import os
import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")
"""How blanks are written there."""


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
