"""The tables of a comparison, as its page and its Markdown both show them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from datum.errors import one_line, shortened

DASH = "–"
"""Stands where there is no value."""
_LONGEST_VALUE = 60
"""Characters of a setting that are shown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of texts."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def two_decimals(value: float | None) -> str:
    """A percentage."""
    return DASH if value is None else f"{value:.2f}"


def signed(value: float | None) -> str:
    """A difference in points."""
    if value is None:
        return DASH
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def reach(interval: Sequence[float] | None, shown: Any = two_decimals) -> str:
    """An interval; `shown` writes its two ends."""
    return DASH if interval is None else f"{shown(interval[0])} to {shown(interval[1])}"


def tables_of_figures(compared: Mapping[str, Any]) -> list[Table]:
    """Runs, their seeds, and how far they differ."""
    classes, overs = compared["headline"]["classes"], ("19", "16", "13")
    runs = Table(
        caption=f"mIoU over {classes} classes, percent: mean over the seeds of each run, sample deviation, "
        "95 % interval of the mean by the choice of images and by that of the seeds; then the mean over 19, "
        "16 and 13 classes.",
        head=["Run", "Method", "Mean", "Deviation", "By images", "By seeds", "Median", *overs, "Seeds"],
        rows=[
            [
                run["name"],
                run["title"],
                two_decimals(run["mean"][classes]),
                two_decimals(run["deviation"]),
                reach(run["interval"] and run["interval"][classes]),
                _around(run["mean"][classes], run["interval_over_seeds"]),
                two_decimals(run["median"]),
                *(two_decimals(run["mean"][over]) for over in overs),
                str(len(run["seeds"])),
            ]
            for run in compared["runs"]
        ],
    )
    seeds = Table(
        caption=f"Seed by seed: mIoU over {classes} classes with its 95 % interval by the choice of images.",
        head=["Run", "Seed", "mIoU", "By images", *overs],
        rows=[
            [
                run["name"],
                str(seed["seed"]),
                two_decimals(seed["miou"][classes]),
                reach(seed["interval"] and seed["interval"][classes]),
                *(two_decimals(seed["miou"][over]) for over in overs),
            ]
            for run in compared["runs"]
            for seed in run["seeds"]
        ],
    )
    return [runs, seeds, _differences(compared, classes, overs), *_baselines(compared)]


def _differences(compared: Mapping[str, Any], classes: str, overs: Sequence[str]) -> Table:
    rows = []
    for one in compared["differences"]:
        lines = [("mean", one["miou"], one["interval"])]
        lines += [(f"seed {seed['seed']}", seed["miou"], None) for seed in one["seeds"]]
        rows += [
            [
                f"{one['run']} − {one['to']}",
                what,
                signed(miou[classes]),
                reach(interval and interval[classes], signed),
                *(signed(miou[over]) for over in overs),
            ]
            for what, miou, interval in lines
        ]
    return Table(
        caption=f"Differences of mIoU over {classes} classes in points, with the 95 % interval by the choice "
        "of images, the same for both; seed by seed where both have the seed.",
        head=["Difference", "Of", "Δ", "By images", *(f"Δ {over}" for over in overs)],
        rows=rows,
    )


def _baselines(compared: Mapping[str, Any]) -> list[Table]:
    names = list({name: None for run in compared["runs"] for name in run["baselines"]})
    if not names:
        return []
    return [
        Table(
            caption="Means of the methods beside it, in each run's own report.",
            head=["Method", *(run["name"] for run in compared["runs"])],
            rows=[
                [name, *(two_decimals(run["baselines"].get(name)) for run in compared["runs"])]
                for name in names
            ],
        )
    ]


def table_of_classes(compared: Mapping[str, Any]) -> Table:
    """IoU of every class in every run."""
    first, *others = [run["name"] for run in compared["runs"]]
    return Table(
        caption=f"IoU in percent, mean over the seeds, and its difference to {first} in points with the 95 % "
        "interval by the choice of images. A dash stands where a class does not occur, and where counts by "
        "image are not kept.",
        head=["Class", first, *(text for name in others for text in (name, f"Δ {name}", "By images"))],
        rows=[
            [
                row["class"],
                two_decimals(row["iou"][0]),
                *(
                    text
                    for value, gap, interval in zip(row["iou"][1:], row["differences"], row["intervals"])
                    for text in (two_decimals(value), signed(gap), reach(interval, signed))
                ),
            ]
            for row in compared["classes"]
        ],
    )


def table_of_settings(compared: Mapping[str, Any]) -> Table:
    """What was set otherwise, and what it was made with."""
    return Table(
        caption="Settings that are not the same in all runs; a dash where a run does not tell.",
        head=["Setting", *(run["name"] for run in compared["runs"])],
        rows=[[row["setting"], *map(_value, row["values"])] for row in compared["settings"]],
    )


def verdicts(compared: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(`gain`, `loss` or nothing, a sentence) for each difference to the first run."""
    return [_verdict(one, compared["headline"]["classes"]) for one in compared["differences"]]


def _verdict(one: Mapping[str, Any], classes: str) -> tuple[str, str]:
    gap = one["miou"][classes] or 0.0
    if two_decimals(abs(gap)) == "0.00":
        return "", f"{one['run']} is level with {one['to']}."
    side = "above" if gap > 0 else "below"
    known = {"the choice of images": one["may_be_images"], "the choice of seeds": one["may_be_seeds"]}
    chance = [name for name, may_be in known.items() if may_be]
    unknown = [name for name, may_be in known.items() if may_be is None]
    text = f"{one['run']} is {two_decimals(abs(gap))} points {side} {one['to']}"
    if chance:
        text += f"; {' or '.join(chance)} alone may make as much"
    elif not unknown:
        text += ", more than the choice of images or that of seeds makes"
    if unknown:
        text += f"; what {' and '.join(unknown)} makes cannot be told"
    return ("gain" if gap > 0 else "loss"), f"{text}."


def notes(compared: Mapping[str, Any]) -> list[str]:
    """What the runs lack."""
    return [f"{run['name']} lacks {text}." for run in compared["runs"] for text in run["missing"]]


def _around(mean: float | None, half: float | None) -> str:
    return reach(None if mean is None or half is None else (mean - half, mean + half))


def _value(value: Any) -> str:
    if value is None:
        return DASH
    text = value if isinstance(value, str) else json.dumps(value)
    return shortened(one_line(text), _LONGEST_VALUE) or "(none)"
