"""Which seed's checkpoint is published: the one in the middle by mIoU."""

from collections.abc import Mapping, Sequence
from typing import Any

from datum.formats.run_folder import Run
from datum.methods import BENCHMARKS


def median_run(runs: Sequence[Run]) -> Run:
    """The run in the middle by headline mIoU, for an even number the lower of the two in the middle, so that
    it always names a checkpoint that exists; equal ones stand in the order of seeds."""
    classes = headline_classes(runs[0])
    by_score = sorted(runs, key=lambda run: headline_miou(run.scores[run.reported], classes))
    return by_score[(len(by_score) - 1) // 2]


def headline_classes(run: Run) -> str:
    """Classes of the headline mIoU on the run's benchmark (19 on any other than ours)."""
    return BENCHMARKS[run.benchmark].classes if run.benchmark in BENCHMARKS else "19"


def headline_miou(scores: Mapping[str, Any], classes: str) -> float:
    """mIoU over the headline's classes; 0 where none of them occurs."""
    return float(scores["miou"][classes] or 0.0)
