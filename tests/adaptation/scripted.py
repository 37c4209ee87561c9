"""A random generator that draws what it is told to."""

from collections.abc import Iterable
from typing import Any

import numpy as np


class ScriptedGenerator(np.random.Generator):
    """Returns the given draws of each method in order, and fails when asked for more."""

    def __init__(self, **draws: Iterable[Any]) -> None:
        super().__init__(np.random.PCG64(0))
        self._draws = {method: iter(values) for method, values in draws.items()}

    def choice(self, *_: Any, **__: Any) -> Any:
        return next(self._draws["choice"])

    def integers(self, *_: Any, **__: Any) -> Any:
        return next(self._draws["integers"])

    def permutation(self, *_: Any, **__: Any) -> Any:
        return next(self._draws["permutation"])

    def random(self, *_: Any, **__: Any) -> Any:
        return next(self._draws["random"])

    def uniform(self, *_: Any, **__: Any) -> Any:
        return next(self._draws["uniform"])
