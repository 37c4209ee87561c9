"""Faults that pass are lived through: a call is repeated for as long as the process has patience, and so is
the whole task."""

import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from datum.errors import TemporaryFaultError
from datum.instruments import RETRIES, add
from datum.telemetry import duration, log

PATIENCE = "DATUM_PATIENCE"
"""Environment variable: seconds from the start of the process after which no fault is waited out. The
pipelines set it to the task's own time-out, less what it takes to end."""

DEFAULT_PATIENCE = 60.0
"""Seconds that each fault is waited out where it is not set: a person who looks on can start the command
again."""

LONGEST_PAUSE = 60.0
"""Seconds between two tries at most; the first pause is one second, each further one twice as long."""

LONGEST_PAUSE_OF_TASK = 300.0
"""Seconds between two tries of a whole task at most; the first pause is two seconds, each further one twice
as long."""

_STARTED, _TRIES = "DATUM_STARTED", "DATUM_TRIES"
"""Environment variables by which a process that begins again knows when (of `time.monotonic`) it first
started, and how often it has failed."""

_started = float(os.environ.get(_STARTED) or time.monotonic())

Result = TypeVar("Result")


def persevere(
    what: str, attempt: Callable[[], Result], *, until: float | None = None, of: str = "download"
) -> Result:
    """The result of `attempt`, which is called again while it raises `TemporaryFaultError`.

    Each try is said in the log, with `what` was tried. `until` (of `time.monotonic`) ends the tries; None
    takes the end of the process's patience. The last error is raised then. `of` is what the metric of retries
    counts it under.
    """
    until = patience_ends() if until is None else until
    tries = 0
    while True:
        tries += 1
        try:
            return attempt()
        except TemporaryFaultError as error:
            pause = min(2.0 ** (tries - 1), LONGEST_PAUSE)
            left = until - time.monotonic()
            if left <= 0:
                raise
            pause = min(pause, left)
            log(f"{what}: {error}; try {tries}, again in {duration(pause)} (for another {duration(left)})")
            add(RETRIES, of=of)
            time.sleep(pause)


def begin_again(fault: TemporaryFaultError) -> None:
    """Runs this process's own command anew in its place, after a pause, and says so in the log.

    A pod need not fail for a fault that passes: KFP 2.17 tries no failed pod again. It is a new program with
    the same process id: no memory, thread or GPU context of the failed try is left, and it goes on from what
    is saved as any second start does. Returns at once where the process's patience is not named or has ended.
    """
    patience = _named_patience()
    left = _started + patience - time.monotonic() if patience is not None else 0.0
    if left <= 0:
        return
    failed = tries_before() + 1
    pause = min(2.0**failed, LONGEST_PAUSE_OF_TASK, left)
    log(f"{fault}; try {failed} of this task, again in {duration(pause)} (for another {duration(left)})")
    time.sleep(pause)
    # They would outlive what they work for.
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
    os.environ |= {_STARTED: repr(_started), _TRIES: str(failed)}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def tries_before() -> int:
    """How often this task has failed and begun again."""
    return int(os.environ.get(_TRIES, "0"))


def patience_ends() -> float:
    """When (of `time.monotonic`) this process stops waiting for a fault that it meets now to pass."""
    patience = _named_patience()
    return time.monotonic() + DEFAULT_PATIENCE if patience is None else _started + patience


def _named_patience() -> float | None:
    try:
        patience = float(os.environ[PATIENCE])
    except (KeyError, ValueError):
        return None
    return patience if math.isfinite(patience) else None
