"""Progress and log lines: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time

LOG_INTERVAL = 5.0
"""Seconds between two progress lines in a log."""


def log(message: str) -> None:
    """One plain line on standard error, so that standard output stays free for results."""
    print(message, file=sys.stderr, flush=True)


class Progress:
    """Counts finished units and shows rate and time left: a bar on a terminal, plain lines in a log."""

    def __init__(self, description: str, total: int, *, unit: str, done: int = 0) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._done = self._started_at_count = done
        self._started = self._last_line = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def advance(self, units: int = 1, note: str = "") -> None:
        """Counts `units` more; `note` (a loss, an mIoU) is shown beside the rate."""
        self._done += units
        now = time.monotonic()
        if now - self._last_line >= (0.1 if self._terminal else LOG_INTERVAL) or self._done >= self._total:
            self._last_line = now
            self._show(now, note)

    def _show(self, now: float, note: str) -> None:
        rate = (self._done - self._started_at_count) / max(now - self._started, 1e-9)
        left = duration((self._total - self._done) / rate) if rate > 0 else "?"
        state = f"{self._done}/{self._total} {self._unit}, {rate:.3g}/s, {left} left"
        text = f"{self._description}: {state}" + (f", {note}" if note else "")
        if not self._terminal:
            log(text)
            return
        filled = int(24 * self._done / max(self._total, 1))
        end = "\n" if self._done >= self._total else ""
        print(f"\r\x1b[K{'█' * filled}{'░' * (24 - filled)} {text}", end=end, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """`3h05m`, `4m07s` or `9s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
