"""Street images on their way into the network: normalizing."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from datum.device import constant

MEAN = (123.675, 116.28, 103.53)
"""ImageNet's mean of red, green and blue, in 0 to 255 (reference: `img_norm_cfg`)."""

STD = (58.395, 57.12, 57.375)
"""ImageNet's standard deviation of the same."""


def to_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """Images uint8[height, width, 3] of one size -> normalized float32[batch, 3, height, width]."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return normalize(batch.float())


def normalize(images: Tensor) -> Tensor:
    """float32[..., 3, height, width] in 0 to 255 -> ImageNet's normalized range."""
    mean, std = _statistics(images)
    return (images - mean) / std


def denormalize(images: Tensor) -> Tensor:
    """The inverse of `normalize`."""
    mean, std = _statistics(images)
    return images * std + mean


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = (constant(values, images.dtype, images.device) for values in (MEAN, STD))
    return mean[:, None, None], std[:, None, None]
