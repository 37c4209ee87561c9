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


CELL = 32
"""Pixels a cell of the deepest map: the multiple that crops are of."""


def channels(name: str) -> tuple[int, int, int, int]:
    """Channels of the four feature maps of encoder `name`."""
    width = RESNETS[name]["base_channels"]
    return width, 2 * width, 4 * width, 8 * width


def build(name: str, drop_path_rate: float) -> nn.Module:
    """Encoder `name` with PyTorch's own random weights: the demo's settings were chosen with them."""
    return MODELS.build({"type": "ResNet", **RESNETS[name]})


def in_our_names(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights under mmseg's names, which are torchvision's, without the classifier's."""
    return {key: value for key, value in state.items() if not key.startswith(("fc.", "head."))}


def layout(state: Mapping[str, Tensor]) -> str:
    """Whose names the weights have: torchvision's and mmseg's are the same."""
    return "torchvision"


def resnet_of(state: Mapping[str, Tensor]) -> str:
    """The ResNet whose weights these are, told by its blocks and its stem, also one that we do not have;
    empty for none."""
    stages = [{key.split(".")[1] for key in state if key.startswith(f"layer{n}.")} for n in (1, 2, 3, 4)]
    bottleneck = "layer1.0.conv3.weight" in state
    name = _BY_BLOCKS.get((bottleneck, tuple(map(len, stages))), "")
    return f"{name} with a stem of one 7x7 convolution" if bottleneck and "conv1.weight" in state else name


_BY_BLOCKS: Mapping[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "a ResNet-18 of another width",
    (False, (3, 4, 6, 3)): "resnet-34",
    (True, (3, 4, 6, 3)): "resnet-50",
    (True, (3, 4, 23, 3)): "resnet-101",
    (True, (3, 8, 36, 3)): "resnet-152",
}
"""(bottleneck blocks, blocks in each of the four stages) -> its name (He et al. 2016, table 1)."""
