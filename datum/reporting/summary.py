"""What `report.json` says: means and deviations over seeds, the median seed, differences to baselines."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from datum.formats.metrics import times_19_over_16
from datum.formats.run_folder import CHECKPOINTS, Run
from datum.labels import CLASS_NAMES
from datum.methods import title_of
from datum.reporting.confusion_section import confusion_figures
from datum.reporting.cost_section import cost_figures
from datum.reporting.drift import drift_sentences
from datum.reporting.image_section import image_figures
from datum.reporting.labeled_section import labeled_figures, labeled_runs
from datum.reporting.median import headline_classes, headline_miou, median_run
from datum.reporting.one_shot_spread import one_shot_spread
from datum.reporting.reproduced import beside_published


def summarize(runs: Sequence[Run], baselines: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """`report.json` of runs in the order of their seeds; percentages from 0 to 100.

    Deviations are sample standard deviations (divided by n - 1; null for one seed). `datum.reporting.median`
    says which seed is the median.
    """
    first = runs[0]
    classes = headline_classes(first)
    labeled = ", labeled drawings" if first.labels == "source" else ""
    method = _method(f"{title_of(first.method, first.target_images)}{labeled}", runs, classes)
    others = [_method(name, group, classes) for name, group in baselines.items()]
    median = median_run(runs)
    return {
        "benchmark": first.benchmark,
        "data": first.data,
        "method": first.method,
        "target_images": first.target_images,
        "experiment": first.experiment,
        "encoder": first.encoder,
        "profile": first.profile,
        "images": first.scores[first.reported]["images"],
        "headline": {"classes": classes, "deviation": "sample standard deviation (n - 1)"},
        "methods": [method, *others],
        "labeled_drawings": labeled_figures(labeled_runs(runs, baselines)),
        "published": beside_published(first, method),
        "differences": [_difference(method, other) for other in others],
        "confusion": confusion_figures(runs),
        "image_scores": image_figures(runs, baselines),
        "cost": cost_figures(runs, baselines, method["name"]),
        "median_checkpoint": {
            "seed": median.seed,
            "file": f"median_checkpoint/{median.checkpoint.name}",
            "sha256": median.scores[median.reported]["checkpoint_sha256"],
            "miou": headline_miou(median.scores[median.reported], classes),
        },
    }


def summary_table(report_json: Mapping[str, Any]) -> str:
    """A small aligned text table of `report.json`: a line per method."""
    rows = [("method", "mean", "± 95 %", "deviation", "median", "seeds")]
    for method in report_json["methods"]:
        seeds = " ".join(f"{seed['seed']}:{seed['miou_headline']:.2f}" for seed in method["seeds"])
        deviation = "-" if method["deviation"] is None else f"{method['deviation']:.2f}"
        # A report that an earlier release wrote has none.
        half = method.get("interval")
        interval = "-" if half is None else f"{half:.2f}"
        median = f"{method['median']:.2f}"
        rows.append((method["name"], f"{method['mean']:.2f}", interval, deviation, median, seeds))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in (1, 2, 3, 4)), row[5]])
        for row in rows
    ]
    classes = report_json["headline"]["classes"]
    heading = f"mIoU over {classes} classes, percent, {report_json['benchmark']}"
    spreads = _spread_lines(report_json["methods"])
    drift = [text for _, text in drift_sentences(report_json.get("drift"))]
    return "\n".join([heading, *lines, *spreads, *_published_line(report_json.get("published")), *drift])


def _spread_lines(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each method whose photographs are repeated."""
    lines = []
    for method in methods:
        # A report that an earlier release wrote has none.
        if spread := method.get("one_shot_spread"):
            between = "-" if spread["between_images"] is None else f"{spread['between_images']:.2f}"
            lines.append(
                f"{method['name']}: deviation {between} between {len(spread['images'])} one-shot images, "
                f"{spread['within_images']:.2f} between repeats of one"
            )
    return lines


def _published_line(published: Mapping[str, Any] | None) -> list[str]:
    if not published:
        return []
    return [
        f"{published['experiment']}: {published['found']:.2f} ({published['checkpoint']} checkpoint), "
        f"published {published['miou']:.1f} ({published['source']}), "
        f"counts from {published['counts_from']:.1f}: {published['verdict']}"
    ]


def _method(name: str, runs: Sequence[Run], classes: str) -> dict[str, Any]:
    seeds = [_seed(run, classes) for run in runs]
    values = [seed["miou_headline"] for seed in seeds]
    median = median_run(runs)
    return {
        "name": name,
        "mean": statistics.fmean(values),
        "deviation": _deviation(values),
        "interval": interval_of_mean(values),
        "median": headline_miou(median.scores[median.reported], classes),
        "median_seed": median.seed,
        "checkpoints": {
            checkpoint: _spread(
                [headline_miou(r.scores[checkpoint], classes) for r in runs if checkpoint in r.scores]
            )
            for checkpoint in CHECKPOINTS
        },
        "miou": {
            k: _spread([run.scores[run.reported]["miou"][k] for run in runs]) for k in ("19", "16", "13")
        },
        "iou": {k: _spread([run.scores[run.reported]["iou"][k] for run in runs]) for k in CLASS_NAMES},
        "one_shot_spread": one_shot_spread(runs, classes),
        "seeds": seeds,
    }


def _seed(run: Run, classes: str) -> dict[str, Any]:
    scores = run.scores[run.reported]
    return {
        "seed": run.seed,
        # A name that is no text is one that no file of ours can hold.
        "folder": run.folder.name.encode("utf-8", errors="replace").decode("utf-8"),
        "checkpoint": run.reported,
        "checkpoint_sha256": scores["checkpoint_sha256"],
        "miou_headline": headline_miou(scores, classes),
        "miou": dict(scores["miou"]),
        "miou_19_times_19_over_16": times_19_over_16(scores["miou"]["19"]),
        "pixel_accuracy": scores["pixel_accuracy"],
        "iou": dict(scores["iou"]),
        "miou_by_checkpoint": {
            name: headline_miou(run.scores[name], classes) if name in run.scores else None
            for name in CHECKPOINTS
        },
        "best_is_last": run.scores.get("best") is run.scores.get("last"),
    }


def _spread(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean, deviation, smallest and largest of the values that there are; None where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {
        "mean": statistics.fmean(known),
        "deviation": _deviation(known),
        "min": min(known),
        "max": max(known),
        "seeds": len(known),
    }


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def interval_of_mean(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % interval of the mean, by Student's t; None for one value."""
    deviation = _deviation(values)
    if deviation is None:
        return None
    return student_t(len(values) - 1) * deviation / math.sqrt(len(values))


def student_t(degrees: int) -> float:
    """The value that Student's t of so many degrees of freedom stays below with a probability of 97.5 %."""
    if degrees <= len(_STUDENT_T):
        return _STUDENT_T[degrees - 1]
    # Cornish and Fisher's expansion around the normal distribution's: right to 0.0002 from here on.
    z = statistics.NormalDist().inv_cdf(0.975)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3


_STUDENT_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""The same of 1 to 10 degrees of freedom."""


def _difference(method: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    ours, theirs = ([seed["miou_headline"] for seed in m["seeds"]] for m in (method, other))
    return {
        "baseline": other["name"],
        "difference": method["mean"] - other["mean"],
        "fewest_seeds": min(len(ours), len(theirs)),
        "intervals_overlap": _overlap(method, other),
        "seeds_overlap": min(ours) <= max(theirs) and min(theirs) <= max(ours),
    }


def _overlap(method: Mapping[str, Any], other: Mapping[str, Any]) -> bool | None:
    """Whether the intervals of two methods overlap; None where one has none."""
    if method["interval"] is None or other["interval"] is None:
        return None
    return abs(method["mean"] - other["mean"]) <= method["interval"] + other["interval"]
