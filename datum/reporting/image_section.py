"""The validation images that a method finds hardest, and those where it gains most on a baseline."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datum.formats.image_scores import THUMBNAILS
from datum.formats.run_folder import EVALUATIONS, Run
from datum.reporting.median import headline_classes, median_run
from datum.reporting.pictures import Picture, label_map, photograph

SHOWN = 4
"""Images of each kind."""
WIDTH = 256
"""Of a picture, in pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownImage:
    """A validation image with its score, and its pictures by what they show."""

    name: str
    miou: float
    baseline: float | None
    """The baseline's score of it; None among the hardest."""
    pictures: Sequence[tuple[str, Picture]]
    """Empty where the evaluation kept none."""


def image_figures(runs: Sequence[Run], baselines: Mapping[str, Sequence[Run]]) -> dict[str, Any] | None:
    """What `report.json` says of single images, in percent: mIoU over the headline's classes that occur in
    the image, the mean over the seeds; None where an evaluation is of an earlier release.

    The `improved` are those that gain most on the first baseline that has scores of all of them.
    """
    ours = _means(runs)
    if not ours:
        return None
    hardest = sorted(ours, key=lambda name: (ours[name], name))[:SHOWN]
    figures: dict[str, Any] = {
        "images": len(ours),
        "hardest": [{"image": name, "miou": ours[name]} for name in hardest],
        "improved": None,
    }
    for baseline, group in baselines.items():
        theirs = _means(group)
        if theirs.keys() != ours.keys():
            continue
        gains = {name: ours[name] - theirs[name] for name in ours}
        best = sorted((name for name in gains if gains[name] > 0), key=lambda name: (-gains[name], name))
        figures["improved"] = {
            "baseline": baseline,
            "better_images": len(best),
            "images": [
                {"image": name, "miou": ours[name], "baseline": theirs[name], "difference": gains[name]}
                for name in best[:SHOWN]
            ],
        }
        break
    return figures


def hardest_images(
    figures: Mapping[str, Any] | None, runs: Sequence[Run], method: str
) -> Sequence[ShownImage]:
    """The hardest images with the prediction of the median seed of `method`."""
    if not figures:
        return []
    return [_shown(image, {method: median_run(runs)}, baseline=None) for image in figures["hardest"]]


def improved_images(
    figures: Mapping[str, Any] | None, groups: Mapping[str, Sequence[Run]], method: str
) -> Sequence[ShownImage]:
    """The most improved images with predictions of the median seeds of the baseline and of `method`."""
    if not figures or not figures["improved"]:
        return []
    baseline = figures["improved"]["baseline"]
    medians = {name: median_run(groups[name]) for name in (baseline, method)}
    return [_shown(image, medians, baseline=image["baseline"]) for image in figures["improved"]["images"]]


def image_files(run: Run, figures: Mapping[str, Any] | None) -> list[Path]:
    """The files of a run that decide what the page shows of single images."""
    if not figures:
        return []
    shown = [image["image"] for image in figures["hardest"]]
    shown += [image["image"] for image in (figures["improved"] or {"images": []})["images"]]
    return [file for name in shown for file in _files(run, name).values()]


def _means(runs: Sequence[Run]) -> dict[str, float]:
    """Mean over `runs` of the mIoU of every image that all of them have a score of."""
    classes = headline_classes(runs[0])
    each = [
        {score.image: miou for score in run.image_scores if (miou := score.miou(classes)) is not None}
        for run in runs
    ]
    common = set.intersection(*(set(scores) for scores in each))
    return {name: statistics.fmean(scores[name] for scores in each) for name in sorted(common)}


def _shown(image: Mapping[str, Any], medians: Mapping[str, Run], *, baseline: float | None) -> ShownImage:
    name, last = image["image"], list(medians.values())[-1]
    files = _files(last, name)
    pictures: list[tuple[str, Picture]] = []
    if all(file.is_file() for file in files.values()):
        pictures.append(("image", photograph(files["image"], WIDTH)))
        pictures.append(("ground truth", label_map(files["label"], WIDTH)))
        predictions = {method: _files(run, name)["prediction"] for method, run in medians.items()}
        pictures += [(m, label_map(file, WIDTH)) for m, file in predictions.items() if file.is_file()]
    return ShownImage(name=name, miou=image["miou"], baseline=baseline, pictures=pictures)


def _files(run: Run, name: str) -> dict[str, Path]:
    evaluation = run.folder / EVALUATIONS["best"]
    return {
        "image": evaluation / THUMBNAILS / f"{name}.jpg",
        "label": evaluation / THUMBNAILS / f"{name}_label.png",
        "prediction": evaluation / "predictions" / "color" / f"{name}.png",
    }
