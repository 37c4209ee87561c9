"""The weak color jitter that VFM-UDA gives images before a network or a mix sees them.

Source: `random_aug_weak` in `training/uda_vit/uda_vit_generic.py` and `supervised_vit_generic.py` of VFM-UDA;
the operations are torchvision's, which is what it calls.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import functional as colors

from datum.global_batch import own, whole
from datum.segmentation.preprocess import denormalize, normalize

PROBABILITY = 0.9
"""That an image is jittered."""

_FACTORS: tuple[tuple[Callable[[Tensor, float], Tensor], float, float], ...] = (
    (colors.adjust_brightness, 1.0, 32 / 255),
    (colors.adjust_contrast, 1.0, 0.5),
    (colors.adjust_saturation, 1.0, 0.5),
    (colors.adjust_hue, 0.0, 18 / 360),
)
"""Each operation, what leaves an image as it is, and how far from that is drawn at most."""


def weak_jitter(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Normalized images float32[batch, 3, height, width] with brightness, contrast, saturation and hue of
    most of them changed, each by its own draws and in its own order."""
    drawn = [_draws(rng) for _ in range(whole(len(images)))]
    places = own(range(len(drawn)))
    return torch.stack([_jittered(image, drawn[place]) for image, place in zip(images, places)])


def _draws(rng: np.random.Generator) -> list[tuple[int, float]]:
    """Operations in their order, with the number that each takes."""
    jittered = rng.random() < PROBABILITY
    numbers = [rng.uniform(neutral - most, neutral + most) for _, neutral, most in _FACTORS]
    order = rng.permutation(len(_FACTORS)).tolist()
    return [(operation, numbers[operation]) for operation in order] if jittered else []


def _jittered(image: Tensor, draws: list[tuple[int, float]]) -> Tensor:
    if not draws:
        return image
    changed = (denormalize(image[None]) / 255).clamp(0, 1)
    for operation, number in draws:
        changed = _FACTORS[operation][0](changed, number)
    return normalize(changed * 255)[0]
