"""Networks without weights: their names, shapes and what a forward pass takes, at no cost in memory."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Network = TypeVar("Network", bound=nn.Module)


def unweighted(build: Callable[[], Network]) -> Network:
    """The network that `build` makes, with every parameter on the meta device: of any width, it takes no
    memory and no random number."""
    with _Unallocated():
        return build().to("meta")


class _Unallocated(TorchFunctionMode):
    """Places new parameters on the meta device, and leaves what is computed while building (drop rates)
    where it can be read, which `torch.device("meta")` does not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones) and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
