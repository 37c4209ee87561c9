"""How far scores differ by the photograph, and how far from one repeat on the same photograph to the next."""

import statistics
from collections.abc import Sequence
from typing import Any

from datum.formats.run_folder import Run
from datum.reporting.median import headline_miou


def one_shot_spread(runs: Sequence[Run], classes: str) -> dict[str, Any] | None:
    """The variance components of a one-way layout, photograph x repeat, in points of mIoU over `classes`;
    None where each run has a photograph of its own, and where the method does not look at it.

    Of `k` photographs, the i-th with the scores `x_ij` of its repeats and their mean `m_i`, and `N` runs:

    * between images: `sqrt(sum_i (m_i - mean(m))^2 / (k - 1))`, the sample deviation of the photographs'
      means; null for one photograph;
    * within images: `sqrt(sum_i sum_j (x_ij - m_i)^2 / (N - k))`, the deviation of repeats of one photograph,
      pooled over all.

    The first holds what is left of the second in a mean of repeats: of equally good photographs it is about
    the second over the root of their repeats.
    """
    groups = _by_photograph(runs)
    if len(groups) == len(runs):
        return None
    scores = {
        digest: [headline_miou(run.scores[run.reported], classes) for run in group]
        for digest, group in groups.items()
    }
    means = [statistics.fmean(values) for values in scores.values()]
    around = sum((value - mean) ** 2 for mean, values in zip(means, scores.values()) for value in values)
    return {
        "between_images": statistics.stdev(means) if len(means) > 1 else None,
        "within_images": (around / (len(runs) - len(groups))) ** 0.5,
        "images": [
            {
                "sha256": digest,
                "seeds": [run.seed for run in group],
                "mean": statistics.fmean(scores[digest]),
                "deviation": statistics.stdev(scores[digest]) if len(group) > 1 else None,
            }
            for digest, group in groups.items()
        ],
    }


def _by_photograph(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Digest of each photograph -> its runs, in the order of seeds; every run for itself where one of them
    has none."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.photograph, []).append(run)
    return groups if "" not in groups else {str(run.seed): [run] for run in runs}
