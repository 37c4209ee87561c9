"""Rare class sampling (DAFormer): rare classes are drawn more often than they occur."""

from collections.abc import Mapping

import numpy as np


def class_probabilities(totals: Mapping[int, int], temperature: float) -> dict[int, float]:
    """Probability of sampling each class: softmax((1 - frequency) / temperature) over the classes in
    `totals`, pixels of each class in the whole data set (DAFormer, equations 7 and 8)."""
    pixels = np.array(list(totals.values()), dtype=np.float64)
    logits = (1 - pixels / pixels.sum()) / temperature
    weights = np.exp(logits - logits.max())
    return dict(zip(totals, weights / weights.sum()))
