"""The segmentation network: an encoder and a decode head, and the file that holds both."""

import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from datum.errors import InputError
from datum.labels import CLASSES
from datum.methods import DECODE_HEADS, ENCODERS, decode_head_of
from datum.outputs import replacing
from datum.segmentation.encoders import build_encoder, encoder_channels
from datum.segmentation.encoders.pretrained import load_pretrained
from datum.segmentation.heads import SCALE_ATTENTIONS, build_head, build_scale_attention
from datum.segmentation.multi_resolution import forward_by_windows
from datum.segmentation.unweighted import unweighted
from datum.values import cast, in_words

METADATA_KEY = "datum_segmentor"
"""Key in the safetensors header whose value is JSON: `config` and `metadata`. One key only, because the
order of several is not reproducible and equal networks make equal files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentorConfig:
    """What it takes to build the network; kept in its file."""

    encoder: str
    """A name of `datum.methods.ENCODERS`."""
    decode_head: str = ""
    """A name of `datum.methods.DECODE_HEADS`; empty takes the encoder's own."""
    head_channels: int = 256
    """Width of the decode head (DAFormer: 256); DLV2's and VFM-UDA's have none to choose."""
    drop_path_rate: float = 0.1
    """Stochastic depth of a MiT encoder while training."""
    dropout: float = 0.1
    """Dropout of the decode head while training."""
    multi_resolution: bool = False
    """Whether it works at two resolutions (HRDA)."""
    detail_crop: int = 512
    """Side of the square, in pixels, that a network of two resolutions sees in detail at a time: half of the
    crop that it was trained on."""
    mask_token: bool = False
    """Whether a DINOv2 encoder has the token that takes the place of hidden patches while training."""

    def __post_init__(self) -> None:
        if not self.decode_head and self.encoder in ENCODERS:
            object.__setattr__(self, "decode_head", decode_head_of(self.encoder))


class Segmentor(nn.Module):
    """An encoder and a decode head for the 19 classes."""

    def __init__(self, config: SegmentorConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder, config.drop_path_rate, mask_token=config.mask_token)
        self.head = build_head(
            config.decode_head,
            in_channels=encoder_channels(config.encoder),
            channels=config.head_channels,
            num_classes=len(CLASSES),
            dropout_ratio=config.dropout,
        )
        if config.multi_resolution:
            self.scale_attention, self.head_stride = build_scale_attention(
                config.decode_head,
                in_channels=encoder_channels(config.encoder),
                channels=config.head_channels,
                num_classes=len(CLASSES),
                dropout_ratio=config.dropout,
            )

    def encode(self, images: Tensor, hidden: Tensor | None = None) -> list[Tensor]:
        """Normalized images float32[batch, 3, height, width] -> four maps: at 1/4, 1/8, 1/16 and 1/32 of the
        size by MiT and ResNet-18, at 1/4 and three at 1/8 by ResNet-101, at 1.1/14 by DINOv2.
        Of a network with a mask token, patches may be `hidden`, bool[batch, rows, columns]."""
        return self.encoder(images) if hidden is None else self.encoder(images, hidden)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Feature maps of `encode` -> logits float32[batch, 19, height, width], of a size between the
        largest map's and four times that."""
        return self.head(features)

    def attend(self, features: list[Tensor]) -> Tensor:
        """Feature maps of `encode` -> logits of the scale attention float32[batch, 19, height/4, width/4],
        which only a network of two resolutions has."""
        return self.scale_attention(features)

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images float32[batch, 3, height, width] -> logits of `decode`, of a network of two
        resolutions by windows."""
        if self.config.multi_resolution:
            return forward_by_windows(self, images, self.config.detail_crop)
        return self.decode(self.encode(images))


def build_segmentor(config: SegmentorConfig, pretrained_encoder: Path | None = None) -> Segmentor:
    """The network with random weights, the encoder's from `pretrained_encoder` where one is given.

    Raises `InputError` for an unknown encoder or decode head, and for an unfit file of weights.
    """
    segmentor = Segmentor(config)
    if pretrained_encoder is not None:
        load_pretrained(segmentor.encoder, config.encoder, pretrained_encoder)
    return segmentor


def save_segmentor(
    file: Path, segmentor: Segmentor, metadata: Mapping[str, Any], *, half: bool = False
) -> None:
    """Writes network, config and `metadata` (JSON values) as safetensors, whole or not at all; `half` stores
    what is float32 in half precision."""
    header = {"config": dataclasses.asdict(segmentor.config), "metadata": dict(metadata)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in segmentor.state_dict().items()}
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    with replacing(file) as temporary:
        safetensors.torch.save_file(tensors, temporary, {METADATA_KEY: json.dumps(header, sort_keys=True)})


def load_segmentor(file: Path) -> Segmentor:
    """The network of a file that `save_segmentor` wrote, on the CPU and in evaluation mode; in float32, also
    where the file holds half precision.

    Raises `InputError` where the file is missing or not such a file, where its config and its tensors do not
    belong together, and for a weight that is not finite. Nothing is built that is larger than the file.
    """
    config = _config_in(file, read_header(file))
    try:
        expected = unweighted(lambda: Segmentor(config)).state_dict()
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise _unusable(file, f"no network can be built from its config ({reason})") from error
    with safetensors.safe_open(file, framework="pt") as opened:
        _require_tensors(file, expected, opened)
        state = {key: opened.get_tensor(key) for key in expected}
    for key, tensor in state.items():
        if not tensor.isfinite().all():
            raise _unusable(file, f"{key} holds values that are not finite")
    segmentor = build_segmentor(config)
    segmentor.load_state_dict(state)
    return segmentor.eval()


def read_header(file: Path) -> dict[str, Any]:
    """`config` and `metadata` of a network's file, both JSON objects. Raises `InputError` as
    `load_segmentor` does for what is no file of ours."""
    if not file.is_file():
        raise InputError(f"{file}: no such file, expected a network written by `datum adapt`")
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            header = json.loads((opened.metadata() or {})[METADATA_KEY])
        if isinstance(header["config"], dict) and isinstance(header["metadata"], dict):
            return header
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError):
        pass
    raise InputError(
        f"{file}: not a segmentation network of ours, expected last.safetensors or best.safetensors from "
        "the output of `datum adapt`"
    )


def _config_in(file: Path, header: Mapping[str, Any]) -> SegmentorConfig:
    found = dict(header["config"])
    kinds = typing.get_type_hints(SegmentorConfig)
    for key, value in found.items():
        if key not in kinds:
            raise _unusable(file, f"its config has an unknown {key!a:.80}")
        try:
            found[key] = cast(value, kinds[key])
        except (TypeError, ValueError, OverflowError):
            raise _unusable(file, f"its config has {key} {value!a:.80}, not {in_words(kinds[key])}") from None
    if "encoder" not in found:
        raise _unusable(file, "its config names no encoder")
    config = SegmentorConfig(**found)
    for key, names in (("encoder", ENCODERS), ("decode_head", DECODE_HEADS)):
        if getattr(config, key) not in names:
            raise _unusable(file, f"its {key} {getattr(config, key)!a:.80} is none of {', '.join(names)}")
    if config.mask_token and ENCODERS[config.encoder] != "dinov2":
        raise _unusable(file, f"its config has a mask_token, which {config.encoder} has not")
    if config.head_channels < 1 or not all(0 <= rate < 1 for rate in (config.drop_path_rate, config.dropout)):
        raise _unusable(file, "its config has a width below 1 or a rate outside of 0 to 1")
    if config.multi_resolution:
        step = 2 * SCALE_ATTENTIONS[config.decode_head][1]
        if config.detail_crop < step or config.detail_crop % step:
            raise _unusable(
                file, f"its config has detail_crop {config.detail_crop}, expected a multiple of {step}"
            )
    return config


def _require_tensors(file: Path, expected: Mapping[str, Tensor], opened: Any) -> None:
    """Raises `InputError` where the opened safetensors file does not hold exactly `expected`."""
    found = set(opened.keys())
    for names, what in ((expected.keys() - found, "lacks"), (found - expected.keys(), "has a foreign")):
        if names:
            raise _unusable(file, f"it {what} tensor {min(names)!a:.80}")
    for key, tensor in expected.items():
        stored = opened.get_slice(key)
        kinds = ("I64",) if tensor.dtype == torch.int64 else ("F32", "F16")
        if list(tensor.shape) != stored.get_shape() or stored.get_dtype() not in kinds:
            what = f"{stored.get_dtype()} {stored.get_shape()}"
            raise _unusable(file, f"{key} is {what}, expected {kinds[0]} {list(tensor.shape)}")


def _unusable(file: Path, problem: str) -> InputError:
    return InputError(
        f"{file}: {problem}; name last.safetensors or best.safetensors as `datum adapt` wrote it"
    )
