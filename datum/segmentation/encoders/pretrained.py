"""ImageNet weights of the encoders: read without running anything, and refused before work starts where they
are of another encoder."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from datum.errors import InputError
from datum.methods import ENCODERS
from datum.outputs import sha256
from datum.segmentation.encoders import build_encoder, family
from datum.segmentation.encoders.resnet import resnet_of
from datum.segmentation.pretrained_file import SETTING
from datum.segmentation.unweighted import unweighted
from datum.torch_files import read_torch_file

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Numbers that weights may be stored as; they become float32."""

_COUNTER = "num_batches_tracked"
"""Batch norm's counter: older files lack it, and nothing reads it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Where an encoder's weights came from."""

    file: Path
    sha256: str
    loaded: int
    """Tensors of the encoder that the file gave."""
    total: int
    """Tensors of the encoder."""

    def __str__(self) -> str:
        return f"{self.loaded} of {self.total} encoder tensors from {self.file}, sha256 {self.sha256}"


def load_pretrained(encoder: nn.Module, name: str, file: Path) -> Pretrained:
    """Loads ImageNet weights into encoder `name`, from a `.pth` or `.safetensors` file in mmseg's names or in
    those of the family's own files: SegFormer's for MiT, torchvision's for ResNet. A classifier's weights and
    the heads of a whole network are passed over.

    Raises `InputError`, which says whose the weights are, where they are not all of this encoder and no
    others, and where the file is missing, unreadable, of other numbers than floats, or holds any that is not
    finite.
    """
    before = file.stat() if file.is_file() else None
    state = _fitting(name, file, encoder.state_dict())
    digest = sha256(file)
    if before is None or (before.st_mtime_ns, before.st_size) != (
        file.stat().st_mtime_ns,
        file.stat().st_size,
    ):
        raise InputError(f"{SETTING} {file}: changed while it was read; start again when it is whole")
    encoder.load_state_dict(state, strict=False)
    return Pretrained(file=file, sha256=digest, loaded=len(state), total=len(encoder.state_dict()))


def check_pretrained(name: str, file: Path) -> None:
    """Raises `InputError` as `load_pretrained` would, without a network."""
    _fitting(name, file, _expected(name))


def _fitting(name: str, file: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in `file` under the names of `expected`, as float32."""
    state = _read_weights(file)
    try:
        renamed = family(name).in_our_names(state)
    except (KeyError, IndexError, RuntimeError) as error:
        raise _unfit(file, f"cannot be read as {name}'s ({type(error).__name__}: {error})", name) from error
    problem = _first_difference(renamed, expected, name)
    if problem:
        raise _unfit(file, problem, name, _recognized(state))
    state = {
        key: renamed[key].to(torch.float32) for key in expected if key in renamed and _COUNTER not in key
    }
    for key, tensor in state.items():
        if not tensor.isfinite().all():
            raise _unfit(file, f"{key} holds values that are not finite", name)
    return state | {key: renamed[key] for key in expected if key in renamed and _COUNTER in key}


def _first_difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> str:
    """What keeps `found` from being loaded, empty where nothing does."""
    needed = [key for key in expected if _COUNTER not in key]
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


def _unfit(file: Path, problem: str, name: str, recognized: str = "") -> InputError:
    whose = f"these are weights of {recognized}; " if recognized else ""
    remedy = f"name a file of ImageNet weights of {name}"
    if recognized in ENCODERS:
        remedy += f", or choose the encoder {recognized}"
    return InputError(f"{SETTING} {file}: {problem}; {whose}{remedy}")


def _recognized(state: Mapping[str, Tensor]) -> str:
    """The encoder whose weights these are, also one that we do not have; empty for none."""
    for name in ENCODERS:
        try:
            if not _first_difference(family(name).in_our_names(state), _expected(name), name):
                return name
        except (KeyError, IndexError, RuntimeError):
            continue
    return resnet_of(state)


@functools.cache
def _expected(name: str) -> Mapping[str, Tensor]:
    return unweighted(lambda: build_encoder(name, 0.0)).state_dict()


def _read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors by name, without the prefixes of wrappers and whole networks."""
    if not file.is_file():
        raise InputError(f"{SETTING} {file}: no such file")
    try:
        if file.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(file)
        else:
            content = read_torch_file(file)
    except (ValueError, safetensors.SafetensorError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise InputError(
            f"{SETTING} {file}: {reason}; expected weights in a .pth (PyTorch, without pickled code) or "
            ".safetensors file"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and wrapper in content:
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{SETTING} {file}: holds {type(content).__name__}, expected weights by name")
    for key, value in content.items():
        if not isinstance(key, str):
            raise InputError(f"{SETTING} {file}: found a name {str(key)[:80]!a}, expected texts")
        if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_quantized:
            raise InputError(
                f"{SETTING} {file}: {key!a:.80} is {type(value).__name__}, expected a dense tensor"
            )
    return _without_prefix(dict(content))


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    if any(key.startswith("backbone.") for key in state):
        # The rest of a whole network are its heads.
        state = {key.removeprefix("backbone."): v for key, v in state.items() if key.startswith("backbone.")}
    return state
