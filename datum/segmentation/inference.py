"""Whole-image inference."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datum.errors import InputError
from datum.segmentation.preprocess import fitted_size, resize_image, to_tensor
from datum.segmentation.segmentor import Segmentor
from datum.telemetry import log


class NotFiniteError(InputError):
    """A network whose logits are not finite: its arg max would be a class all the same."""


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
    `whole_inference` does. The network runs where its weights are, in the mode that it is in. Where a GPU has
    no room for the batch, its halves are predicted one after the other: equal up to rounding.

    Raises `NotFiniteError` for logits that are not finite.
    """
    try:
        return _predict(segmentor, images, scale, output_size)
    except torch.OutOfMemoryError:
        if len(images) == 1:
            raise
    # Outside of the handler, whose exception holds on to the memory of the failed pass.
    torch.cuda.empty_cache()
    half = len(images) // 2
    log(f"evaluation: the GPU has no memory for {len(images)} images at once, goes on with {half}")
    parts = (images[:half], images[half:])
    return np.concatenate(
        [predict_train_ids(segmentor, part, scale=scale, output_size=output_size) for part in parts]
    )


def _predict(
    segmentor: Segmentor, images: Sequence[np.ndarray], scale: tuple[int, int], output_size: tuple[int, int]
) -> np.ndarray:
    size = fitted_size(images[0].shape[:2], scale)
    batch = to_tensor([resize_image(image, size) for image in images])
    device = next(segmentor.parameters()).device
    with torch.inference_mode():
        logits = segmentor(batch.to(device))
        if not torch.isfinite(logits).all():
            raise NotFiniteError(
                "the network's output is not finite (NaN or infinite); its weights are damaged or its "
                "training diverged: train it again, with a lower learning rate"
            )
        logits = upsample(logits, size)
        return upsample(logits, output_size).argmax(dim=1).to(torch.uint8).cpu().numpy()


def upsample(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits float32[batch, classes, height, width] brought to `size` = (height, width), bilinear without
    aligned corners."""
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return functional.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
