"""DeepLabV2's decode head as methods of domain adaptation use it (reference: `dlv2_head.py`)."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

DILATIONS = (6, 12)
"""DeepLabV2 has 6, 12, 18 and 24; AdaptSegNet returns after two, and all compare with it (reference:
`configs/_base_/models/deeplabv2red_r50-d8.py`)."""


class DLV2Head(nn.Module):
    """The sum of dilated 3x3 convolutions that classify the last feature map: no norm, no dropout."""

    def __init__(self, in_channels: Sequence[int], channels: int, num_classes: int, dropout_ratio: float):
        super().__init__()
        convolutions = [
            nn.Conv2d(in_channels[-1], num_classes, kernel_size=3, padding=dilation, dilation=dilation)
            for dilation in DILATIONS
        ]
        for convolution in convolutions:
            nn.init.normal_(convolution.weight, std=0.01)
            nn.init.zeros_(cast(Tensor, convolution.bias))
        self.classifiers = nn.ModuleList(convolutions)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Feature maps float32[batch, channels, height, width] -> logits float32[batch, classes, height,
        width] of the last one's size."""
        first, second = (convolution(inputs[-1]) for convolution in self.classifiers)
        return first + second
