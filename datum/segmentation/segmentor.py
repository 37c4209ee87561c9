"""The segmentation network: an encoder and a decode head, and the file that holds both."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from datum.errors import InputError
from datum.labels import CLASSES
from datum.outputs import replacing
from datum.segmentation.encoders import build_encoder, encoder_channels, load_pretrained
from datum.segmentation.heads import build_head

METADATA_KEY = "datum_segmentor"
"""Key in the safetensors header whose value is JSON: `config` and `metadata`. One key only, because the
order of several is not reproducible and equal networks make equal files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentorConfig:
    """What it takes to build the network; kept in its file."""

    encoder: str
    """A name of `datum.methods.ENCODERS`."""
    decode_head: str = "daformer"
    """A name of `datum.methods.DECODE_HEADS`."""
    head_channels: int = 256
    """Width of the decode head (DAFormer: 256)."""
    drop_path_rate: float = 0.1
    """Stochastic depth of a MiT encoder while training."""
    dropout: float = 0.1
    """Dropout of the decode head while training."""


class Segmentor(nn.Module):
    """An encoder and a decode head for the 19 classes."""

    def __init__(self, config: SegmentorConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder, config.drop_path_rate)
        self.head = build_head(
            config.decode_head,
            in_channels=encoder_channels(config.encoder),
            channels=config.head_channels,
            num_classes=len(CLASSES),
            dropout_ratio=config.dropout,
        )

    def encode(self, images: Tensor) -> list[Tensor]:
        """Normalized images float32[batch, 3, height, width] -> maps at 1/4, 1/8, 1/16 and 1/32 of the
        size."""
        return self.encoder(images)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Feature maps of `encode` -> logits float32[batch, 19, height/4, width/4]."""
        return self.head(features)

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images float32[batch, 3, height, width] -> logits float32[batch, 19, height/4,
        width/4]."""
        return self.decode(self.encode(images))


def build_segmentor(config: SegmentorConfig, pretrained_encoder: Path | None = None) -> Segmentor:
    """The network with random weights, the encoder's from `pretrained_encoder` where one is given.

    Raises `InputError` for an unknown encoder or decode head, and for an unfit file of weights.
    """
    segmentor = Segmentor(config)
    if pretrained_encoder is not None:
        load_pretrained(segmentor.encoder, config.encoder, pretrained_encoder)
    return segmentor


def save_segmentor(file: Path, segmentor: Segmentor, metadata: Mapping[str, Any]) -> None:
    """Writes network, config and `metadata` (JSON values) as safetensors, whole or not at all."""
    header = {"config": dataclasses.asdict(segmentor.config), "metadata": dict(metadata)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in segmentor.state_dict().items()}
    with replacing(file) as temporary:
        safetensors.torch.save_file(tensors, temporary, {METADATA_KEY: json.dumps(header, sort_keys=True)})


def load_segmentor(file: Path) -> Segmentor:
    """The network of a file that `save_segmentor` wrote, on the CPU and in evaluation mode.

    Raises `InputError` where the file is missing or not such a file.
    """
    header = read_header(file)
    segmentor = build_segmentor(SegmentorConfig(**header["config"]))
    segmentor.load_state_dict(safetensors.torch.load_file(file))
    return segmentor.eval()


def read_header(file: Path) -> dict[str, Any]:
    """`config` and `metadata` of a network's file. Raises `InputError` as `load_segmentor` does."""
    if not file.is_file():
        raise InputError(f"{file}: no such file, expected a network written by `datum adapt`")
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(METADATA_KEY)
    except (safetensors.SafetensorError, OSError):
        text = None
    if text is None:
        raise InputError(
            f"{file}: not a segmentation network of ours, expected last.safetensors or best.safetensors from "
            "the output of `datum adapt`"
        )
    return json.loads(text)
