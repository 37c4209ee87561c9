"""Street images on their way into the network: resizing, normalizing."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from datum.device import constant

MEAN = (123.675, 116.28, 103.53)
"""ImageNet's mean of red, green and blue, in 0 to 255 (reference: `img_norm_cfg`)."""

STD = (58.395, 57.12, 57.375)
"""ImageNet's standard deviation of the same."""


def fitted_size(size: tuple[int, int], scale: tuple[int, int]) -> tuple[int, int]:
    """(height, width) that an image of `size` = (height, width) gets to fit within `scale`, ratio kept.

    The longer side of `scale` bounds the image's longer side, whichever way they lie (mmcv's rule, which
    the reference uses), and sides are rounded half up.
    """
    factor = min(max(scale) / max(size), min(scale) / min(size))
    return int(size[0] * factor + 0.5), int(size[1] * factor + 0.5)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8[height, width, 3] resized to `size` = (height, width), bilinear."""
    if image.shape[:2] == size:
        return image
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8[height, width] resized to `size` = (height, width), nearest neighbor."""
    if label.shape == size:
        return label
    return cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)


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
