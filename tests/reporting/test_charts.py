"""Charts: round ticks, and lines that stay inside their frame."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datum.reporting.charts import HEIGHT, MAX_POINTS, WIDTH, Line, line_chart, ticks

values = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


@given(values, values)
@settings(deadline=None, derandomize=True)
def test_ticks_enclose_the_values_in_equal_steps(first: float, second: float) -> None:
    low, high = sorted((first, second))
    found = ticks(low, high, 5)
    assert 2 <= len(found) <= 9
    step = found[1] - found[0]
    assert found[0] <= low + 1e-6 * step
    assert found[-1] >= high - 1e-6 * step
    assert all(abs((b - a) - step) <= 1e-6 * step for a, b in zip(found, found[1:]))


def test_ticks_are_round() -> None:
    assert ticks(0, 40_000, 5) == [0, 10_000, 20_000, 30_000, 40_000]
    assert ticks(41.3, 58.9, 5) == [40, 45, 50, 55, 60]
    assert ticks(3, 3, 5) == [3, 4]


@given(st.lists(st.tuples(st.integers(1, 40_000), values), min_size=1, max_size=500))
@settings(deadline=None, derandomize=True)
def test_a_line_stays_inside_its_chart_and_is_thinned(points: list[tuple[int, float]]) -> None:
    chart = str(line_chart([Line(style="a", points=sorted(points))], title="t", x_label="iteration"))
    drawn = re.search(r'polyline class="line a" points="([^"]*)"', chart)
    assert drawn is not None
    placed = [tuple(map(float, pair.split(","))) for pair in drawn[1].split()]
    assert len(placed) <= MAX_POINTS
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in placed)


def test_a_smoothed_line_is_the_running_mean_of_its_points() -> None:
    points = [(i, 1.0 + (-1) ** i) for i in range(100)]
    heights = {}
    for smoothed in (False, True):
        line = Line(style="a", points=points, smoothed=smoothed)
        chart = str(line_chart([line, Line(style="b", points=[(1, 0), (2, 2)])], title="t", x_label="x"))
        drawn = re.search(r'polyline class="line a" points="([^"]*)"', chart)
        assert drawn is not None
        heights[smoothed] = [float(pair.split(",")[1]) for pair in drawn[1].split()]
    assert len(heights[True]) == len(heights[False]) == 100
    # Five points of 0 and 2 in turn have means of 0.8 and 1.2.
    span = max(heights[False]) - min(heights[False])
    assert max(heights[True][2:-2]) - min(heights[True][2:-2]) == pytest.approx(0.2 * span, rel=0.02)


def test_a_chart_without_points_is_empty_and_titles_are_escaped() -> None:
    assert line_chart([Line(style="a", points=[])], title="t", x_label="x") == ""
    chart = line_chart([Line(style="a", points=[(1, 2)])], title='"><script>', x_label="<x>")
    assert "<script>" not in chart
    assert "&lt;x&gt;" in chart
