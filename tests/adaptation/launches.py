"""Counts what a training step asks of a GPU, without one: kernels to launch, and waits for their results.

Every operation that PyTorch hands to a device is seen here, in forward and backward passes alike. One that
computes or copies counts as a launch, though a GPU may need a few kernels for it; views and empty tensors are
free. A sync is what makes the program wait until a GPU has caught up, or moves memory that a GPU cannot
fetch by itself.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import datum.adaptation.learner
import datum.adaptation.self_training
from datum.adaptation.sampling import Batch
from datum.adaptation.training import Training
from datum.segmentation.heads.convolutions import DilatedDepthwiseConv2d

_FREE = {
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "lift_fresh"),
    *("_record_function_enter_new", "_record_function_exit"),
}
_WAITING = {
    # A value is read: item(), bool(), if and index with a tensor.
    *("_local_scalar_dense", "is_nonzero", "equal", "allclose"),
    # The shape of the result depends on values.
    *("nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount"),
    # Numbers of Python become a tensor, in memory that is not pinned.
    "lift_fresh",
}
_WAITING_METHODS = ("tolist", "cpu")


class Launches(TorchDispatchMode):
    """While it is active: launches by part of the step, and syncs."""

    def __init__(self) -> None:
        super().__init__()
        self.part = "other"
        self.launches: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()
        self.syncs: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:  # Inference mode hands over what other modes take apart.
                return func._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)
        name = func.overloadpacket.__name__
        masked = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if masked or name in _WAITING:
            self.syncs.append(f"{name} in {self.part}")
        if not func.is_view and name not in _FREE:
            self.launches[self.part] += 1
            self.operations[name] += 1
        return func(*args, **kwargs)

    def within(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose launches are those of `part` but where it calls another part."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            before, self.part = self.part, part
            try:
                return function(*args, **kwargs)
            finally:
                self.part = before

        return counted


class _Methods(TorchFunctionMode):
    """Sees methods that read values of a tensor without an operation where it is on a processor."""

    def __init__(self, launches: Launches) -> None:
        super().__init__()
        self._launches = launches

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _WAITING_METHODS:
            self._launches.syncs.append(f"{func.__name__} in {self._launches.part}")
        return func(*args, **kwargs or {})


def count_step(training: Training, batch: Batch) -> Launches:
    """Launches and syncs of one step of `training`, after one that makes what is made once."""
    training._step(batch)
    launches = Launches()
    with _parts(training, launches), launches, _Methods(launches):
        training._step(batch)
    return launches


def count_between_logs(training: Training, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> Launches:
    """Launches and syncs of two iterations of `training`'s loop, after one that makes what is made once."""
    launches = Launches()

    def given(*_: Any, **__: Any) -> Iterator[Batch]:
        yield batch
        with launches, _Methods(launches):
            yield batch
            yield batch

    monkeypatch.setattr(datum.adaptation.learner, "batches", given)
    training.run(None)  # type: ignore[arg-type]
    return launches


@contextlib.contextmanager
def _parts(training: Training, launches: Launches) -> Iterator[None]:
    teacher, optimizer = training._teacher, training._optimizer
    places: list[tuple[Any, str, str]] = [
        (training, "_source_losses", "source pass"),
        (training, "_mixed_losses", "mixed pass"),
        (training, "_masked_losses", "masked pass"),
        (datum.adaptation.learner, "mix", "mixing"),
        (teacher, "predict", "teacher"),
        (teacher, "update", "moving average"),
        (optimizer, "step", "optimizer"),
    ]
    if training._distance is not None:
        places.append((training, "_distance", "feature distance"))
    with contextlib.ExitStack() as stack:
        # A GPU needs no detour that is for processors alone.
        stack.enter_context(patch.object(DilatedDepthwiseConv2d, "forward", nn.Conv2d.forward))
        for place, name, part in places:
            stack.enter_context(patch.object(place, name, launches.within(part, getattr(place, name))))
        yield
