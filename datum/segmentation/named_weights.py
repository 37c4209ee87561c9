"""Weights by name out of files of any origin, and how they differ from what a network needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from datum.errors import InputError
from datum.mistaken_files import mistaken_file
from datum.torch_files import read_torch_file

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Numbers that weights may be stored as; they become float32."""

COUNTER = "num_batches_tracked"
"""Batch norm's counter: older files lack it, and nothing reads it."""


def read_weights(named: str, file: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """(tensors by name, what the file says of itself under `meta`) of a .pth or .safetensors file, out of
    `state_dict` or `model` where the file wraps them so.

    `named` is how messages call the file, which must stay as it is while the tensors are in use: they are
    read when they are looked at. Raises `InputError` where it is missing, unreadable, or holds anything else
    than dense tensors by name; code in it never runs.
    """
    content = _content(named, file)
    meta = content.get("meta") if isinstance(content, Mapping) else None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and wrapper in content:
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{named}: holds {type(content).__name__}, expected weights by name")
    for key, value in content.items():
        if not isinstance(key, str):
            raise InputError(f"{named}: found a name {str(key)[:80]!a}, expected texts")
        if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_quantized:
            raise InputError(f"{named}: {key!a:.80} is {type(value).__name__}, expected a dense tensor")
    return dict(content), meta if isinstance(meta, Mapping) else {}


def _content(named: str, file: Path) -> Any:
    if not file.is_file():
        raise InputError(f"{named}: no such file")
    if what := mistaken_file(file):
        raise InputError(f"{named}: is {what}")
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        # Of a training's file most is the optimizer's, the teacher's and the ImageNet network's.
        return read_torch_file(file, mapped=True)
    except (ValueError, safetensors.SafetensorError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise InputError(
            f"{named}: {reason}; expected weights in a .pth (PyTorch, without pickled code) or .safetensors "
            "file"
        ) from error


def first_difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> str:
    """What keeps the weights `found` from being loaded where `expected`, those of the network `name`, are
    needed; empty where nothing does."""
    needed = [key for key in expected if COUNTER not in key]
    for key in expected:
        if key in found and found[key].shape != expected[key].shape:
            return f"{key} is {tuple(found[key].shape)}, expected {tuple(expected[key].shape)}"
    missing = [key for key in needed if key not in found]
    if missing:
        return f"lacks {len(missing)} of the {len(needed)} tensors of {name}, such as {missing[0]}"
    unexpected = [key for key in found if key not in expected]
    if unexpected:
        return f"holds {len(unexpected)} tensors that {name} has not, such as {unexpected[0]!a:.80}"
    for key in needed:
        if found[key].dtype not in FLOATS:
            return f"{key} is of {str(found[key].dtype).removeprefix('torch.')}, expected float32"
    return ""


def in_float32(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `found` that are `expected`, as float32 but for the counters.

    Raises `ValueError`, which names it, for one with values that are not finite.
    """
    state = {
        key: found[key] if COUNTER in key else found[key].to(torch.float32)
        for key in expected
        if key in found
    }
    for key, tensor in state.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{key} holds values that are not finite")
    return state
