"""`comparison.json`: what several runs, each of one or more seeds, differ in. Percentages from 0 to 100.

    runs         each with its seeds' mIoU over 19, 16 and 13 classes, their mean, sample deviation and
                 median, and how far each reaches by the choice of images ("interval": smallest and largest
                 value of the middle 95 %; null where the counts by image are not kept)
    differences  of each further run to the first: of the means, and of the seeds that both have
    classes      IoU of each class, the mean over seeds, and its differences to the first run
    settings     that are not the same in all runs; null where a run does not tell

`datum.reporting.bootstrap` says how intervals are counted.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datum.errors import InputError
from datum.formats.metrics import MIOU_CLASSES
from datum.labels import CLASS_NAMES, SCORED_CLASSES
from datum.reporting.bootstrap import RESAMPLES, Interval, middle, resampled_iou, resampled_miou
from datum.reporting.sides import ComparedRun
from datum.reporting.summary import interval_of_mean

_TRAIN_IDS: Mapping[str, Sequence[int]] = {
    over: [CLASS_NAMES.index(name) for name in names] for over, names in SCORED_CLASSES.items()
}
_ABOUT = ("method", "encoder", "profile", "target_images", "experiment")
"""Keys of `report.json` that are told, and compared beside the settings."""

Draws = Mapping[int, npt.NDArray[np.float64]]
"""By seed: IoU in percent of every class in every draw of images, float64[RESAMPLES, 19]."""


def comparison(sides: Sequence[ComparedRun]) -> dict[str, Any]:
    """The content of `comparison.json`.

    Raises `InputError` where the runs were not tested on the same labeled images, or are headed by other
    classes.
    """
    first = sides[0]
    for side in sides[1:]:
        _require_comparable(side, first)
    draws = [_draws(side) for side in sides]
    runs = [_run(side, drawn) for side, drawn in zip(sides, draws)]
    classes = first.figures["headline"]["classes"]
    return {
        "headline": {"classes": classes},
        "benchmark": first.figures["benchmark"],
        "data": first.figures.get("data", ""),
        "images": first.figures["images"],
        "bootstrap": {"resamples": RESAMPLES, "over": "images"} if any(draws) else None,
        "runs": runs,
        "differences": [
            _difference(run, runs[0], drawn, draws[0], classes) for run, drawn in zip(runs[1:], draws[1:])
        ],
        "classes": [_class(train_id, sides, draws) for train_id in range(len(CLASS_NAMES))],
        "settings": _settings(sides),
    }


def _require_comparable(side: ComparedRun, first: ComparedRun) -> None:
    found, expected = side.figures, first.figures
    for key in ("benchmark", "data", "images"):
        # An earlier release may not have told.
        if key in found and key in expected and found[key] != expected[key]:
            raise InputError(
                f"{side.place}: found {key} {found[key]!r}, expected {expected[key]!r} as in {first.place}; "
                "compare runs on the same data"
            )
    if found["headline"]["classes"] != expected["headline"]["classes"]:
        raise InputError(
            f"{side.place}: is headed by the mIoU over {found['headline']['classes']} classes, expected "
            f"{expected['headline']['classes']} as in {first.place}; compare runs on the same benchmark"
        )
    for name, pixels, others in zip(CLASS_NAMES, side.labeled_pixels, first.labeled_pixels):
        if pixels != others:
            raise InputError(
                f"{side.place}: was tested on {pixels} labeled pixels of {name}, expected {others} as in "
                f"{first.place}; compare runs on the same validation images"
            )
    if side.counted and first.counted:
        names, known = (
            {image.image for image in next(iter(one.kept.values())).images} for one in (side, first)
        )
        if different := sorted(names ^ known):
            raise InputError(
                f"{side.place}: was tested on other images than {first.place}, such as {different[0]}; "
                "compare runs on the same validation images"
            )


def _draws(side: ComparedRun) -> Draws:
    """Empty where the counts of a seed are not kept."""
    if not side.counted:
        return {}
    return {seed["seed"]: resampled_iou(side.kept[seed["seed"]].images) for seed in side.seeds}


def _run(side: ComparedRun, draws: Draws) -> dict[str, Any]:
    classes = side.figures["headline"]["classes"]
    values = [seed["miou"][classes] or 0.0 for seed in side.seeds]
    return {
        "name": side.name,
        "place": side.place,
        "title": side.figures["methods"][0]["name"],
        **{key: side.figures.get(key, "") for key in _ABOUT},
        "mean": {over: _mean(seed["miou"][over] for seed in side.seeds) for over in MIOU_CLASSES},
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "interval_over_seeds": interval_of_mean(values),
        # As the report has it: of two in the middle the lower one.
        "median": sorted(values)[(len(values) - 1) // 2],
        "interval": _intervals(list(draws.values())),
        "seeds": [
            {
                "seed": seed["seed"],
                "miou": dict(seed["miou"]),
                "interval": _intervals([draws[seed["seed"]]] if draws else []),
            }
            for seed in side.seeds
        ],
        "baselines": {
            method["name"]: _mean(seed["miou"][classes] for seed in method["seeds"])
            for method in side.figures["methods"][1:]
        },
        "missing": side.missing(),
    }


def _difference(
    run: Mapping[str, Any], first: Mapping[str, Any], own: Draws, others: Draws, classes: str
) -> dict[str, Any]:
    seeds, known = ({seed["seed"]: seed["miou"] for seed in one["seeds"]} for one in (run, first))
    miou = {over: _minus(run["mean"][over], first["mean"][over]) for over in MIOU_CLASSES}
    intervals = {over: _interval_between(own, others, over) for over in MIOU_CLASSES}
    headline, halves = intervals[classes], (run["interval_over_seeds"], first["interval_over_seeds"])
    return {
        "run": run["name"],
        "to": first["name"],
        "miou": miou,
        "interval": intervals if own and others else None,
        # Whether the difference could be one of the images, or of the seeds, alone; null where nobody knows.
        "may_be_images": None if headline is None else headline[0] <= 0 <= headline[1],
        "may_be_seeds": None if None in halves else abs(miou[classes] or 0.0) <= sum(halves),
        "seeds": [
            {"seed": seed, "miou": {over: _minus(found[over], known[seed][over]) for over in MIOU_CLASSES}}
            for seed, found in seeds.items()
            if seed in known
        ],
    }


def _interval_between(own: Draws, others: Draws, over: str) -> Interval | None:
    """Of the difference of the means over seeds, of the same draws of images; None without them."""
    if not own or not others:
        return None
    return middle(_miou_of(list(own.values()), over) - _miou_of(list(others.values()), over))


def _class(train_id: int, sides: Sequence[ComparedRun], draws: Sequence[Draws]) -> dict[str, Any]:
    name = CLASS_NAMES[train_id]
    means = [_mean(seed["iou"][name] for seed in side.seeds) for side in sides]
    drawn = [_class_of(list(one.values()), train_id) if one else None for one in draws]
    return {
        "class": name,
        "iou": means,
        "differences": [_minus(mean, means[0]) for mean in means[1:]],
        "intervals": [
            None if one is None or drawn[0] is None else middle(one - drawn[0]) for one in drawn[1:]
        ],
    }


def _settings(sides: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    tables = [
        {
            **{key: side.figures.get(key, "") for key in _ABOUT},
            "seeds": [seed["seed"] for seed in side.seeds],
            **side.settings,
            **{f"made with {name}": version for name, version in side.versions.items()},
        }
        for side in sides
    ]
    names = {name: None for table in tables for name in table}
    rows = [{"setting": name, "values": [table.get(name) for table in tables]} for name in names]
    return [row for row in rows if any(value != row["values"][0] for value in row["values"][1:])]


def _intervals(draws: Sequence[npt.NDArray[np.float64]]) -> dict[str, Any] | None:
    """Of the mean over seeds of the mIoU over so many classes; None without draws."""
    return {over: middle(_miou_of(draws, over)) for over in MIOU_CLASSES} if draws else None


def _miou_of(draws: Sequence[npt.NDArray[np.float64]], over: str) -> npt.NDArray[np.float64]:
    """Mean over seeds of the mIoU over so many classes, in every draw."""
    return np.mean([resampled_miou(iou, _TRAIN_IDS[over]) for iou in draws], axis=0)


def _class_of(draws: Sequence[npt.NDArray[np.float64]], train_id: int) -> npt.NDArray[np.float64]:
    """Mean IoU of a class over the seeds in which it occurs, in every draw; nan where it occurs in none."""
    values = np.array([iou[:, train_id] for iou in draws])
    occurring = (~np.isnan(values)).sum(axis=0)
    return np.where(occurring > 0, np.nansum(values, axis=0) / np.maximum(occurring, 1), np.nan)


def _mean(values: Any) -> float | None:
    """Of those that there are."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other
