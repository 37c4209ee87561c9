"""Parts of a training step as CUDA graphs.

A fast GPU computes kernels in less time than a program takes to start one after the other. A graph holds all
kernels of a part, recorded once, and starts them together. It holds their addresses as well: weights stay
where they are, inputs are copied to where they were at the recording, and results and gradients lie where
the recording put them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from datum.config import AdaptationSettings
from datum.global_batch import process_count

Part = Callable[..., dict[str, Tensor]]
"""A function of tensors, some of which may be None, that computes on the device alone, with nothing that
depends on values or is drawn on the processor; it may give parameters gradients."""

WARM_UP_CALLS = 2
"""Calls before the recording: libraries choose their kernels, and memory that is kept is taken."""


class Recorder:
    """Makes graphs of the parts of a step. They share memory, and so have to run in the order in which each
    is first called."""

    def __init__(
        self, parameters: Sequence[nn.Parameter], settings: AdaptationSettings, device: torch.device
    ) -> None:
        """Where `settings` want none, on a processor, and where several processes share the batches, whose
        exchanges no graph holds, parts stay as they are."""
        wanted = settings.cuda_graphs and device.type == "cuda" and process_count() == 1
        self._pool = torch.cuda.graph_pool_handle() if wanted else None
        self._parameters = parameters

    def recorded(self, part: Part) -> Part:
        """`part`, as a graph from its third call on."""
        return part if self._pool is None else _Recorded(part, self._parameters, self._pool)


class _Recorded:
    """A part and, once it is recorded, its graph."""

    def __init__(self, part: Part, parameters: Sequence[nn.Parameter], pool: Any) -> None:
        self._part, self._parameters, self._pool = part, parameters, pool
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *given: Tensor | None) -> dict[str, Tensor]:
        self._calls += 1
        if self._calls <= WARM_UP_CALLS:
            return self._part(*given)
        if self._graph is None:
            self._graph = self._record(given)
        for kept, new in zip(self._inputs, given, strict=True):
            if kept is not None and new is not None:
                kept.copy_(new)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients):
            parameter.grad = gradient
        # The next replay overwrites what this one has found.
        return {name: tensor.clone() for name, tensor in self._found.items()}

    def _record(self, given: Sequence[Tensor | None]) -> torch.cuda.CUDAGraph:
        """Nothing is computed yet. Loading threads go on with what this one may not do meanwhile."""
        self._inputs = [None if tensor is None else tensor.clone() for tensor in given]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            found = self._part(*self._inputs)
        self._found = {name: tensor.detach() for name, tensor in found.items()}
        self._gradients = [parameter.grad for parameter in self._parameters]
        return graph
