"""What KFP's own pages show of a report: scalars, a confusion matrix and a text.

The page that compares runs lays these side by side: *Scalar metrics*, *Confusion matrix*, *HTML*, *Markdown*.
"""

from collections.abc import Mapping
from typing import Any


def log_figures(figures: Mapping[str, Any], metrics: Any, confusion: Any) -> None:
    """Logs `report.json` to KFP's artifacts `metrics` (dsl.Metrics; percent) and `confusion`
    (dsl.ClassificationMetrics; percent of each label's pixels, in tenths, 0 where there is none)."""
    ours = figures["methods"][0]
    scalars = {
        "miou": ours["mean"],
        "miou_deviation": ours["deviation"],
        "miou_median": figures["median_checkpoint"]["miou"],
        **{f"miou_{k}": spread and spread["mean"] for k, spread in ours["miou"].items()},
        **{f"iou_{name}": spread and spread["mean"] for name, spread in ours["iou"].items()},
        **{f"miou_above_{d['baseline']}": d["difference"] for d in figures["differences"]},
        "seeds": len(ours["seeds"]),
    }
    for name, value in scalars.items():
        if value is not None:
            metrics.log_metric(name.replace(" ", "_"), value)
    rows = [
        [round(100 * count / max(sum(row), 1), 1) for count in row] for row in figures["confusion"]["counts"]
    ]
    confusion.log_confusion_matrix(figures["confusion"]["classes"], rows)
