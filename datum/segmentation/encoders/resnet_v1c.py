"""ResNet-101 v1c, the encoder of DAFormer's and DATUM's experiments with ResNet, from mmseg's registry.

A ResNet whose stem is three 3x3 convolutions (He et al. 2019, ResNet-C), and whose last two stages dilate
their convolutions in place of halving the map: all but the first feature map are at 1/8 of the image's size.
"""

import re
from collections.abc import Mapping

import mmseg.models.backbones.resnet  # noqa: F401  (registers ResNetV1c)
from mmseg.registry import MODELS
from torch import Tensor, nn

CELL = 8
"""Pixels a cell of the deepest map: the multiple that crops are of."""


def channels(name: str) -> tuple[int, int, int, int]:
    """Channels of the four feature maps."""
    return 256, 512, 1024, 2048


def build(name: str, drop_path_rate: float) -> nn.Module:
    """The encoder with PyTorch's random weights: float32[batch, 3, height, width] -> four maps at 1/4, 1/8,
    1/8 and 1/8 of the size (reference: `configs/_base_/models/deeplabv2_r50-d8.py`, depth 101)."""
    return MODELS.build(
        {
            "type": "ResNetV1c",
            "depth": 101,
            "strides": (1, 2, 1, 1),
            "dilations": (1, 1, 2, 4),
            # The first block of a dilated stage still sees the earlier stage's grid: half the dilation.
            "contract_dilation": True,
        }
    )


def in_our_names(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights under mmseg's names, which are OpenMMLab's, also where they come under timm's (`resnet101c`),
    whose stem is `conv1` and the first norm; without the classifier's."""
    state = {key: value for key, value in state.items() if not key.startswith(("fc.", "head."))}
    if layout(state) == "timm":
        state = {re.sub(r"^conv1\.", "stem.", re.sub(r"^bn1\.", "stem.7.", k)): v for k, v in state.items()}
    return state


def layout(state: Mapping[str, Tensor]) -> str:
    """Whose names the weights have: timm's or OpenMMLab's."""
    return "timm" if "conv1.0.weight" in state else "OpenMMLab"
