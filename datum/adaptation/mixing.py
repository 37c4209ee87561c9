"""ClassMix and the strong augmentation of mixed images (DACS, as DAFormer uses it).

Source: `mmseg/models/utils/dacs_transforms.py` of DAFormer, with the operations of kornia 0.5.8, the
version that it pins: brightness is added, contrast multiplies, saturation and hue change in HSV space,
and each image draws its own factors and its own order of the four.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datum.device import constant, on_device
from datum.global_batch import own, whole
from datum.segmentation.preprocess import denormalize, normalize

BLUR_SIGMA = (0.15, 1.15)
"""Range of the Gaussian's standard deviation in pixels."""

BLUR_RADIUS = 5
"""Pixels that the blur reaches. The reference's kernel is a tenth of the image; beyond five pixels the
widest Gaussian of `BLUR_SIGMA` holds less than 1e-4 of its mass."""


def class_mix_masks(labels: Tensor, classes: Sequence[int], rng: np.random.Generator) -> Tensor:
    """bool[batch, height, width]: where each image of `labels` int64[batch, height, width] is pasted from the
    source.

    Each image draws half (rounded up) of `classes`, those that occur in the batch, void among them. The paper
    says the classes of the image; the reference code takes those of the batch, and so does this.
    """
    half = (len(classes) + 1) // 2
    pasted = np.zeros((whole(len(labels)), 256), dtype=np.bool_)
    for row in pasted:
        row[np.asarray(classes)[rng.choice(len(classes), half, replace=False)]] = True
    table = on_device(own(pasted), torch.bool, labels.device)
    return table.gather(1, labels.flatten(1)).view_as(labels)


def strong_augmentation(
    images: Tensor,
    rng: np.random.Generator,
    *,
    jitter_strength: float,
    jitter_probability: float,
    blur_probability: float,
    alike: bool = False,
) -> Tensor:
    """Color jitter and Gaussian blur of normalized images float32[batch, 3, height, width].

    Whether to jitter and whether to blur is decided once for the batch, by how much for each image. Images
    that are treated `alike` share the order of the jitter's operations and the blur: the reference hands
    masked images over all at once, mixed ones one by one.
    """
    jitter, blur = rng.random() < jitter_probability, rng.random() < blur_probability
    if jitter:
        colors = (denormalize(images) / 255).clamp(0, 1)
        images = normalize(color_jitter(colors, jitter_strength, rng, alike=alike) * 255)
    if blur:
        batch = whole(len(images))
        sigmas = [rng.uniform(*BLUR_SIGMA) for _ in range(1 if alike else batch)]
        images = gaussian_blur(images, own(np.resize(sigmas, batch)))
    return images


def color_jitter(images: Tensor, strength: float, rng: np.random.Generator, *, alike: bool = False) -> Tensor:
    """float32[batch, 3, height, width] in 0 to 1 with brightness, contrast, saturation and hue changed at
    random, each within ± `strength` (hue: of a full turn), in random order, one for all where they are
    treated `alike`.

    Each image has its own draws, and all go through the same operations at once: up to two that are linear,
    one in HSV space, and the same again. Those that an image does not draw there change nothing in it.
    """
    batch = whole(len(images))
    linear = np.tile([1.0, 0.0], (batch, 3, 2, 1))
    hsv = np.tile([1.0, 0.0], (batch, 2, 1))
    used = np.zeros((3, 2), dtype=np.bool_)
    order: list[int] = []
    for image in range(batch):
        brightness, contrast, saturation, hue = rng.uniform(-strength, strength, size=4)
        group = place = 0
        order = order if alike and order else rng.permutation(4).tolist()
        for operation in order:
            if operation < 2:
                linear[image, group, place] = (1.0, brightness) if operation == 0 else (1 + contrast, 0.0)
                used[group, place] = True
                place += 1
            else:
                hsv[image, group] = (1 + saturation, 0.0) if operation == 2 else (1.0, hue)
                group, place = group + 1, 0
    # One transfer for both.
    drawn = np.concatenate([part.reshape(batch, -1) for part in (linear, hsv)], axis=1)
    values = on_device(own(drawn), images.dtype, images.device)[:, :, None, None, None]
    linear_values, hsv_values = values[:, :12].unflatten(1, (3, 2, 2)), values[:, 12:].unflatten(1, (2, 2))
    for group in range(3):
        for place in np.flatnonzero(used[group]).tolist():
            factor, summand = linear_values[:, group, place].unbind(1)
            images = torch.addcmul(summand, images, factor).clamp_(0, 1)
        if group < 2:
            images = shift_hsv(images, *hsv_values[:, group].unbind(1))
    return images


def shift_hsv(images: Tensor, factor: Tensor, turn: Tensor) -> Tensor:
    """float32[batch, 3, height, width] in 0 to 1 with HSV's saturation multiplied by `factor` and kept below
    1, and its hue moved by `turn`, in full turns; both float32[batch, 1, 1, 1].

    A color is its value less its chroma (saturation times value) times how far the hue is from the channel's
    own, from 0 to 1; hues are counted in sixths of a turn, red, green and blue being 0, 2 and 4.
    """
    value, largest = images.max(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    following = (images.roll(-1, 1) - images.roll(-2, 1)).gather(1, largest)
    hue = following / chroma.clamp(min=torch.finfo(images.dtype).tiny) + 2 * largest
    own = constant((5.0, 3.0, 1.0), images.dtype, images.device)[:, None, None]
    distance = (hue + (own + 6 * turn)).remainder_(6)
    distance = torch.minimum(distance, 4 - distance).clamp_(0, 1)
    return value - torch.minimum(chroma * factor, value) * distance


def gaussian_blur(images: Tensor, sigmas: np.ndarray) -> Tensor:
    """float32[batch, 3, height, width], each blurred with a Gaussian of its own of `sigmas` float64[batch],
    in pixels, mirrored at the borders."""
    offsets = np.arange(-BLUR_RADIUS, BLUR_RADIUS + 1)
    weights = np.exp(-0.5 * (offsets / sigmas[:, None]) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    channels = len(images) * images.shape[1]
    kernels = on_device(weights.repeat(images.shape[1], axis=0), images.dtype, images.device)
    kernel = kernels[:, None, None, :]
    padded = functional.pad(images, (BLUR_RADIUS,) * 4, mode="reflect").flatten(0, 1)[None]
    rows = functional.conv2d(padded, kernel, groups=channels)
    return functional.conv2d(rows, kernel.transpose(2, 3), groups=channels).view_as(images)
