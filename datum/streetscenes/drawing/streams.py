"""Random numbers of a scene: one stream for the layout, one for the looks.

Both come from the scene's seed but never mix, so a seed keeps its label map whatever domain it is drawn in.
Numbers are drawn in one block and handed out one at a time, which is ten times as fast as asking numpy for
each of the thousand that a scene needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Choice = TypeVar("Choice")

_BLOCK = 4096
_STRIDE = 61  # numbers between two items of a fork; coprime to the block, so that items rarely overlap


class Stream:
    """A repeatable sequence of uniform random numbers."""

    def __init__(self, numbers: list[float], position: int = 0) -> None:
        self._numbers = numbers
        self._position = position

    @classmethod
    def from_seed(cls, seed: int, purpose: int) -> Stream:
        """The stream of `seed` (0 or more) for one `purpose` (any small number, one per use)."""
        generator = np.random.default_rng(np.random.SeedSequence([seed, purpose]))
        return cls(generator.random(_BLOCK).tolist())

    def fork(self, index: int) -> Stream:
        """The stream of item `index`: its numbers do not depend on how many other items have used."""
        return Stream(self._numbers, (index + 1) * _STRIDE % _BLOCK)

    def unit(self) -> float:
        """A number in [0, 1)."""
        self._position = (self._position + 1) % _BLOCK
        return self._numbers[self._position]

    def units(self, count: int) -> list[float]:
        """So many numbers in [0, 1)."""
        start = self._position
        self._position = (start + count) % _BLOCK
        if start + count < _BLOCK:
            return self._numbers[start + 1 : start + 1 + count]
        return [self._numbers[(start + 1 + i) % _BLOCK] for i in range(count)]

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> int:
        """A whole number in [low, high], both ends included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.unit() < probability

    def choice(self, options: Sequence[Choice]) -> Choice:
        """One of the options, all equally likely."""
        return options[int(self.unit() * len(options))]

    def sign(self) -> int:
        """-1 or 1."""
        return -1 if self.unit() < 0.5 else 1
