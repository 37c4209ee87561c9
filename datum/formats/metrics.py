"""`metrics.json`: the scores of one checkpoint, as `datum evaluate` writes them.

    {"miou": {"19": x, "16": x, "13": x}, "iou": {"road": x, …}, "pixel_accuracy": x,
     "confusion_matrix": [[int] * 19] * 19, "images": n, "checkpoint_sha256": "…"}

Percentages from 0 to 100, null where no class, or not the class, occurs.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.formats.json_files import read_json
from datum.labels import CLASS_NAMES, SCORED_CLASSES
from datum.outputs import write_json

METRICS = "metrics.json"
"""Name of the file in the output of `datum evaluate`."""
MIOU_CLASSES = tuple(SCORED_CLASSES)
"""Numbers of classes that there is a mean over."""


def write_metrics(folder: Path, scores: Mapping[str, Any]) -> None:
    """Writes `scores` (`datum.segmentation.iou.score`, and what they are of) into `folder`."""
    write_json(folder / METRICS, scores)


def read_metrics(folder: Path) -> dict[str, Any]:
    """The scores in `folder`; raises `InputError` where they are missing or are none."""
    file = folder / METRICS
    scores = read_json(file)
    problem = _problem(scores)
    if problem:
        raise InputError(
            f"{file}: is not a metrics.json of `datum evaluate` ({problem}); evaluate the checkpoint again"
        )
    return scores


def iou_of_counts(
    right: Iterable[int], labeled: Iterable[int], predicted: Iterable[int]
) -> dict[str, float | None]:
    """IoU of each class in percent from its pixels, in the order of the train ids; None for a class that is
    neither labeled nor predicted."""
    return {
        name: 100.0 * hits / (truth + found - hits) if truth + found - hits else None
        for name, hits, truth, found in zip(CLASS_NAMES, right, labeled, predicted)
    }


def mean_iou(iou: Mapping[str, float | None], names: Iterable[str]) -> float | None:
    """Mean in percent over those of the classes `names` that occur; None where none does."""
    occurring = [score for score in (iou[name] for name in names) if score is not None]
    return sum(occurring) / len(occurring) if occurring else None


def times_19_over_16(over_19: float | None) -> float | None:
    """DATUM's rule for the SYNTHIA benchmark: it equals the mean over the 16 classes only while terrain,
    truck and train score 0 (and all 19 classes occur)."""
    return None if over_19 is None else over_19 * 19 / 16


def _problem(scores: Mapping[str, Any]) -> str | None:
    """What is wrong with the scores; None where nothing is."""
    for key, names in (("miou", MIOU_CLASSES), ("iou", CLASS_NAMES)):
        table = scores.get(key)
        if not isinstance(table, dict) or set(table) != set(names):
            return f"{key}: expected a percentage for each of {len(names)} keys, {names[0]} to {names[-1]}"
        for name, value in table.items():
            if not is_score(value):
                return f"{key} of {name}: found {_shown(value)}, expected 0 to 100 or null"
    if not is_score(scores.get("pixel_accuracy")):
        return f"pixel_accuracy: found {_shown(scores.get('pixel_accuracy'))}, expected 0 to 100 or null"
    if not is_count(scores.get("images")) or not scores["images"]:
        return f"images: found {_shown(scores.get('images'))}, expected a whole number from 1"
    digest = scores.get("checkpoint_sha256")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        return f"checkpoint_sha256: found {_shown(digest)}, expected 64 hexadecimal digits"
    rows = scores.get("confusion_matrix")
    sides = len(CLASS_NAMES)
    if not (
        isinstance(rows, list)
        and len(rows) == sides
        and all(isinstance(row, list) and len(row) == sides and all(map(is_count, row)) for row in rows)
    ):
        return f"confusion_matrix: expected {sides} rows of {sides} counts of pixels"
    return None


def is_score(value: Any) -> bool:
    """Whether `value` is a percentage, or None for what does not occur."""
    return value is None or (type(value) in (int, float) and 0 <= value <= 100)


def is_count(value: Any) -> bool:
    """Whether `value` is a number of pixels."""
    # Below 2^53, where sums of counts are exact.
    return type(value) is int and 0 <= value < 1 << 53


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
