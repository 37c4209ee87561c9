"""Confusion matrix, IoU and mIoU, defined as cityscapesScripts' pixel-level evaluation defines them.

Void pixels of the ground truth count nowhere. A class that is neither in the ground truth nor predicted
on a counted pixel has no IoU and no part in a mean; a class that is only predicted scores 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datum.formats.metrics import iou_of_counts, mean_iou, times_19_over_16
from datum.labels import CLASS_NAMES, IGNORE, SCORED_CLASSES

CLASS_COUNT = len(CLASS_NAMES)


def confusion_matrix(
    labels: npt.NDArray[np.uint8], predictions: npt.NDArray[np.uint8]
) -> npt.NDArray[np.int64]:
    """Counts pixels by ground truth (rows) and prediction (columns): int64[19, 19].

    `labels` holds train ids 0 to 18 and `IGNORE`, `predictions` train ids 0 to 18 in the same shape; any
    prediction may stand on a void pixel. Confusion matrices of several images add up. Raises `ValueError`
    for other shapes, types or values.
    """
    if labels.shape != predictions.shape:
        raise ValueError(f"labels have shape {labels.shape}, predictions {predictions.shape}")
    if labels.dtype != np.uint8 or predictions.dtype != np.uint8:
        raise ValueError(f"labels are {labels.dtype}, predictions {predictions.dtype}; expected uint8")
    # One count over all 256 x 256 pairs of bytes: no mask, and strange values show in the table.
    pairs = (labels.astype(np.uint16) << 8) | predictions
    counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
    if counts[CLASS_COUNT:IGNORE].any():
        raise ValueError(f"labels hold values other than 0 to {CLASS_COUNT - 1} and {IGNORE}")
    if counts[:CLASS_COUNT, CLASS_COUNT:].any():
        raise ValueError(f"predictions hold values other than 0 to {CLASS_COUNT - 1}")
    return counts[:CLASS_COUNT, :CLASS_COUNT].astype(np.int64)


def iou(confusion: npt.NDArray[np.int64]) -> dict[str, float | None]:
    """IoU of each class in percent, None where the class does not occur (see above)."""
    counts = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return iou_of_counts(*(pixels.tolist() for pixels in counts))


def miou(confusion: npt.NDArray[np.int64], names: Sequence[str] = CLASS_NAMES) -> float | None:
    """Mean IoU in percent over those of the classes `names` that occur; None where none does."""
    return mean_iou(iou(confusion), names)


def score(confusion: npt.NDArray[np.int64]) -> dict[str, Any]:
    """What `metrics.json` says about a confusion matrix; percentages from 0 to 100."""
    means = {number: miou(confusion, names) for number, names in SCORED_CLASSES.items()}
    pixels = int(confusion.sum())
    return {
        "miou": means,
        "miou_19_times_19_over_16": times_19_over_16(means["19"]),
        "iou": iou(confusion),
        "pixel_accuracy": 100.0 * int(np.trace(confusion)) / pixels if pixels else None,
        "confusion_matrix": confusion.tolist(),
    }
