"""Faults that pass are lived through: a call is repeated for as long as the process has patience."""

import math
import os
import time
from collections.abc import Callable
from typing import TypeVar

from datum.errors import TemporaryFaultError
from datum.telemetry import duration, log

PATIENCE = "DATUM_PATIENCE"
"""Environment variable: seconds from the start of the process after which no fault is waited out. The
pipelines set it to the task's own time-out, less what it takes to end."""

DEFAULT_PATIENCE = 60.0
"""Seconds that each fault is waited out where it is not set: a person who looks on can start the command
again."""

LONGEST_PAUSE = 60.0
"""Seconds between two tries at most; the first pause is one second, each further one twice as long."""

_started = time.monotonic()

Result = TypeVar("Result")


def persevere(what: str, attempt: Callable[[], Result], *, until: float | None = None) -> Result:
    """The result of `attempt`, which is called again while it raises `TemporaryFaultError`.

    Each try is said in the log, with `what` was tried. `until` (of `time.monotonic`) ends the tries; None
    takes the end of the process's patience. The last error is raised then.
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
            time.sleep(pause)


def patience_ends() -> float:
    """When (of `time.monotonic`) this process stops waiting for a fault that it meets now to pass."""
    try:
        patience = float(os.environ[PATIENCE])
    except (KeyError, ValueError):
        patience = math.nan
    return _started + patience if math.isfinite(patience) else time.monotonic() + DEFAULT_PATIENCE
