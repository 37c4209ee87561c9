"""Rare class sampling (DAFormer): rare classes are drawn more often than they occur."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from datum.labels import CLASSES


@dataclasses.dataclass(frozen=True, kw_only=True)
class RareClasses:
    """The classes that can be sampled, by train id, in ascending order."""

    probabilities: np.ndarray
    """Of each class; float64[classes], which sum to 1."""
    candidates: Mapping[int, Sequence[int]]
    """Indices of the images that hold enough of a class."""
    occurring: Sequence[int]
    """Train ids of all classes that occur."""
    passed_over: Sequence[str]
    """Names of the classes that occur, and of which no image holds enough."""

    @property
    def classes(self) -> list[int]:
        return list(self.candidates)

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """(train id, index of an image that holds enough of it)."""
        classes = self.classes
        train_id = classes[rng.choice(len(classes), p=self.probabilities)]
        images = self.candidates[train_id]
        return train_id, images[int(rng.integers(len(images)))]


def rare_classes(pixels: Sequence[Mapping[int, int]], least: float, temperature: float) -> RareClasses:
    """What can be sampled of images with these `pixels` of each class, by train id; an image is a candidate
    for a class with more than `least` pixels of it."""
    totals = class_totals(pixels)
    found = {
        train_id: [i for i, counts in enumerate(pixels) if counts.get(train_id, 0) > least]
        for train_id in totals
    }
    # A class that no image holds enough of cannot be sampled; the others share its probability.
    candidates = {train_id: images for train_id, images in found.items() if images}
    of_all = class_probabilities(totals, temperature) if candidates else {}
    probabilities = np.array([of_all[train_id] for train_id in candidates])
    return RareClasses(
        probabilities=probabilities / probabilities.sum() if candidates else probabilities,
        candidates=candidates,
        occurring=list(totals),
        passed_over=[c.name for c in CLASSES if c.train_id in found.keys() - candidates.keys()],
    )


def class_totals(pixels: Sequence[Mapping[int, int]]) -> dict[int, int]:
    """Pixels of each class in all images together, classes that never occur left out."""
    totals = {c.train_id: sum(counts.get(c.train_id, 0) for counts in pixels) for c in CLASSES}
    return {train_id: total for train_id, total in totals.items() if total > 0}


def class_probabilities(totals: Mapping[int, int], temperature: float) -> dict[int, float]:
    """Probability of sampling each class: softmax((1 - frequency) / temperature) over the classes in
    `totals`, pixels of each class in the whole data set (DAFormer, equations 7 and 8)."""
    pixels = np.array(list(totals.values()), dtype=np.float64)
    logits = (1 - pixels / pixels.sum()) / temperature
    weights = np.exp(logits - logits.max())
    return dict(zip(totals, weights / weights.sum()))
