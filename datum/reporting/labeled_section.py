"""What the report says of labeled drawings: how many were drawn and dropped, how far a network that was
trained on the source agrees with their labels, and some of them beside these."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datum.formats.generated import MANIFEST
from datum.formats.labeled import (
    DROPPED,
    LABELED,
    LabeledImage,
    gate_counts,
    read_dropped,
    read_labeled_manifest,
)
from datum.formats.run_folder import Run
from datum.label_files import read_label
from datum.labels import CLASS_NAMES, TRAIN_ID_TO_COLOR
from datum.reporting.median import median_run
from datum.reporting.pictures import Picture, label_colors, photograph

SHOWN = 12
"""Drawings on the sheet."""
WIDTH = 160
"""Width of a drawing and of its label, in pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabeledPicture:
    """A labeled drawing, small enough for the page."""

    sampled: str
    """Class that its label map was sampled for."""
    prompt: str
    agreement: float | None
    picture: Picture
    label: Picture


def labeled_runs(runs: Sequence[Run], baselines: Mapping[str, Sequence[Run]]) -> list[Run]:
    """The runs of the first method that trained on labeled drawings; none where there is no such method."""
    groups = (list(group) for group in (runs, *baselines.values()))
    return next((group for group in groups if group[0].labels == "source"), [])


def labeled_figures(runs: Sequence[Run]) -> dict[str, Any] | None:
    """What `report.json` says of the labeled drawings of `runs` together (see
    `datum.formats.labeled.gate_counts`); None where there is no run."""
    if not runs:
        return None
    folders = [_folder(run) for run in runs]
    kept = [drawing for folder in folders for drawing in read_labeled_manifest(folder)]
    dropped = [drawing for folder in folders for drawing in read_dropped(folder)]
    return gate_counts(kept, dropped) | {"judged": any(image.agreement is not None for image in kept)}


def labeled_sheet(runs: Sequence[Run]) -> list[LabeledPicture]:
    """Drawings of the median one of `runs`, in the order of the classes: the first that was sampled for each,
    and the second where there is room."""
    return [
        LabeledPicture(
            sampled=CLASS_NAMES[drawing.train_id],
            prompt=drawing.prompt,
            agreement=drawing.agreement,
            picture=photograph(folder / drawing.file, WIDTH),
            label=label_colors(_colors(folder / drawing.label), WIDTH),
        )
        for folder, drawing in _shown(runs)
    ]


def labeled_files(run: Run) -> list[Path]:
    """The files of a run that decide what the page shows of its labeled drawings."""
    if run.labels != "source":
        return []
    lists = [_folder(run) / name for name in (MANIFEST, DROPPED)]
    return lists + [folder / name for folder, drawing in _shown([run]) for name in drawing.files()]


def _shown(runs: Sequence[Run]) -> list[tuple[Path, LabeledImage]]:
    if not runs:
        return []
    folder = _folder(median_run(runs))
    turns: dict[int, int] = {}
    order = []
    for drawing in read_labeled_manifest(folder):
        turns[drawing.train_id] = turn = turns.get(drawing.train_id, -1) + 1
        order.append((turn, drawing.train_id, drawing))
    chosen = sorted(order, key=lambda entry: entry[:2])[:SHOWN]
    return [(folder, drawing) for _, _, drawing in sorted(chosen, key=lambda entry: entry[1::-1])]


def _folder(run: Run) -> Path:
    return run.folder / "generated" / LABELED


def _colors(label: Path) -> np.ndarray:
    """uint8[height, width, 3]."""
    colors: np.ndarray = TRAIN_ID_TO_COLOR[read_label(label)]
    return colors
