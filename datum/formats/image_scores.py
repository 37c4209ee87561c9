"""`image_scores.jsonl` beside `metrics.json`: what was counted of each validation image, a line an image.

    {"image": name, "right": [int] * 19, "labeled": [int] * 19, "predicted": [int] * 19}

Pixels by class in the order of the train ids, void left out: of those labeled and predicted so, of those
labeled, and of those predicted. Summed over images they are the diagonal, the sums of rows and the sums of
columns of the confusion matrix, so IoU and mIoU of any set of the images follow from them.

`thumbnails/<name>.jpg` and `thumbnails/<name>_label.png` (in color) are each image and its label, small: a
report is often made where the data set is not at hand.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datum.errors import InputError
from datum.formats.json_files import read_json_lines
from datum.formats.metrics import METRICS, iou_of_counts, is_count, mean_iou
from datum.labels import CLASS_NAMES, SCORED_CLASSES
from datum.outputs import replacing

IMAGE_SCORES = "image_scores.jsonl"
"""Name of the file; evaluations of earlier releases have none."""
THUMBNAILS = "thumbnails"
"""Name of the folder."""
THUMBNAIL_WIDTH = 448
"""Pixels; of an image that is narrower, its own width."""

_COUNTS = ("right", "labeled", "predicted")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageScore:
    """One line."""

    image: str
    """Name of the image, as its prediction is called."""
    right: Sequence[int]
    labeled: Sequence[int]
    predicted: Sequence[int]

    def iou(self) -> dict[str, float | None]:
        """IoU of each class in percent, None where it is neither labeled nor predicted in the image."""
        return iou_of_counts(self.right, self.labeled, self.predicted)

    def miou(self, classes: str) -> float | None:
        """Mean IoU in percent over those of so many classes (`datum.formats.metrics.MIOU_CLASSES`) that
        occur in the image, as over a whole set; None where none does."""
        return mean_iou(self.iou(), SCORED_CLASSES[classes])


def image_score(image: str, confusion: npt.NDArray[np.int64]) -> ImageScore:
    """The counts of the confusion matrix of one image, int64[19, 19]."""
    return ImageScore(
        image=image,
        right=np.diagonal(confusion).tolist(),
        labeled=confusion.sum(axis=1).tolist(),
        predicted=confusion.sum(axis=0).tolist(),
    )


def write_image_scores(folder: Path, scores: Iterable[ImageScore]) -> None:
    """Writes the lines into `folder`."""
    with replacing(folder / IMAGE_SCORES) as temporary:
        lines = (json.dumps(dataclasses.asdict(score)) + "\n" for score in scores)
        temporary.write_text("".join(lines), encoding="utf-8")


def read_image_scores(folder: Path) -> list[ImageScore]:
    """The lines in `folder`, none where an earlier release wrote the evaluation; raises `InputError` for
    others than ours."""
    file = folder / IMAGE_SCORES
    if not file.is_file():
        return []
    scores = []
    for number, line in enumerate(read_json_lines(file), start=1):
        if not _is_score(line):
            raise InputError(
                f"{file}, line {number}: expected an image and {len(CLASS_NAMES)} counts of pixels each for "
                f"{', '.join(_COUNTS)}; evaluate the checkpoint again"
            )
        scores.append(ImageScore(**line))
    return scores


def require_sums(
    folder: Path, scores: Sequence[ImageScore], confusion_matrix: Sequence[Sequence[int]]
) -> None:
    """Raises `InputError` where `scores`, read from `folder`, do not add up to the confusion matrix beside
    them."""
    confusion = np.array(confusion_matrix, dtype=np.int64)
    expected = {"right": np.diagonal(confusion), "labeled": confusion.sum(1), "predicted": confusion.sum(0)}
    for key, counts in expected.items():
        if np.sum([getattr(score, key) for score in scores], axis=0).tolist() != counts.tolist():
            raise InputError(
                f"{folder / IMAGE_SCORES}: the pixels {key} do not add up to those of the confusion matrix "
                f"in {METRICS} beside it; evaluate the checkpoint again"
            )


def _is_score(line: Mapping[str, Any]) -> bool:
    name = line.get("image")
    if set(line) != {"image", *_COUNTS} or not isinstance(name, str) or "/" in name or "\0" in name:
        return False
    if not all(isinstance(line[key], list) and len(line[key]) == len(CLASS_NAMES) for key in _COUNTS):
        return False
    pixels = [line[key] for key in _COUNTS]
    if not all(is_count(count) for counts in pixels for count in counts):
        return False
    return all(right <= min(labeled, predicted) for right, labeled, predicted in zip(*pixels))
