"""`training.jsonl`: a JSON object a line, each with the step or iteration that its figures are of.

`datum adapt` writes two kinds of lines, both with `iteration` and `seconds` since the training's start. Every
`adaptation.log_every` iterations, of that iteration alone: the loss terms, whose sum is the loss (`source`,
`feature_distance`, `mixed`, `masked`; at two resolutions also those of the detail); `confident_share`, the
share of target pixels whose pseudo-label is confident, which is also what pseudo-labels weigh;
`learning_rate`, the encoder's; `images_per_second`, source and target images of the steps since the line
before, without validation and saving; and `peak_memory` in bytes, as `datum.provenance` has it. After
every validation: `miou`, in percent.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.formats.json_files import read_json_lines
from datum.instruments import CONFIDENT, IMAGES_RATE, LEARNING_RATE, LOSS, PEAK_MEMORY, VALIDATION_MIOU, put
from datum.outputs import replacing

TRAINING_LOG = "training.jsonl"
"""Name of the file in the outputs of `datum personalize` and `datum adapt`."""
LARGEST = 1e15
"""No figure of a training that got anywhere is larger; a sum of a chart's points stays finite."""

_METRICS = {
    "learning_rate": LEARNING_RATE,
    "confident_share": CONFIDENT,
    "images_per_second": IMAGES_RATE,
    "peak_memory": PEAK_MEMORY,
    "miou": VALIDATION_MIOU,
}
_COUNTS = ("step", "iteration", "seconds")
"""Figures that say when; all others but those above are losses."""


class TrainingLog:
    """The log of one training, in memory and on disk; `records` are saved and restored with the training's
    state."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / TRAINING_LOG
        self.records: list[dict[str, Any]] = []

    def restore(self, records: Iterable[dict[str, Any]]) -> None:
        """Goes back to `records`: what was logged after the state was saved will be logged again."""
        self.records = list(records)
        with replacing(self._file) as temporary:
            temporary.write_text("".join(map(_line, self.records)), encoding="utf-8")

    def append(self, record: dict[str, Any]) -> None:
        """Adds a line."""
        self.records.append(record)
        for key, value in record.items():
            if metric := _METRICS.get(key):
                put(metric, value)
            elif key not in _COUNTS:
                put(LOSS, value, key)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(_line(record))


def read_training_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of an adaptation's log; raises `InputError` for one without an iteration, or with other than
    numbers."""
    file = folder / TRAINING_LOG
    lines = read_json_lines(file)
    for number, line in enumerate(lines, start=1):
        iteration = line.get("iteration")
        if type(iteration) is not int or iteration < 0 or not all(map(_is_figure, line.values())):
            raise InputError(
                f"{file}, line {number}: expected an iteration and other numbers; run `datum adapt` again"
            )
    return lines


def find_trainings(folder: Path) -> dict[str, Path]:
    """The outputs of `datum adapt` at or below `folder`, finished or at work, by a name: `folder` itself, the
    trainings of a seed's run, or those of `datum run`, named by their seeds' folders."""
    if (folder / TRAINING_LOG).is_file():
        return {folder.resolve().name: folder}
    found: dict[str, Path] = {}
    for pattern in ("segmentor", "seed-*/segmentor", "*/seed-*/segmentor"):
        for place in sorted([*folder.glob(pattern), *folder.glob(f"{pattern}.partial")]):
            if (place / TRAINING_LOG).is_file():
                name = place.parent.relative_to(folder).as_posix()
                found.setdefault(folder.resolve().name if name == "." else name, place)
    return found


def trainings_so_far(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What each training at or below `folder` has logged, by its name."""
    return {name: logged_so_far(place) for name, place in find_trainings(folder).items()}


def logged_so_far(folder: Path) -> list[dict[str, Any]]:
    """The lines of a training that may be at work: those that are whole, and figures of ours."""
    lines = []
    for text in (folder / TRAINING_LOG).read_text(encoding="utf-8", errors="replace").split("\n"):
        with contextlib.suppress(ValueError, RecursionError):
            line = json.loads(text)
            if isinstance(line, dict) and "iteration" in line and all(map(_is_figure, line.values())):
                lines.append(line)
    return lines


def _is_figure(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= LARGEST


def _line(record: Mapping[str, Any]) -> str:
    # A training that diverges is refused where it does; should one pass, its log still says no such thing.
    return json.dumps(record, allow_nan=False) + "\n"
