"""Whether a reproduction has drifted: from the earlier runs of the same, from what is published, or by the
loss of a class.

Of earlier runs, the band is `DEVIATIONS` robust deviations around the median of the last `WINDOW`: 1.4826
times the median absolute deviation, which is the standard deviation of normal values, and no less than
`LEAST_DEVIATION` and than what the spread of the seeds makes of a median. A run that is outside has drifted;
so has one that is, together with the run before it, outside of a band narrower by the root of two, which
finds a small and lasting drop. On simulated histories of three seeds that deviate by up to 1.1 points, as
the demo's do, false alarms are below 2 % a run, and a drop of 3 points is found within two runs in 95 % of
them (`tests/reporting/test_drift.py`).
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from datum.experiments import BAND
from datum.formats.history import Reproduction
from datum.reporting.reproduced import COLLAPSING

DEVIATIONS = 3.0
"""Half the width of the band: Shewhart's limits of a control chart."""
LEAST_DEVIATION = BAND / DEVIATIONS
"""Points of mIoU. The band is no narrower than the `BAND` that others' runs of the references fell into: runs
on one machine may be equal to the last bit, and say nothing of the next machine."""
LEAST_RUNS = 6
"""Earlier runs from which there is a band; a deviation of fewer is too rough."""
WINDOW = 20
"""Earlier runs that are looked at, the latest: after some ten on another level the band has moved there."""
NORMAL = 1.4826
"""The standard deviation of normal values over their median absolute deviation."""
COLLAPSED = 0.25
"""A class has collapsed in a seed where it scores less than this share of its usual IoU (our choice):
DAFormer, HRDA and MIC lose train all but whole or not at all."""
USUAL = 20.0
"""Percent of IoU that a class usually has at least, or nothing is said of its loss (our choice)."""

COMPARED = (
    *("benchmark", "data", "images", "classes", "profile"),
    *("title", "method", "target_images", "encoder"),
)
"""What two reproductions of the same have in common, beside the settings that both tell."""


def judge_drift(
    run: Reproduction, history: Sequence[Reproduction], published: Mapping[str, Any] | None, unread: str = ""
) -> dict[str, Any]:
    """What `report.json` says of the drift of `run`: whether it has (`drifted`) and why (`reasons`), the
    number of earlier runs of the same and the band that they make, in percent (null for too few), and why the
    history could not be read (`unread`, else empty).

    The `history` is in the order in which runs ended; `published` is what the report says of the published
    figure.
    """
    earlier = [one for one in history if _is_before(one, run) and is_same(one, run)][-WINDOW:]
    band = band_of(earlier)
    reasons = _outside(run, earlier) if band else []
    if published and published.get("verdict") == "below":
        reasons.append(
            f"the mean mIoU {published['found']:.2f} is below the band of the published "
            f"{published['miou']:.1f}, which begins at {published['counts_from']:.1f}"
        )
    reasons += _collapsed(run, earlier)
    return {
        "drifted": bool(reasons),
        "reasons": reasons,
        "earlier_runs": len(earlier),
        "band": band and list(band),
        "unread": unread,
    }


def drift_sentences(drift: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """(`loss` or nothing, a sentence) for each thing that is to be said of what `judge_drift` found; none
    where the report was made without a history."""
    if not drift:
        return []
    said = [("loss", f"Drifted: {reason}.") for reason in drift["reasons"]]
    if drift["unread"]:
        said.append(("loss", f"The history of earlier runs could not be read: {drift['unread']}."))
    elif not said and drift["band"]:
        low, high = drift["band"]
        said.append(
            ("", f"Inside the band of {drift['earlier_runs']} earlier runs, {low:.2f} to {high:.2f}.")
        )
    elif not said:
        count = drift["earlier_runs"]
        runs = "1 earlier run of the same is" if count == 1 else f"{count} earlier runs of the same are"
        known = f"{runs} known, a band takes {LEAST_RUNS}"
        said.append(("", f"Whether it drifts from earlier runs cannot be told yet: {known}."))
    return said


def band_of(runs: Sequence[Reproduction]) -> tuple[float, float] | None:
    """The band that the next of such `runs` is to fall into, in percent; None for too few."""
    if len(runs) < LEAST_RUNS:
        return None
    values = [run.miou for run in runs]
    middle = statistics.median(values)
    spread = NORMAL * statistics.median(abs(value - middle) for value in values)
    half = DEVIATIONS * max(spread, LEAST_DEVIATION, _deviation_of_median(runs))
    return middle - half, middle + half


def is_same(one: Reproduction, other: Reproduction) -> bool:
    """Whether two reproductions are of the same: what they are about, and all settings that both tell. A
    release may add a setting, which is no reason to begin anew."""
    return all(one.about.get(key) == other.about.get(key) for key in COMPARED) and all(
        one.settings[key] == other.settings[key] for key in one.settings.keys() & other.settings.keys()
    )


def _is_before(one: Reproduction, run: Reproduction) -> bool:
    return one.run != run.run and one.finished <= run.finished


def _deviation_of_median(runs: Sequence[Reproduction]) -> float:
    """What the spread of the seeds in each of the `runs` makes of the median over as many, 0 where each has
    one: of n normal values with the deviation s (here pooled) about s sqrt(pi / (2 n + pi - 2))."""
    groups = [[seed.miou for seed in run.seeds] for run in runs if len(run.seeds) > 1]
    if not groups:
        return 0.0
    degrees = sum(len(values) - 1 for values in groups)
    means = [statistics.fmean(values) for values in groups]
    squares = sum((value - mean) ** 2 for mean, values in zip(means, groups) for value in values)
    seeds = statistics.fmean(map(len, groups))
    return math.sqrt(squares / degrees * math.pi / (2 * seeds + math.pi - 2))


def _outside(run: Reproduction, earlier: Sequence[Reproduction]) -> list[str]:
    """Why the mIoU is outside of what enough `earlier` runs reached; nothing where it is not."""
    low, high = band_of(earlier) or (0.0, 100.0)
    if not low <= run.miou <= high:
        return [
            f"the median mIoU {run.miou:.2f} is outside the band of {len(earlier)} earlier runs, "
            f"{low:.2f} to {high:.2f}"
        ]
    *before, last = earlier
    if band := band_of(before):
        middle, half = sum(band) / 2, (band[1] - band[0]) / 2 / math.sqrt(2)
        both = (run.miou + last.miou) / 2
        if abs(both - middle) > half:
            return [
                f"the median mIoU of this run and the one before, {both:.2f} together, is outside the band "
                f"of {len(before)} earlier ones, {middle - half:.2f} to {middle + half:.2f}"
            ]
    return []


def _collapsed(run: Reproduction, earlier: Sequence[Reproduction]) -> list[str]:
    """The classes that were lost in a seed, beside all other seeds."""
    reasons = []
    for name in COLLAPSING:
        for seed in run.seeds:
            others = [one for other in (*earlier, run) for one in other.seeds if one is not seed]
            scores = [score for one in others if (score := one.iou.get(name)) is not None]
            usual, found = statistics.median(scores) if scores else 0.0, seed.iou.get(name) or 0.0
            if usual >= USUAL and found < COLLAPSED * usual:
                reasons.append(f"{name} collapsed in seed {seed.seed}: {found:.1f}, usually {usual:.1f}")
    return reasons
