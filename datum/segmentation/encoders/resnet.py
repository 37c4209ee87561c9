"""ResNet encoders (He et al. 2016, table 1), from mmseg's registry."""

from collections.abc import Mapping
from typing import Any

import mmseg.models.backbones.resnet  # noqa: F401  (registers ResNet)
from mmseg.registry import MODELS
from torch import Tensor, nn

RESNETS: Mapping[str, Mapping[str, Any]] = {
    # Torchvision's ResNet-18, and the same at half its width: it learns from random weights in minutes.
    "resnet-18": {"depth": 18, "stem_channels": 64, "base_channels": 64},
    "resnet-18-half": {"depth": 18, "stem_channels": 32, "base_channels": 32},
}
"""Depth and widths of each encoder; a stage is twice as wide as the one before it."""


def channels(name: str) -> tuple[int, int, int, int]:
    """Channels of the four feature maps of encoder `name`."""
    width = RESNETS[name]["base_channels"]
    return width, 2 * width, 4 * width, 8 * width


def build(name: str, drop_path_rate: float) -> nn.Module:
    """Encoder `name` with PyTorch's own random weights: the demo's settings were chosen with them."""
    return MODELS.build({"type": "ResNet", **RESNETS[name]})


def in_our_names(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights under mmseg's names, which are torchvision's."""
    return state
