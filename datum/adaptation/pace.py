"""How fast a training goes, and how much memory it takes: for its log."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from datum.instruments import IMAGES, ITERATIONS, add


class Pace:
    """Images per second of the steps alone: what is done beside them does not count.

    Nothing here waits for a GPU, which works behind the program: the figure is right where it is taken, and
    a pause begins, just after something else has waited for it.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forgets what was counted."""
        self._images, self._started = 0, time.monotonic()

    def add(self, images: int) -> None:
        """Counts the images of a step."""
        self._images += images
        add(IMAGES, images)
        add(ITERATIONS)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The time of the block does not count."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._started += time.monotonic() - started

    def take(self) -> float:
        """Images per second since the last time, or the restart."""
        rate = self._images / max(time.monotonic() - self._started, 1e-9)
        self.restart()
        return rate


def peak_memory(device: torch.device) -> int:
    """Bytes of a GPU's memory that this process has had in use at once; on a processor, bytes of memory that
    it has held at once, 0 on other systems than Linux."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not by getrusage, whose figure is at least that of the process that started this one.
    try:
        fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    except OSError:
        return 0
    return int(fields["VmHWM"].split()[0]) * 1024
