"""`seeds/<seed>/` of a report: what a comparison asks of each seed of the report's own method, beside what
`report.json` says of it.

    seeds/<seed>/image_scores.jsonl   the counts of every image (`datum.formats.image_scores`)
    seeds/<seed>/metrics.json         whose confusion matrix is of their sums
    seeds/<seed>/training.jsonl       the log of its training (`datum.formats.training_log`)

A report of an earlier release has none of it.
"""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datum.formats.image_scores import IMAGE_SCORES, ImageScore, read_image_scores, require_sums
from datum.formats.metrics import METRICS, read_metrics
from datum.formats.run_folder import EVALUATIONS, Run
from datum.formats.training_log import TRAINING_LOG, read_training_log

_SEEDS = "seeds"


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptSeed:
    """What is kept of a seed."""

    images: Sequence[ImageScore]
    """Of the reported checkpoint; empty where the evaluation kept none."""
    training: Sequence[Mapping[str, Any]]
    """Lines of the log; empty where it is not kept."""


def write_seeds(folder: Path, runs: Sequence[Run]) -> None:
    """Keeps in the report in `folder` what is asked of its `runs`."""
    for run in runs:
        kept = folder / _SEEDS / str(run.seed)
        kept.mkdir(parents=True)
        for file in files_of_seed(run.folder):
            if file.is_file():
                shutil.copyfile(file, kept / file.name)


def files_of_seed(run: Path) -> list[Path]:
    """The files of the folder of a run that are kept, where it has them."""
    evaluation = run / EVALUATIONS["best"]
    return [evaluation / IMAGE_SCORES, evaluation / METRICS, run / "segmentor" / TRAINING_LOG]


def read_seed(report: Path, seed: int) -> KeptSeed:
    """What the report keeps of `seed`; raises `InputError` where it is damaged."""
    folder = report / _SEEDS / str(seed)
    return _read(folder, folder)


def read_seed_of_run(run: Path) -> KeptSeed:
    """The same of the folder of a run."""
    return _read(run / EVALUATIONS["best"], run / "segmentor")


def _read(evaluation: Path, training: Path) -> KeptSeed:
    images = read_image_scores(evaluation)
    if images:
        require_sums(evaluation, images, read_metrics(evaluation)["confusion_matrix"])
    logged = (training / TRAINING_LOG).is_file()
    return KeptSeed(images=images, training=read_training_log(training) if logged else [])
