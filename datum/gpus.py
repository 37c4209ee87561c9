"""What NVML, the library of NVIDIA's driver, says of the GPUs of this machine or pod, without a package."""

import ctypes
import functools
import os
from collections.abc import Iterator
from typing import Any, NamedTuple


class Gpu(NamedTuple):
    """A GPU at this moment."""

    number: str
    """As NVML and nvidia-smi count."""
    busy: float
    """Share of the last moments, up to a second, in which it computed."""
    used: int
    """Bytes of its memory that are in use, by any process."""
    size: int
    """Bytes of its memory."""


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class _Utilization(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint) for name in ("gpu", "memory")]


def gpus() -> Iterator[Gpu]:
    """Those that CUDA_VISIBLE_DEVICES leaves of them, by number; none where there is no driver."""
    library = _library()
    if library is None:
        return
    count = ctypes.c_uint()
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    for index in range(count.value):
        # Other names than numbers (UUIDs) choose nothing here.
        if all(name.isdecimal() for name in visible) and str(index) not in visible:
            continue
        handle, memory, busy = ctypes.c_void_p(), _Memory(), _Utilization()
        if (
            library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
            or library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
            or library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(busy))
        ):
            continue
        yield Gpu(str(index), busy.gpu / 100, memory.used, memory.total)


@functools.cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library
