"""Files of PyTorch's own format, read without running what they hold and without more memory than they
take."""

import itertools
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch


def read_torch_file(file: Path, *, mapped: bool = False) -> Any:
    """What `torch.save` wrote to `file`, with tensors on the CPU; `mapped` ones are read when they are looked
    at (but for files of before PyTorch 1.6, which are no archives).

    Raises `ValueError`, in one line, for code, for a file that is truncated or nothing of PyTorch's, and for
    one whose tensors are larger than itself.
    """
    size = file.stat().st_size
    try:
        if archive := zipfile.is_zipfile(file):
            _require_stored(file, size)
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings(action="ignore"):
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped and archive)
        for tensor in tensors_in(content):
            if tensor.numel() * tensor.element_size() > size:
                raise ValueError(f"a tensor of {tuple(tensor.shape)} is larger than the whole file")
    except OSError:
        raise
    except Exception as error:  # unpickling a foreign file raises errors of any kind
        reason = str(error).strip().partition("\n")[0][:200]
        raise ValueError(f"{type(error).__name__} while reading it ({reason})") from error
    return content


def tensors_in(content: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested dicts, lists and tuples; each container is looked into once."""
    seen: set[int] = set()
    remaining: list[Any] = [content]
    while remaining:
        value = remaining.pop()
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            items = value.values() if isinstance(value, Mapping) else value
            remaining.extend(itertools.chain(items))


def _require_stored(file: Path, size: int) -> None:
    """PyTorch stores without compression; a compressed file would unpack to any size."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its archive is compressed, which PyTorch's are not")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("its archive claims more than the file holds")


_SCALAR = np.float64(0).__reduce__()[0]

_HARMLESS: list[Any] = [
    # The name that numpy 1 wrote, and numpy 2's.
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
]
"""What mmcv's checkpoints need to hold numbers of numpy."""
