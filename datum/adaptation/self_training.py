"""Self-training with a mean teacher on mixed images (DACS, as DAFormer uses it)."""

import copy
import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import torch
from mmcv.cnn.bricks.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

from datum.adaptation.mixing import class_mix_masks, strong_augmentation
from datum.adaptation.sampling import Batch
from datum.config import AdaptationSettings
from datum.global_batch import largest, mean
from datum.labels import IGNORE
from datum.segmentation.inference import upsample
from datum.segmentation.segmentor import Segmentor

REFERENCE_CROP = 512
"""Side of the crop, in pixels, that settings measured in pixels are given for."""


class Teacher:
    """The exponential moving average of the student's weights."""

    def __init__(self, student: Segmentor) -> None:
        self.segmentor: Segmentor = copy.deepcopy(student).requires_grad_(False).train()
        self._weights: list[Tensor] = list(self.segmentor.parameters())
        for module in self.segmentor.modules():
            # As in the reference, its batch norm works with the statistics of the batch at hand.
            if isinstance(module, (nn.Dropout, nn.Dropout2d, DropPath)):
                module.eval()

    @torch.no_grad()
    def update(self, student: Segmentor, iteration: int, alpha: float) -> None:
        """Moves the weights towards the student's, by 1 - min(1 - 1 / (iteration + 1), alpha)."""
        decay = min(1 - 1 / (iteration + 1), alpha)
        torch._foreach_lerp_(self._weights, list(student.parameters()), weight=1 - decay)

    @torch.inference_mode()
    def predict(self, images: Tensor, *, mirrored: bool = False) -> dict[str, Tensor]:
        """`labels` int64[batch, height, width], the train id of the likeliest class at each pixel of
        normalized images float32[batch, 3, height, width], and its `probability` float32[batch, height,
        width]; by the mean over the images and their mirror images where `mirrored` says so."""
        probabilities = self._probabilities(images)
        if mirrored:
            probabilities = (probabilities + self._probabilities(images.flip(-1)).flip(-1)) / 2
        return dict(zip(("probability", "labels"), probabilities.max(dim=1)))

    def _probabilities(self, images: Tensor) -> Tensor:
        return torch.softmax(upsample(self.segmentor(images), images.shape[2:]).float(), dim=1)


def pseudo_label_weights(
    probability: Tensor,
    *,
    threshold: float,
    ignore_top: int = 0,
    ignore_bottom: int = 0,
    ignored: Tensor | None = None,
) -> Tensor:
    """float32[batch, height, width]: the share of the batch's pixels whose `probability` reaches `threshold`,
    the same at every pixel, but 0 in the first `ignore_top` and the last `ignore_bottom` rows and where
    `ignored` bool[batch, height, width] says so."""
    confident = mean((probability >= threshold).float().mean())
    weights = confident.expand(probability.shape).clone()
    weights[:, :ignore_top].zero_()
    weights[:, weights.shape[1] - ignore_bottom :].zero_()
    return weights if ignored is None else weights.masked_fill_(ignored, 0.0)


def pixel_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, *, over_labeled: bool = False
) -> Tensor:
    """Cross-entropy of logits float32[batch, channels, height, width], brought to the size of `labels`
    int64[batch, height, width]: the sum over labeled pixels, each times its weight, divided by the number of
    all pixels, void included (as DAFormer averages), or without weights by that of those `over_labeled`."""
    upsampled = upsample(logits, labels.shape[1:])
    upsampled = upsampled.to(torch.promote_types(upsampled.dtype, torch.float32))
    if weights is None:
        total = functional.cross_entropy(upsampled, labels, ignore_index=IGNORE, reduction="sum")
        return total / (_labeled_pixels(labels) if over_labeled else labels.numel())
    losses = functional.cross_entropy(upsampled, labels, ignore_index=IGNORE, reduction="none")
    return (losses * weights).mean()


def _labeled_pixels(labels: Tensor) -> Tensor:
    """How many there are, in the mean over all processes; 1 where there are none, and no loss either."""
    return mean((labels != IGNORE).sum().float()).clamp(min=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixed:
    """Half a source image pasted on a target image, its labels, and how much each pixel counts."""

    images: Tensor
    labels: Tensor
    weights: Tensor
    confident_share: Tensor
    """Scalar: share of target pixels with a confident pseudo-label."""
    pseudo_labels: Tensor
    """What the teacher says of the whole target images, int64[batch, height, width]."""
    probability: Tensor
    """How likely it holds that, float32[batch, height, width]."""
    pseudo_weights: Tensor
    """How much each of these pixels counts."""


def mix(
    batch: Batch,
    target: Tensor,
    label: Callable[[Tensor], Mapping[str, Tensor]],
    settings: AdaptationSettings,
    rng: np.random.Generator,
) -> Mixed:
    """The mixed images of one step: pseudo-labels of the batch's target images, ClassMix with `target`, which
    are the same or jittered, and strong augmentation. `label` is `Teacher.predict`, or does the same."""
    assert batch.target is not None
    found = label(batch.target)
    probability, pseudo_labels = found["probability"], found["labels"]
    scale = settings.crop / (REFERENCE_CROP * settings.resolution_factor)
    of_image = settings.pseudo_margins_of == "image"
    pseudo_weights = pseudo_label_weights(
        probability,
        threshold=settings.pseudo_threshold,
        ignore_top=0 if of_image else round(settings.pseudo_ignore_top * scale),
        ignore_bottom=0 if of_image else round(settings.pseudo_ignore_bottom * scale),
        ignored=batch.ignored,
    )
    masks = class_mix_masks(batch.labels, batch.classes, rng)
    images = torch.where(masks[:, None], batch.source, target)
    return Mixed(
        images=augment(images, settings, rng),
        labels=torch.where(masks, batch.labels, pseudo_labels),
        weights=pseudo_weights.masked_fill(masks, 1.0),
        confident_share=largest(pseudo_weights.max()),
        pseudo_labels=pseudo_labels,
        probability=probability,
        pseudo_weights=pseudo_weights,
    )


def augment(
    images: Tensor, settings: AdaptationSettings, rng: np.random.Generator, *, alike: bool = False
) -> Tensor:
    """Strong augmentation of normalized images, by the settings; see `strong_augmentation`."""
    return strong_augmentation(
        images,
        rng,
        jitter_strength=settings.color_jitter_strength,
        jitter_probability=settings.color_jitter_probability,
        blur_probability=settings.blur_probability,
        alike=alike,
    )
