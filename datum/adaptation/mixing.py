"""ClassMix and the strong augmentation of mixed images (DACS, as DAFormer uses it).

Source: `mmseg/models/utils/dacs_transforms.py` of DAFormer, with the operations of kornia 0.5.8, the
version that it pins: brightness is added, contrast multiplies, saturation and hue change in HSV space,
and each image draws its own factors and its own order of the four.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

from datum.segmentation.preprocess import denormalize, normalize

BLUR_SIGMA = (0.15, 1.15)
"""Range of the Gaussian's standard deviation in pixels."""

BLUR_RADIUS = 5
"""Pixels that the blur reaches. The reference's kernel is a tenth of the image; beyond five pixels the
widest Gaussian of `BLUR_SIGMA` holds less than 1e-4 of its mass."""


def class_mix_masks(labels: Tensor, rng: np.random.Generator) -> Tensor:
    """bool[batch, height, width]: where each image of `labels` int64[batch, height, width] is pasted from the
    source.

    Each image draws half (rounded up) of the classes that occur in the batch, void among them. The paper
    says the classes of the image; the reference code takes those of the batch, and so does this.
    """
    classes = torch.unique(labels)
    half = (len(classes) + 1) // 2
    masks = []
    for label in labels:
        chosen = rng.choice(len(classes), half, replace=False)
        masks.append(torch.isin(label, classes[torch.from_numpy(chosen).to(classes.device)]))
    return torch.stack(masks)


def strong_augmentation(
    images: Tensor,
    rng: np.random.Generator,
    *,
    jitter_strength: float,
    jitter_probability: float,
    blur_probability: float,
) -> Tensor:
    """Color jitter and Gaussian blur of normalized images float32[batch, 3, height, width].

    Whether to jitter and whether to blur is decided once for the batch, by how much for each image.
    """
    jitter, blur = rng.random() < jitter_probability, rng.random() < blur_probability
    if jitter:
        colors = (denormalize(images) / 255).clamp(0, 1)
        images = normalize(torch.stack([color_jitter(c, jitter_strength, rng) for c in colors]) * 255)
    if blur:
        images = torch.stack([gaussian_blur(image, rng.uniform(*BLUR_SIGMA)) for image in images])
    return images


def color_jitter(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """float32[3, height, width] in 0 to 1 with brightness, contrast, saturation and hue changed at random,
    each within ± `strength` (hue: of a full turn), in random order."""
    brightness, contrast, saturation, hue = rng.uniform(-strength, strength, size=4)
    for operation in rng.permutation(4):
        match operation:
            case 0:
                image = (image + brightness).clamp(0, 1)
            case 1:
                image = (image * (1 + contrast)).clamp(0, 1)
            case 2:
                image = scale_saturation(image, 1 + saturation)
            case 3:
                image = transforms.adjust_hue(image, hue)
    return image


def scale_saturation(image: Tensor, factor: float) -> Tensor:
    """float32[3, height, width] in 0 to 1 with HSV's saturation multiplied by `factor` and kept below 1.

    Hue and value stay, so every channel keeps its share of the distance to the largest one.
    """
    value, smallest = image.amax(0), image.amin(0)
    largest_factor = value / (value - smallest).clamp(min=torch.finfo(image.dtype).tiny)
    return value - (value - image) * largest_factor.clamp(max=factor)


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """float32[3, height, width] blurred with a Gaussian of `sigma` pixels, mirrored at the borders."""
    offsets = range(-BLUR_RADIUS, BLUR_RADIUS + 1)
    weights = image.new_tensor([math.exp(-0.5 * (offset / sigma) ** 2) for offset in offsets])
    kernel = (weights / weights.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(image[None], (BLUR_RADIUS,) * 4, mode="reflect")
    rows = functional.conv2d(padded, kernel, groups=3)
    return functional.conv2d(rows, kernel.transpose(2, 3), groups=3)[0]
