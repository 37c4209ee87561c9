"""How far a score would differ if other images of the same kind had been tested: the bootstrap over images.

Images are drawn anew, with replacement, as many as there are; their counts of pixels add up, and IoU and mIoU
are counted from the sums as ever. The same draws serve every seed and every run, so that a difference
between two runs is one between the same images (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
chapters 6 and 13: percentile intervals). What it does not hold is the chance of the seeds.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from datum.formats.image_scores import ImageScore

RESAMPLES = 2000
"""Draws; of an interval of 95 % Efron and Tibshirani ask for 1000 and more."""
_SEED = 0
"""The draws are the same in every comparison of so many images."""
_PERCENTILES = (2.5, 97.5)

Interval = tuple[float, float]
"""Smallest and largest value of the middle 95 %."""


def resampled_iou(images: Sequence[ImageScore]) -> npt.NDArray[np.float64]:
    """IoU in percent of every class in every draw, float64[RESAMPLES, 19], from the counts of the images; nan
    where a class does not occur."""
    # By name, so that a draw means the same images in every run.
    ordered = sorted(images, key=lambda one: one.image)
    right, labeled, predicted = (
        np.array([getattr(one, key) for one in ordered], dtype=np.int64)
        for key in ("right", "labeled", "predicted")
    )
    count = len(ordered)
    times = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    hits, union = times @ right, times @ (labeled + predicted - right)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(union > 0, 100.0 * hits / union, np.nan)


def resampled_miou(iou: npt.NDArray[np.float64], classes: Sequence[int]) -> npt.NDArray[np.float64]:
    """Mean over those of the `classes` (train ids) that occur, float64[RESAMPLES]; 0 where none does."""
    chosen = iou[:, list(classes)]
    occurring = (~np.isnan(chosen)).sum(axis=1)
    return np.nansum(chosen, axis=1) / np.maximum(occurring, 1)


def middle(values: npt.NDArray[np.float64]) -> Interval | None:
    """The interval that holds the middle 95 % of `values`, float64[RESAMPLES]; those that are nan are left
    out. None where all are."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.percentile(known, _PERCENTILES)
    return float(low), float(high)
