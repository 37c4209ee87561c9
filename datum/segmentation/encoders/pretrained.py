"""ImageNet weights of the encoders: read without running anything, and refused before work starts where they
are of another encoder."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from datum.errors import InputError
from datum.methods import ENCODERS
from datum.outputs import sha256
from datum.segmentation.encoders import build_encoder, family
from datum.segmentation.encoders.resnet import resnet_of
from datum.segmentation.named_weights import first_difference, in_float32, read_weights
from datum.segmentation.pretrained_file import SETTING
from datum.segmentation.unweighted import unweighted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Where an encoder's weights came from."""

    file: Path
    sha256: str
    layout: str
    """Whose names its weights have."""
    loaded: int
    """Tensors of the encoder that the file gave."""
    total: int
    """Tensors of the encoder."""

    def __str__(self) -> str:
        return (
            f"{self.loaded} of {self.total} encoder tensors from {self.file} ({self.layout}'s names), sha256 "
            f"{self.sha256}"
        )


def load_pretrained(encoder: nn.Module, name: str, file: Path) -> Pretrained:
    """Loads published weights into encoder `name`, from a `.pth` or `.safetensors` file in any layout that
    the family's `in_our_names` knows. A classifier's weights and other heads' are passed over.

    Raises `InputError`, which says whose the weights are, where they are not all of this encoder and no
    others, and where the file is missing, unreadable, of other numbers than floats, or holds any that is not
    finite.
    """
    before = file.stat() if file.is_file() else None
    layout, state = _fitting(name, file, _expected(name))
    digest = sha256(file)
    if before is None or (before.st_mtime_ns, before.st_size) != (
        file.stat().st_mtime_ns,
        file.stat().st_size,
    ):
        raise InputError(f"{SETTING} {file}: changed while it was read; start again when it is whole")
    encoder.load_state_dict(state, strict=False)
    return Pretrained(
        file=file, sha256=digest, layout=layout, loaded=len(state), total=len(encoder.state_dict())
    )


def check_pretrained(name: str, file: Path) -> None:
    """Raises `InputError` as `load_pretrained` would, without a network."""
    _fitting(name, file, _expected(name))


def _fitting(name: str, file: Path, expected: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """The layout of the weights in `file`, and them under the names of `expected`, as float32."""
    state = _without_prefix(read_weights(f"{SETTING} {file}", file)[0])
    try:
        renamed = family(name).in_our_names(state)
    except (KeyError, IndexError, RuntimeError) as error:
        raise _unfit(file, f"cannot be read as {name}'s ({type(error).__name__}: {error})", name) from error
    problem = first_difference(renamed, expected, name)
    if problem:
        raise _unfit(file, problem, name, recognized_encoder(state))
    try:
        return family(name).layout(state), in_float32(renamed, expected)
    except ValueError as error:
        raise _unfit(file, str(error), name) from None


def _unfit(file: Path, problem: str, name: str, recognized: str = "") -> InputError:
    whose = f"these are weights of {recognized}; " if recognized else ""
    remedy = f"name a file of ImageNet weights of {name}"
    if recognized in ENCODERS:
        remedy += f", or choose the encoder {recognized}"
    return InputError(f"{SETTING} {file}: {problem}; {whose}{remedy}")


def recognized_encoder(state: Mapping[str, Tensor]) -> str:
    """The encoder whose weights these are, also one that we do not have; empty for none."""
    for name in ENCODERS:
        try:
            if not first_difference(family(name).in_our_names(state), _expected(name), name):
                return name
        except (KeyError, IndexError, RuntimeError):
            continue
    return resnet_of(state)


@functools.cache
def _expected(name: str) -> Mapping[str, Tensor]:
    return unweighted(lambda: build_encoder(name, 0.0)).state_dict()


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    if any(key.startswith("backbone.") for key in state):
        # The rest of a whole network are its heads.
        state = {key.removeprefix("backbone."): v for key, v in state.items() if key.startswith("backbone.")}
    return state
