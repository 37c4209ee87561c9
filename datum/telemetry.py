"""Progress and log lines: bars on a terminal, plain lines in a log."""

import atexit
import sys
import time
from typing import Any

from datum.instruments import PROGRESSED, WORK_DONE, WORK_PLANNED, put

LOG_INTERVAL = 5.0
"""Seconds between two progress lines in a log."""
TERMINAL_INTERVAL = 0.1
"""Seconds between two pictures of a bar."""


def log(message: str) -> None:
    """One plain line on standard error, so that standard output stays free for results."""
    print(message, file=sys.stderr, flush=True)


class Progress:
    """Counts finished units and shows rate and time left: a bar on a terminal, plain lines in a log."""

    def __init__(self, description: str, total: int, *, unit: str, done: int = 0) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._done = self._started_at_count = done
        self._started = self._last_line = time.monotonic()
        self._bar = _Bar(total) if sys.stderr.isatty() else None
        put(WORK_PLANNED, total, unit)
        self._note()

    def advance(self, units: int = 1, note: str = "") -> None:
        """Counts `units` more; `note` (a loss, an mIoU) is shown beside the rate."""
        self._done += units
        self._note()
        now = time.monotonic()
        interval = TERMINAL_INTERVAL if self._bar else LOG_INTERVAL
        if now - self._last_line >= interval or self._done >= self._total:
            self._last_line = now
            self._show(now, note)

    def _note(self) -> None:
        put(WORK_DONE, self._done, self._unit)
        put(PROGRESSED, time.time())

    def _show(self, now: float, note: str) -> None:
        rate = (self._done - self._started_at_count) / max(now - self._started, 1e-9)
        left = duration((self._total - self._done) / rate) if rate > 0 else "?"
        state = f"{self._done}/{self._total} {self._unit}, {rate:.3g}/s, {left} left"
        text = f"{self._description}: {state}" + (f", {note}" if note else "")
        if self._bar:
            self._bar.show(self._done, text)
        else:
            log(text)


class _Bar:
    """A bar with a text beside it. Other lines that are printed meanwhile stand above it."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        self._total = total
        self._bars: Any = Bars(
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True, highlight=False),
            # Drawn when there is news, without a thread of its own.
            auto_refresh=False,
            redirect_stdout=False,
        )
        self._task = self._bars.add_task("", total=max(total, 1))
        # The terminal gets its cursor back also where the work ends early.
        atexit.register(self._bars.stop)

    def show(self, done: int, text: str) -> None:
        self._bars.start()
        self._bars.update(self._task, completed=done, description=text)
        self._bars.refresh()
        if done >= self._total:
            self._bars.stop()


def duration(seconds: float) -> str:
    """`3h05m`, `4m07s` or `9s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
