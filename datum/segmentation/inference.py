"""Whole-image inference."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datum.segmentation.preprocess import fitted_size, resize_image, to_tensor
from datum.segmentation.segmentor import Segmentor


def predict_train_ids(
    segmentor: Segmentor,
    images: Sequence[np.ndarray],
    *,
    scale: tuple[int, int],
    output_size: tuple[int, int],
) -> np.ndarray:
    """Predicted train ids, uint8[batch, *output_size], of images uint8[height, width, 3] of one size.

    Images are resized to fit within `scale` = (width, height); logits go to that size and then to
    `output_size` = (height, width), both bilinearly, before the arg max, as the reference's
    `whole_inference` does. The network runs where its weights are, in the mode that it is in.
    """
    size = fitted_size(images[0].shape[:2], scale)
    batch = to_tensor([resize_image(image, size) for image in images])
    device = next(segmentor.parameters()).device
    with torch.inference_mode():
        logits = upsample(segmentor(batch.to(device)), size)
        return upsample(logits, output_size).argmax(dim=1).to(torch.uint8).cpu().numpy()


def upsample(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits float32[batch, classes, height, width] brought to `size` = (height, width), bilinear without
    aligned corners."""
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return functional.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
