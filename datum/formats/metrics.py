"""`metrics.json`: the scores of one checkpoint, as `datum evaluate` writes them.

    {"miou": {"19": x, "16": x, "13": x}, "iou": {"road": x, …}, "pixel_accuracy": x,
     "confusion_matrix": [[int] * 19] * 19, "images": n, "checkpoint_sha256": "…"}

Percentages from 0 to 100, null where no class, or not the class, occurs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.formats.json_files import read_json
from datum.labels import CLASS_NAMES
from datum.outputs import write_json

METRICS = "metrics.json"
"""Name of the file in the output of `datum evaluate`."""


def write_metrics(folder: Path, scores: Mapping[str, Any]) -> None:
    """Writes `scores` (`datum.segmentation.iou.score`, and what they are of) into `folder`."""
    write_json(folder / METRICS, scores)


def read_metrics(folder: Path) -> dict[str, Any]:
    """The scores in `folder`; raises `InputError` where they are missing or are none."""
    file = folder / METRICS
    scores = read_json(file)
    complete = (
        {"19", "16", "13"} <= set(scores.get("miou") or ())
        and set(scores.get("iou") or ()) == set(CLASS_NAMES)
        and all(_is_score(value) for value in (*scores["miou"].values(), *scores["iou"].values()))
        and _is_score(scores.get("pixel_accuracy"))
        and isinstance(scores.get("images"), int)
        and isinstance(scores.get("checkpoint_sha256"), str)
    )
    if not complete:
        raise InputError(f"{file}: is not a metrics.json of `datum evaluate`; evaluate the checkpoint again")
    return scores


def times_19_over_16(over_19: float | None) -> float | None:
    """DATUM's rule for the SYNTHIA benchmark: it equals the mean over the 16 classes only while terrain,
    truck and train score 0 (and all 19 classes occur)."""
    return None if over_19 is None else over_19 * 19 / 16


def _is_score(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and 0 <= value <= 100)
