"""`datum history`: the finished reproductions as a table and as a page."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datum.errors import one_line
from datum.formats.history import Reproduction, read_history
from datum.outputs import replacing, require_folder
from datum.reporting.charts import Line, line_chart
from datum.reporting.drift import LEAST_RUNS, WINDOW, band_of, is_same
from datum.reporting.templates import rendered
from datum.store import Store
from datum.text_tables import aligned

STRIP = 40
"""Width of the drawing beside a line of the table, in characters."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remembered:
    """A reproduction among those of the same."""

    run: Reproduction
    band: tuple[float, float] | None
    """That it was to fall into, in percent; None where there were too few before it."""


def show_history(store: Store, place: str, page: Path | None) -> str:
    """The history in `store`, named `place`, as a table with a drawing; it also writes the `page`, if one is
    named. Raises `InputError` for a damaged history."""
    series = _series(read_history(store, place))
    if page:
        require_folder(page.parent)
        page.parent.mkdir(parents=True, exist_ok=True)
        with replacing(page) as temporary:
            temporary.write_text(_page(series, place), encoding="utf-8", errors="replace")
    if not series:
        return f"{place}: no reproduction has been remembered yet"
    parts = ["\n".join([_title(runs[0].run), *_lines(runs)]) for runs in series]
    return "\n\n".join(parts + ([str(page)] if page else []))


def _series(history: Sequence[Reproduction]) -> list[list[Remembered]]:
    """The runs of the same together, in the order in which they ended, each with its band."""
    series: list[list[Reproduction]] = []
    for run in history:
        same = next((runs for runs in series if is_same(runs[-1], run)), None)
        if same is None:
            series.append([run])
        else:
            same.append(run)
    return [
        [
            Remembered(run=run, band=band_of(runs[max(0, position - WINDOW) : position]))
            for position, run in enumerate(runs)
        ]
        for runs in series
    ]


def _title(run: Reproduction) -> str:
    about = {key: str(value) for key, value in run.about.items()}
    what = about.get("experiment") or about.get("title", "")
    data = about.get("data") or about.get("benchmark", "")
    return one_line(f"{what}, {about.get('encoder')}, {data} ({about.get('profile')})")


def _lines(runs: Sequence[Remembered]) -> list[str]:
    """An aligned line a run: when it ended, its id, mIoU, seeds, the drawing, and why it drifted."""
    values = [run.run.miou for run in runs] + [end for run in runs for end in run.band or ()]
    low, high = min(values), max(values)
    rows = [
        (
            _day(one.run),
            one.run.run,
            f"{one.run.miou:.2f}",
            str(len(one.run.seeds)),
            _strip(one, low, high),
            one_line("; ".join(one.run.reasons)),
        )
        for one in runs
    ]
    heads = ("ended", "run", "mIoU", "seeds", f"{low:.1f} to {high:.1f}", "drifted")
    return aligned([heads, *rows])


def _strip(one: Remembered, low: float, high: float) -> str:
    """The mIoU as a point on a line from `low` to `high`, between the ends of its band."""

    def place(value: float) -> int:
        return round((STRIP - 1) * (value - low) / (high - low)) if high > low else 0

    drawn = ["·"] * STRIP
    if one.band:
        drawn[place(one.band[0])], drawn[place(one.band[1])] = "[", "]"
    drawn[place(one.run.miou)] = "!" if one.run.reasons else "o"
    return "".join(drawn)


def _day(run: Reproduction) -> str:
    return datetime.datetime.fromtimestamp(run.finished, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _page(series: Sequence[Sequence[Remembered]], place: str) -> str:
    return rendered(
        "history.html",
        place=place,
        series=[_shown(runs) for runs in series],
        least=LEAST_RUNS,
    )


def _shown(runs: Sequence[Remembered]) -> Mapping[str, Any]:
    def line(style: str, values: Sequence[float | None]) -> Line:
        points = [(float(n), value) for n, value in enumerate(values, start=1) if value is not None]
        return Line(style=style, points=points)

    lines = [
        line("baseline base-2", [one.band and one.band[0] for one in runs]),
        line("baseline base-2", [one.band and one.band[1] for one in runs]),
        line("seed-0", [one.run.miou for one in runs]),
    ]
    drifted = [(float(n), one.run.miou) for n, one in enumerate(runs, start=1) if one.run.reasons]
    lines += [Line(style="seed-3", points=[point]) for point in drifted]
    return {
        "title": _title(runs[0].run),
        "chart": line_chart(lines, title="mIoU of each run, and the band it was to fall into", x_label="run"),
        "rows": [
            {
                "number": number,
                "ended": _day(one.run),
                "run": one.run.run,
                "miou": f"{one.run.miou:.2f}",
                "seeds": ", ".join(f"{seed.seed}: {seed.miou:.2f}" for seed in one.run.seeds),
                "band": f"{one.band[0]:.2f} to {one.band[1]:.2f}" if one.band else "–",
                "reasons": "; ".join(one.run.reasons),
            }
            for number, one in enumerate(runs, start=1)
        ],
    }
