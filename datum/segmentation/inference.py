"""Inference: of the whole image or by a sliding window, at one scale or at several, mirrored or not."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datum.config import EvaluationSettings
from datum.errors import InputError
from datum.labels import CLASSES
from datum.resizing import fitted_size, resize_image
from datum.segmentation.preprocess import to_tensor
from datum.segmentation.segmentor import Segmentor
from datum.segmentation.windows import windows
from datum.telemetry import log

WINDOWS = 4
"""Windows of one image that share a forward pass (HRDA's test has three)."""


Item = TypeVar("Item")


class NotFiniteError(InputError):
    """A network whose logits are not finite: its arg max would be a class all the same."""


def predict_train_ids(
    segmentor: Segmentor,
    images: Sequence[np.ndarray],
    *,
    scale: tuple[int, int],
    output_size: tuple[int, int],
    slide_crop: int | None = None,
    slide_stride: int | None = None,
    ratios: Sequence[float] = (1.0,),
    flip: bool = False,
) -> np.ndarray:
    """Predicted train ids, uint8[batch, *output_size], of images uint8[height, width, 3] of one size.

    Images are resized to fit within `scale` = (width, height); logits go to that size and then to
    `output_size` = (height, width), both bilinearly, before the arg max, as the reference's
    `whole_inference` does. With `slide_crop`, the logits of the resized image are the mean over windows
    (`slide_inference`). With several `ratios` of `scale` or with `flip`, the softmax of each view's logits in
    `output_size` is averaged before the arg max (the reference's `aug_test`, and mmseg's `SegTTAModel`).

    The network runs where its weights are, in the mode that it is in. Where a GPU has no room for a pass, its
    halves go one after the other: equal up to rounding. Raises `NotFiniteError` for logits that are not
    finite.
    """
    sizes = [
        fitted_size(images[0].shape[:2], (int(scale[0] * ratio), int(scale[1] * ratio))) for ratio in ratios
    ]
    views = [(size, mirrored) for size in sizes for mirrored in ((False, True) if flip else (False,))]
    scores: list[Tensor] = []
    with torch.inference_mode():
        for size, mirrored in views:
            logits = _logits(segmentor, images, size, mirrored, slide_crop, slide_stride)
            if len(views) == 1:
                scores = list(logits.split(1))
                break
            # One image at a time: probabilities of all classes in the size of a photograph are large.
            for index, one in enumerate(logits.split(1)):
                probabilities = upsample(one, output_size).softmax(1)
                probabilities = probabilities.flip(3) if mirrored else probabilities
                if len(scores) == index:
                    scores.append(probabilities)
                else:
                    scores[index] += probabilities
        return np.stack([_arg_max(one.div_(len(views)), output_size).cpu().numpy() for one in scores])


def predict_with(
    settings: EvaluationSettings,
    segmentor: Segmentor,
    images: Sequence[np.ndarray],
    output_size: tuple[int, int],
) -> np.ndarray:
    """`predict_train_ids` as the settings say."""
    return predict_train_ids(
        segmentor,
        images,
        scale=settings.scale,
        output_size=output_size,
        slide_crop=settings.slide_crop,
        slide_stride=settings.slide_stride,
        ratios=settings.ratios,
        flip=settings.flip,
    )


def _logits(
    segmentor: Segmentor,
    images: Sequence[np.ndarray],
    size: tuple[int, int],
    mirrored: bool,
    crop: int | None,
    stride: int | None,
) -> Tensor:
    """Logits float32[batch, classes, *size] of images brought to `size` = (height, width), of their mirror
    image where they are `mirrored`."""
    batch = to_tensor([resize_image(image, size) for image in images])
    batch = batch.to(next(segmentor.parameters()).device)
    batch = batch.flip(3) if mirrored else batch
    if crop is None:
        return upsample(_forward(segmentor, batch), size)
    return _slide(segmentor, batch, crop, stride or max(1, crop // 2))


def _slide(segmentor: Segmentor, batch: Tensor, crop: int, stride: int) -> Tensor:
    """Logits float32[batch, classes, height, width] of images of that size: the mean over `windows`."""
    sides = batch.shape[2], batch.shape[3]
    height, width = (min(crop, side) for side in sides)
    boxes = [(..., rows, columns) for rows, columns in windows(sides, crop, stride)]
    total, counts = batch.new_zeros(len(batch), len(CLASSES), *sides), batch.new_zeros(1, 1, *sides)
    for begin in range(0, len(boxes), WINDOWS):
        some = boxes[begin : begin + WINDOWS]
        logits = upsample(_forward(segmentor, torch.cat([batch[box] for box in some])), (height, width))
        for box, window in zip(some, logits.split(len(batch))):
            total[box] += window
            counts[box] += 1
    return total / counts


def _forward(segmentor: Segmentor, batch: Tensor) -> Tensor:
    """The network's logits; where a GPU has no memory for all at once, of one half after the other."""
    try:
        logits = segmentor(batch)
        if not torch.isfinite(logits).all():
            raise NotFiniteError(
                "the network's output is not finite (NaN or infinite); its weights are damaged or its "
                "training diverged: train it again, with a lower learning rate"
            )
        return logits
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    # Outside of the handler, whose exception holds on to the memory of the failed pass.
    torch.cuda.empty_cache()
    half = len(batch) // 2
    log(f"evaluation: the GPU has no memory for {len(batch)} images at once, goes on with {half}")
    return torch.cat([_forward(segmentor, part) for part in (batch[:half], batch[half:])])


def _arg_max(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """The class, uint8[*size], of the highest of float32[1, classes, height, width] brought to `size`.

    One class after the other: the same comparisons as an arg max over all at once, in an eighth of the
    memory and less than half of the time, so that a photograph of any size has room.
    """
    best = upsample(scores[:, :1], size).clone()
    found = torch.zeros_like(best, dtype=torch.uint8)
    for train_id in range(1, scores.shape[1]):
        score = upsample(scores[:, train_id : train_id + 1], size)
        found.masked_fill_(score > best, train_id)
        torch.maximum(best, score, out=best)
    return found[0, 0]


def upsample(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits float32[batch, classes, height, width] brought to `size` = (height, width), bilinear without
    aligned corners."""
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return functional.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def batches_of_one_size(
    items: Iterable[Item], size: Callable[[Item], tuple[int, ...]], most: int
) -> Iterator[list[Item]]:
    """Runs of neighbors of one `size`, which can share a pass, at most `most` long."""
    for _, neighbors in itertools.groupby(items, key=size):
        while batch := list(itertools.islice(neighbors, most)):
            yield batch
