"""Where a network runs, and how numbers get there without a wait.

A GPU works behind the program that feeds it. Whatever makes the program wait until the GPU has caught up
leaves it idle afterwards: reading a value, choosing by a mask, making a tensor of Python's numbers.
"""

import ctypes
import functools
import sys

import numpy as np
import torch
from torch import Tensor


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; `auto` is a GPU where there is one, else the processor."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def keep_freed_memory() -> None:
    """Lets this process keep the memory of tensors that are gone for those that come.

    The GNU C library hands every block of more than some MB back to the system, which fills the next one
    with zeros, page by page: a fifth of a training step on a processor, at 256 pixels. A step makes the same
    sizes as the one before, so that what is kept fits; where sizes vary it would only be more memory.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_FROM_SYSTEM_ALONE, _NEVER)
        library.mallopt(_FREE_AT_THE_END, _NEVER)


_FREE_AT_THE_END, _FROM_SYSTEM_ALONE, _NEVER = -1, -3, 2**30
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of <malloc.h>, and a size, in bytes, that no tensor here has."""


@functools.cache
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """`values` in one dimension, brought to the device the first time alone. Nobody may change it."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def on_device(array: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`array` as a tensor that a GPU fetches when it comes to it."""
    tensor = torch.empty(array.shape, dtype=dtype, pin_memory=device.type == "cuda")
    tensor.numpy()[...] = array
    return tensor.to(device, non_blocking=True)
