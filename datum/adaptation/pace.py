"""How fast a training goes: for its log."""

import contextlib
import time
from collections.abc import Iterator

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
