"""Charts as inline SVG; colors and fonts come from the report's style sheet."""

import dataclasses
import math
from collections.abc import Sequence

from markupsafe import Markup

MAX_POINTS = 160
"""A longer line is averaged to this many points, so that noise does not hide its course."""

SMOOTHED = 20
"""A smoothed line is a running mean over one point in so many."""

WIDTH, HEIGHT = 520, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40
"""Size and margins of a line chart, in SVG units."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart."""

    style: str
    """CSS class."""
    points: Sequence[tuple[float, float]]
    """(x, y) in ascending x."""
    smoothed: bool = False
    """Whether each point is drawn as the mean of itself and its neighbors."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DotRow:
    """One method of a dot plot."""

    name: str
    values: Sequence[float]
    """One a seed, in percent."""
    style: str
    """CSS class."""


def line_chart(lines: Sequence[Line], *, title: str, x_label: str, from_zero: bool = False) -> Markup:
    """Lines over a shared grid; empty where no line has a point."""
    drawn = [
        (line.style, _thinned(_smoothed(line.points) if line.smoothed else line.points))
        for line in lines
        if line.points
    ]
    if not drawn:
        return Markup("")
    xs, ys = ([point[axis] for _, points in drawn for point in points] for axis in (0, 1))
    x_ticks, y_ticks = ticks(0, max(xs), 5), ticks(0 if from_zero else min(ys), max(ys), 5)
    # The horizontal axis ends where the longest line does, not at the tick after it.
    right = max(xs) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / right
        share = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    parts = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            WIDTH, HEIGHT, title
        )
    ]
    for value in y_ticks:
        y = place(0, value)[1]
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                LEFT, WIDTH - RIGHT, y, y
            )
        )
        parts.append(_text(LEFT - 8, y + 4, number(value), "end"))
    for value in (tick for tick in x_ticks if tick <= right):
        parts.append(_text(place(value, y_ticks[0])[0], HEIGHT - BOTTOM + 18, number(value), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label, "middle"))
    for style, points in drawn:
        path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in points)
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(style, path))
        if len(points) <= 24:
            parts += [
                Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(style, *place(*point))
                for point in points
            ]
    return Markup("").join([*parts, Markup("</svg>")])


def dot_plot(rows: Sequence[DotRow], *, title: str) -> Markup:
    """A line per method: a dot per seed, and a bar at the mean, over one scale in percent."""
    values = [value for row in rows for value in row.values]
    scale = ticks(max(0.0, min(values) - 2), min(100.0, max(values) + 2), 5)
    step, left, width = 52, 16, 520
    height = step * len(rows) + 34

    def across(value: float) -> float:
        return left + (width - 2 * left) * (value - scale[0]) / (scale[-1] - scale[0])

    parts = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            width, height, title
        )
    ]
    for value in scale:
        x = across(value)
        parts.append(
            Markup('<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="4" y2="{}"/>').format(x, x, height - 24)
        )
        parts.append(_text(x, height - 8, number(value), "middle"))
    for index, row in enumerate(rows):
        y = step * index + 38
        mean = sum(row.values) / len(row.values)
        parts.append(_text(left, y - 18, row.name, "start", "name"))
        parts.append(_text(width - left, y - 18, f"{mean:.1f}", "end", "name"))
        parts.append(
            Markup('<line class="range {}" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(
                row.style, across(min(row.values)), across(max(row.values)), y, y
            )
        )
        parts.append(
            Markup('<line class="mean {}" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(
                row.style, across(mean), across(mean), y - 9, y + 9
            )
        )
        parts += [
            Markup('<circle class="seed {}" cx="{:.1f}" cy="{}" r="5"/>').format(row.style, across(value), y)
            for value in row.values
        ]
    return Markup("").join([*parts, Markup("</svg>")])


def score_bar(mean: float, low: float, high: float, marks: Sequence[tuple[str, float]]) -> Markup:
    """A bar from 0 to `mean` percent, a thin line from `low` to `high`, and a tick at each of
    `marks`, (CSS class, percent)."""
    parts = [
        Markup('<svg class="bar" viewBox="0 0 100 16" preserveAspectRatio="none" aria-hidden="true">'),
        Markup('<rect class="track" x="0" y="3" width="100" height="10"/>'),
        Markup('<rect class="fill" x="0" y="3" width="{:.2f}" height="10"/>').format(mean),
        Markup('<line class="whisker" x1="{:.2f}" x2="{:.2f}" y1="8" y2="8"/>').format(low, high),
    ]
    parts += [
        Markup('<line class="mark {}" x1="{:.2f}" x2="{:.2f}" y1="0" y2="16"/>').format(style, mark, mark)
        for style, mark in marks
    ]
    return Markup("").join([*parts, Markup("</svg>")])


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers, at least two, from at or below `low` to at or above `high`."""
    span = high - low
    if span <= 1e-9 * max(abs(low), abs(high), 1.0):
        # Nearer to each other than a chart can tell.
        span = max(abs(high), 1.0)
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    digits = 10 - min(0, math.floor(math.log10(step)))
    return [round(index * step, digits) for index in range(first, last + 1)]


def number(value: float) -> str:
    """A tick's number: 40000 as 40k, others without needless zeros."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}"


def _smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Running mean, over fewer points near the ends; few points stay as they are."""
    reach = len(points) // SMOOTHED // 2
    groups = (points[max(0, i - reach) : i + reach + 1] for i in range(len(points)))
    return [(x, sum(y for _, y in group) / len(group)) for (x, _), group in zip(points, groups)]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """`points`, averaged in equal groups where there are more than `MAX_POINTS`."""
    size = math.ceil(len(points) / MAX_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups
    ]


def _text(x: float, y: float, content: str, anchor: str, style: str = "") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, anchor, style, content
    )
