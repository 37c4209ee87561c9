"""Read by every Python process with this folder on its path: ends it, or turns its clock, as the environment
says.

DATUM_FAULT_KILL_AT=N     SIGKILL to itself just before the N-th of its operations that change files
DATUM_FAULT_COUNT=FILE    writes how many there were to FILE when it ends
DATUM_FAULT_CLOCK=S       a clock that is S seconds ahead, or behind
"""

import atexit
import datetime
import os
import signal
import sys
import time

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def watch_operations(kill_at: int, count_file: str) -> None:
    process, count = os.getpid(), 0

    def heard(event: str, arguments: tuple) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            if not flags & WRITING or not isinstance(path, str) or path.startswith(("/dev/", "/proc/")):
                return
        elif event not in CHANGES:
            return
        if os.getpid() != process:
            return
        count += 1
        if count == kill_at:
            os.kill(process, signal.SIGKILL)

    def tell() -> None:
        if os.getpid() == process:
            with open(count_file, "w", encoding="ascii") as stream:  # noqa: PTH123
                stream.write(str(count))

    sys.addaudithook(heard)
    if count_file:
        atexit.register(tell)


def turn_clock(seconds: float) -> None:
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + int(seconds * 1e9)

    class Turned(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime.fromtimestamp(time.time(), tz)

    datetime.datetime = Turned  # type: ignore[misc]


if any(name.startswith("DATUM_FAULT_") for name in os.environ):
    kill_at = int(os.environ.get("DATUM_FAULT_KILL_AT", "0"))
    count_file = os.environ.get("DATUM_FAULT_COUNT", "")
    if kill_at or count_file:
        watch_operations(kill_at, count_file)
    if seconds := float(os.environ.get("DATUM_FAULT_CLOCK", "0")):
        turn_clock(seconds)
