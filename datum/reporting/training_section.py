"""What the page says of the trainings: learning curves, pictures of what was mixed, time and memory."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from datum.formats.mix_pictures import PANELS, find_pictures, read_panels
from datum.formats.run_folder import Run
from datum.reporting.charts import Line, line_chart
from datum.reporting.median import median_run
from datum.reporting.pictures import Picture, pixels
from datum.reporting.styles import baseline_style, style_of
from datum.reporting.templates import template
from datum.telemetry import duration

PANEL_WIDTH = 192
"""Width of a square of a picture, in pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """What a chart shows of the lines of `training.jsonl`."""

    caption: str
    keys: Sequence[str]
    """Keys whose values add up; lines without the first of them have no point."""
    factor: float = 1.0
    smoothed: bool = True

    def points(self, logged: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
        """(iteration, value) of the lines that have one, in ascending order."""
        return sorted(
            (
                float(line["iteration"]),
                self.factor * sum(float(line[key]) for key in self.keys if key in line),
            )
            for line in logged
            if self.keys[0] in line
        )


CURVES = (
    Curve(caption="Loss on labeled source images", keys=("source", "source_detail")),
    Curve(caption="Loss on mixed images", keys=("mixed", "mixed_detail")),
    Curve(caption="Loss on masked target images", keys=("masked", "masked_detail")),
    Curve(caption="Feature distance to the ImageNet encoder", keys=("feature_distance",)),
    Curve(
        caption="Target pixels with a confident pseudo-label, percent", keys=("confident_share",), factor=100
    ),
    Curve(caption="Validation mIoU over 19 classes, percent", keys=("miou",), smoothed=False),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """A chart, a line per seed and one for the median seed of every baseline."""

    chart: Markup
    caption: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownMix:
    """What one step of a training was shown and learned from."""

    method: str
    seed: int
    style: str
    iteration: int
    panels: Sequence[tuple[str, Picture]]
    """What each square shows, and the square."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Took:
    """What the training of one seed took; empty where its log does not say so."""

    method: str
    seed: int
    time: str
    images_per_second: str
    memory: str


def learning_curves(runs: Sequence[Run], baselines: Mapping[str, Sequence[Run]]) -> list[LearningCurve]:
    """Charts of all that at least one of the trainings has logged."""
    styles = [
        (f"baseline {baseline_style(i)}", median_run(group).training)
        for i, group in enumerate(baselines.values())
    ]
    return overlaid_curves(styles + [(style_of(i), run.training) for i, run in enumerate(runs)])


def overlaid_curves(
    trainings: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], lines_are: str = "a line per seed"
) -> list[LearningCurve]:
    """The same of the lines of `training.jsonl` of each training, with the CSS class of its line; `lines_are`
    says in the charts' names what lines there are."""
    charts = []
    for curve in CURVES:
        lines = [
            Line(style=style, points=curve.points(logged), smoothed=curve.smoothed)
            for style, logged in trainings
        ]
        title = f"{curve.caption}, by iteration, {lines_are}"
        chart = line_chart(lines, title=title, x_label="iteration", from_zero=curve.smoothed)
        charts.append(LearningCurve(chart=chart, caption=curve.caption))
    return [curve for curve in charts if curve.chart]


def curves_part(trainings: Mapping[str, Sequence[Mapping[str, Any]]]) -> Markup:
    """The curves of `trainings`, the lines of their logs by name, as part of a page; empty where none has
    logged."""
    styles = {name: style_of(position) for position, name in enumerate(trainings)}
    curves = overlaid_curves(
        [(styles[name], lines) for name, lines in trainings.items()], "a line per training"
    )
    return Markup(template("curves_part.html").render(styles=styles, curves=curves) if curves else "")


def shown_pictures(run: Run, *, median: bool) -> dict[int, Path]:
    """The pictures of mixed images that the page shows of a run, by iteration: the first, one from the middle
    and the last of a `median` run, of others the last."""
    found = list(find_pictures(run.folder / "segmentor").items())
    places = {0, len(found) // 2, len(found) - 1} if median else {len(found) - 1}
    return {iteration: file for place, (iteration, file) in enumerate(found) if place in places}


def shown_mixes(name: str, runs: Sequence[Run], baselines: Mapping[str, Sequence[Run]]) -> list[ShownMix]:
    """Those of every seed of the method `name`, and of the median seed of every baseline.

    Raises `InputError` for a broken picture.
    """
    median = median_run(runs)
    chosen = [(name, run, style_of(i), run is median) for i, run in enumerate(runs)]
    chosen += [
        (other, median_run(group), baseline_style(i), True)
        for i, (other, group) in enumerate(baselines.items())
    ]
    return [
        ShownMix(
            method=method,
            seed=run.seed,
            style=style,
            iteration=iteration,
            panels=[
                (PANELS[panel], pixels(square, PANEL_WIDTH)) for panel, square in read_panels(file).items()
            ],
        )
        for method, run, style, most in chosen
        for iteration, file in shown_pictures(run, median=most).items()
    ]


def what_it_took(name: str, runs: Sequence[Run], baselines: Mapping[str, Sequence[Run]]) -> list[Took]:
    """A row for each seed of the method `name` and of the baselines whose log says any of it."""
    rows = [_took(method, run) for method, group in {name: runs, **baselines}.items() for run in group]
    return [row for row in rows if row.time or row.images_per_second or row.memory]


def _took(method: str, run: Run) -> Took:
    seconds, rates, memory = (
        [line[key] for line in run.training if key in line]
        for key in ("seconds", "images_per_second", "peak_memory")
    )
    return Took(
        method=method,
        seed=run.seed,
        time=duration(max(seconds)) if seconds else "",
        images_per_second=f"{statistics.median(rates):.3g}" if rates else "",
        memory=f"{max(memory) / 1e9:.1f}" if memory else "",
    )
