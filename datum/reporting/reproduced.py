"""A method's score beside the published figure of its experiment."""

from collections.abc import Mapping
from typing import Any

from datum.experiments import BAND, EXPERIMENTS
from datum.formats.run_folder import Run

COLLAPSING = ("train", "truck", "bus")
"""Classes that single seeds of DAFormer, HRDA and MIC lose, which decides most of what reproductions differ
in."""


def beside_published(run: Run, method: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the report says of the published figure, in percent; None where the runs, of which `run` is one,
    are no experiment or none with a figure. `method` is their summary.

    The references test the last checkpoint, so its mean is compared, where it was evaluated.
    """
    experiment = EXPERIMENTS.get(run.experiment)
    if experiment is None or experiment.published is None:
        return None
    checkpoint = "last" if method["checkpoints"]["last"] else "best"
    found, published = method["checkpoints"][checkpoint]["mean"], experiment.published
    return {
        "experiment": experiment.name,
        "miou": published.miou,
        "counts_from": round(published.miou - BAND, 2),
        "source": published.source,
        "others_reached": published.reached,
        "found": found,
        "checkpoint": checkpoint,
        "verdict": _verdict(run, found, published.miou),
    }


def _verdict(run: Run, found: float, published: float) -> str:
    """`inside` the band below the published figure, `below` or `above` it, or `not comparable`: of other data
    or sizes."""
    if run.profile != "paper" or run.data:
        return "not comparable"
    if found < published - BAND:
        return "below"
    return "above" if found > published else "inside"
