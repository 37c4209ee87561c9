"""What is fine in an image."""

import torch
from torch import Tensor
from torch.nn import functional

from datum.device import constant

BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)
"""Filter that divides an image into octaves (Burt and Adelson 1983)."""


def finest_octave(images: Tensor) -> Tensor:
    """`images`, float32[batch, channels, height, width], less what a binomial filter leaves of them."""
    row = constant(BINOMIAL, images.dtype, images.device) / sum(BINOMIAL)
    kernel = torch.outer(row, row).expand(images.shape[1], 1, -1, -1)
    padded = functional.pad(images, (2, 2, 2, 2), mode="reflect")
    return images - functional.conv2d(padded, kernel, groups=images.shape[1])
