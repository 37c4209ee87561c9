"""What a step of self-training looked like, drawn: the squares of `datum.formats.mix_pictures`."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datum.adaptation.sampling import Batch
from datum.adaptation.self_training import Mixed
from datum.formats.mix_pictures import SIDE
from datum.labels import TRAIN_ID_TO_COLOR
from datum.segmentation.preprocess import denormalize

_UNSURE = (48.0, 176.0)
"""Grays of pseudo-labels below the threshold, by their probability from 0 to 1."""


def is_pictured(iteration: int, iterations: int, pictures: int) -> bool:
    """Whether one of `pictures`, spread evenly over a training of `iterations`, is of this one, counted from
    1; the last one is."""
    return iteration * pictures // iterations > (iteration - 1) * pictures // iterations


def mix_panels(batch: Batch, mixed: Mixed, masked: Tensor | None, threshold: float) -> list[Image.Image]:
    """The squares of the first image of the batch; `masked`, float32[batch, 3, crop, crop], are the
    normalized images that MIC hides parts of. Waits for the device."""
    assert batch.target is not None
    panels = [
        _photograph(batch.source),
        _label(batch.labels),
        _photograph(batch.target),
        _label(mixed.pseudo_labels),
        _confidence(mixed, threshold),
        _photograph(mixed.images),
        _label(mixed.labels),
    ]
    return panels if masked is None else [*panels, _photograph(masked)]


def _photograph(images: Tensor) -> Image.Image:
    pixels = denormalize(images[0].detach().float()).round().clamp(0, 255).to(torch.uint8)
    return _fitted(pixels.permute(1, 2, 0), Image.Resampling.BOX)


def _label(labels: Tensor) -> Image.Image:
    return _fitted(torch.from_numpy(TRAIN_ID_TO_COLOR[labels[0].cpu()]), Image.Resampling.NEAREST)


def _confidence(mixed: Mixed, threshold: float) -> Image.Image:
    """White from the threshold on, the darker the less sure below, black in margins."""
    probability, weights = mixed.probability[0].float(), mixed.pseudo_weights[0]
    darkest, lightest = _UNSURE
    gray = torch.where(probability >= threshold, 255, darkest + (lightest - darkest) * probability)
    # Where nothing is confident yet, all weigh 0 and margins cannot be told.
    gray = gray.masked_fill((weights == 0) & weights.any(), 0)
    return _fitted(gray.to(torch.uint8), Image.Resampling.BOX)


def _fitted(pixels: Tensor, resampling: Image.Resampling) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels.cpu().numpy())).convert("RGB")
    side = min(SIDE, image.width)
    return image.resize((side, side), resampling)
