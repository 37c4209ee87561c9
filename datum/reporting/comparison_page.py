"""`comparison.html`: a comparison as one self-contained page, in the report's style."""

from collections.abc import Mapping, Sequence
from typing import Any

from datum.methods import benchmark_title
from datum.reporting.charts import DotRow, dot_plot
from datum.reporting.comparison_tables import (
    notes,
    table_of_classes,
    table_of_settings,
    tables_of_figures,
    verdicts,
)
from datum.reporting.sides import ComparedRun
from datum.reporting.styles import class_legend, style_of
from datum.reporting.templates import rendered
from datum.reporting.training_section import overlaid_curves

MOST_PICTURES = 4
"""Validation images that are shown: as many as a report has."""


def render_comparison(compared: Mapping[str, Any], sides: Sequence[ComparedRun]) -> str:
    """The page of `compared` (`datum.reporting.comparison`) and of the `sides` that it is about."""
    classes = compared["headline"]["classes"]
    rows = [
        DotRow(
            name=run["name"],
            values=[seed["miou"][classes] or 0.0 for seed in run["seeds"]],
            style=style_of(position),
        )
        for position, run in enumerate(compared["runs"])
    ]
    trainings = [
        (style_of(position), side.kept[seed["seed"]].training)
        for position, side in enumerate(sides)
        for seed in side.seeds
    ]
    return rendered(
        "comparison.html",
        title=compared["data"] or benchmark_title(compared["benchmark"]),
        compared=compared,
        plot=dot_plot(rows, title="mIoU of each run and seed"),
        verdicts=verdicts(compared),
        notes=notes(compared),
        figures=tables_of_figures(compared),
        classes=table_of_classes(compared),
        settings=table_of_settings(compared),
        pictures=_pictures(sides),
        curves=overlaid_curves(trainings),
        legend=class_legend(),
        style_of=style_of,
    )


def _pictures(sides: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    """The images that at least two runs show, or any where none do, with every prediction that there is."""
    names = list({name: None for side in sides for name in side.pictures})
    common = [name for name in names if sum(name in side.pictures for side in sides) > 1]
    shown = []
    for name in (common or names)[:MOST_PICTURES]:
        having = [(side.name, side.pictures[name]) for side in sides if name in side.pictures]
        first = having[0][1]
        shown.append(
            {
                "name": name,
                "image": first.image,
                "label": first.label,
                "predictions": [(side, picture.prediction) for side, picture in having],
            }
        )
    return shown
