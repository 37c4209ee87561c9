"""One writer at a time: a lock beside what is worked on, which the system takes back from a killed
process."""

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from datum.errors import InputError
from datum.telemetry import log

_PATIENCE = 3.0
"""Seconds that a lock is waited for: what a killed process leaves running ends by itself in that time."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of `path`, the file `<path>.datum-lock`, and removes it at the end.

    A lock of the process, not of the open file: no child that outlives a killed process keeps it. Raises
    `InputError` that says who holds it.
    """
    file = _lock_file(path)
    stream = _acquire(file, path)
    try:
        yield
    finally:
        # First the name, then the lock: who waits for it looks whether the name is still that file's.
        file.unlink(missing_ok=True)
        stream.close()


@contextlib.contextmanager
def in_turn(file: Path) -> Iterator[None]:
    """Holds `file` as a lock that other processes of this machine wait for; a killed process gives it up."""
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def require_unlocked(path: Path) -> None:
    """Raises `InputError` where another process holds the lock of `path`; removes what a killed one left."""
    file = _lock_file(path)
    if file.exists() and os.access(file.parent, os.W_OK) and os.access(file, os.W_OK):
        with locked(path):
            pass


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{path.name[:200]}.datum-lock")


def _acquire(file: Path, path: Path) -> IO[str]:
    ends = time.monotonic() + _PATIENCE
    while True:
        stream = file.open("a+", encoding="utf-8")
        if not _taken_over(stream):
            if time.monotonic() > ends:
                with stream:
                    raise _taken(path, stream)
        elif file.exists() and os.path.samestat(os.fstat(stream.fileno()), file.stat()):
            stream.truncate(0)
            stream.write(
                f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}"
            )
            stream.flush()
            return stream
        stream.close()
        time.sleep(0.1)


def _taken_over(stream: IO[str]) -> bool:
    """Whether this process holds the lock now, since no other does."""
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        log(f"{stream.name}: this file system has no locks; start no second process with the same output")
    return True


def _taken(path: Path, stream: IO[str]) -> InputError:
    stream.seek(0)
    who = stream.read(200).strip() or "another process"
    return InputError(f"{path}: {who} works on it; wait until it ends, or name another place")
