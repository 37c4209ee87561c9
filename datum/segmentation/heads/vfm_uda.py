"""VFM-UDA's lightweight decode head (Englert et al. 2024; reference: `vit_lightweight_head.py`)."""

from collections.abc import Sequence

from timm.layers import LayerNorm2d
from torch import Tensor, nn


class VFMUDAHead(nn.Module):
    """Enlarges the last feature map four times by transposed convolutions, and classifies its cells."""

    def __init__(self, in_channels: Sequence[int], channels: int, num_classes: int, dropout_ratio: float):
        super().__init__()
        width = in_channels[-1]
        half, quarter = width // 2, width // 4
        self.upscale = nn.Sequential(
            nn.ConvTranspose2d(width, half, kernel_size=2, stride=2, bias=False),
            LayerNorm2d(half),
            nn.GELU(),
            nn.ConvTranspose2d(half, quarter, kernel_size=2, stride=2, bias=False),
            LayerNorm2d(quarter),
            nn.Conv2d(quarter, quarter, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(quarter),
        )
        self.out = nn.Conv2d(quarter, num_classes, kernel_size=1, bias=False)
        nn.init.normal_(self.out.weight, std=0.1)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Feature maps float32[batch, channels, height, width] -> logits float32[batch, classes, 4 * height,
        4 * width] of the last one's size."""
        return self.out(self.upscale(inputs[-1]))
