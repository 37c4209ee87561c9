"""Checkpoints of any origin, opened as one network: ours, and those of DAFormer, HRDA, MIC and DATUM.

A reference's file (mmcv's `.pth`) holds tensors by name and, as text, the configuration that made them. That
text is Python and is never run: the network is told from the names and the shapes of the tensors.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from datum.errors import InputError
from datum.labels import CLASSES
from datum.methods import ENCODERS
from datum.segmentation.encoders import family
from datum.segmentation.encoders.pretrained import recognized_encoder
from datum.segmentation.named_weights import first_difference, in_float32, read_weights
from datum.segmentation.reference_names import below, has_two_resolutions, head_config, head_in_our_names
from datum.segmentation.segmentor import (
    Segmentor,
    SegmentorConfig,
    build_segmentor,
    load_segmentor,
    read_header,
)
from datum.segmentation.unweighted import unweighted
from datum.weight_sources import find_weights

PACKAGED = "streetscenes"
"""Name of the network that is shipped with the package: the demo's, trained on drawn source scenes."""

PACKAGED_FOLDER = Path(__file__).parents[1] / "streetscenes" / "model" / "start"
"""Where that network and its card lie."""

_IN_FOLDERS = ("best.safetensors", "last.safetensors", "latest.pth")
"""Checkpoints that are looked for in a folder, the first that is there: those of `datum adapt` and of a
report's `median_checkpoint/`, and of a reference's training."""

_STUDENT = "model."
"""Prefix of the network that the references evaluate; the teacher is `ema_model.`, the ImageNet one
`imnet_model.`."""

_EXPECTED = "expected a file or folder that `datum adapt` wrote, or a .pth of DAFormer, HRDA, MIC or DATUM"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was opened."""

    file: Path
    """The file itself, also where a folder was named."""
    segmentor: Segmentor
    """On the CPU and in evaluation mode."""
    origin: str
    """Who wrote it, and what it says of its training."""

    def __str__(self) -> str:
        """What it is, in one line."""
        config = self.segmentor.config
        two = " at two resolutions" if config.multi_resolution else ""
        return f"{self.file}: {config.encoder} with the {config.decode_head} head{two}, {self.origin}"


def checkpoint_file(path: Path, named: str = "--checkpoint") -> Path:
    """The file that `path` names: itself, or of a folder the best network, else the last.

    `named` is the option or setting that named it. Raises `InputError` where there is none.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{named} {path}: no such file or folder, {_EXPECTED}")
    for name in _IN_FOLDERS:
        if (path / name).is_file():
            return path / name
    raise InputError(f"{named} {path}: holds none of {', '.join(_IN_FOLDERS)}, {_EXPECTED}")


def named_network(named: str, text: str) -> Path:
    """The file of the network that the option `named` names in `text`, downloaded where it is not on this
    machine. Raises `InputError` where there is none."""
    return checkpoint_file(PACKAGED_FOLDER if text == PACKAGED else find_weights(named, text), named)


def open_checkpoint(path: Path, named: str = "--checkpoint") -> Checkpoint:
    """The network in the file or folder `path`, whoever wrote it; see `checkpoint_file`.

    Raises `InputError` for a file that is missing, truncated or no checkpoint, one with another number of
    classes, and an encoder or a decode head that we do not have.
    """
    file = checkpoint_file(path, named)
    if file.suffix == ".safetensors":
        return Checkpoint(file=file, segmentor=load_segmentor(file), origin=_origin_of_ours(file))
    state, meta = read_weights(f"{named} {file}", file)
    state, whose = _evaluated(state)
    segmentor = _segmentor(f"{named} {file}", state)
    iteration = meta.get("iter")
    when = f", iteration {iteration}" if type(iteration) is int else ""
    return Checkpoint(file=file, segmentor=segmentor, origin=f"{whose}{when}")


def method_tested_as(path: Path, named: str) -> str:
    """The method of `datum.methods` whose settings of evaluation the network in the file or folder `path` is
    tested with: `hrda` for one of two resolutions, else `daformer`. Raises `InputError` as `open_checkpoint`
    does for a file that cannot be read."""
    file = checkpoint_file(path, named)
    if file.suffix == ".safetensors":
        two = read_header(file)["config"].get("multi_resolution") is True
    else:
        state, _ = _evaluated(read_weights(f"{named} {file}", file)[0])
        two = has_two_resolutions(below("decode_head.", state))
    return "hrda" if two else "daformer"


def _origin_of_ours(file: Path) -> str:
    metadata = read_header(file)["metadata"]
    iteration, miou = metadata.get("iteration"), metadata.get("miou")
    when = f", iteration {iteration}" if type(iteration) is int else ""
    score = f", mIoU {miou:.2f} on its validation set" if type(miou) is float else ""
    return f"written by `datum adapt`{when}{score}"


def _evaluated(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """(the network that the references evaluate, what it is) of all that a training's file holds."""
    state = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    student = below(_STUDENT, state)
    return (student, "the student of an mmcv checkpoint") if student else (state, "an mmcv checkpoint")


def _segmentor(named: str, state: Mapping[str, Tensor]) -> Segmentor:
    """The network whose weights, in the references' names, are `state`."""
    encoder, head = below("backbone.", state), below("decode_head.", state)
    config = _config_of(named, encoder, head)
    ours = {key: state[key] for key in state if not key.startswith(("backbone.", "decode_head."))}
    ours |= {f"encoder.{key}": t for key, t in family(config.encoder).in_our_names(encoder).items()}
    ours |= head_in_our_names(config.decode_head, head)
    expected = unweighted(lambda: Segmentor(config)).state_dict()
    if problem := first_difference(ours, expected, f"{config.encoder} with the {config.decode_head} head"):
        raise InputError(f"{named}: {problem}; {_EXPECTED}")
    try:
        ours = in_float32(ours, expected)
    except ValueError as error:
        raise InputError(f"{named}: {error}; name an earlier checkpoint") from None
    segmentor = build_segmentor(config)
    segmentor.load_state_dict(ours, strict=False)
    return segmentor.eval()


def _config_of(named: str, encoder: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> SegmentorConfig:
    """What the network is, told from the names and shapes of its weights."""
    if not encoder or not head:
        lacking = "decode_head.*" if encoder else "backbone.*"
        raise InputError(
            f"{named}: is no whole network, as it holds no {lacking}, {_EXPECTED}; an encoder's weights "
            "alone are for adaptation.pretrained_encoder"
        )
    two = has_two_resolutions(head)
    found = head_config(below("head.", head) if two else head)
    if found is None:
        raise InputError(f"{named}: has a decode head that we do not have ({_such_as(head)}), {_EXPECTED}")
    decode_head, channels, classes = found
    if classes != len(CLASSES):
        raise InputError(
            f"{named}: has {classes} classes, expected Cityscapes' {len(CLASSES)}; name a network that was "
            "trained for them"
        )
    name = recognized_encoder(encoder)
    if name not in ENCODERS:
        raise InputError(
            f"{named}: has an encoder that we do not have ({name or _such_as(encoder)}), {_EXPECTED}"
        )
    width: dict[str, Any] = {"head_channels": channels} if channels else {}
    return SegmentorConfig(encoder=name, decode_head=decode_head, multi_resolution=two, **width)


def _such_as(state: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{key!a:.60}" for key in list(state)[:3])
