"""What is compared: a report, of this or an earlier release, the output of `datum run`, or a seed's run."""

import dataclasses
import html.parser
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datum.errors import InputError
from datum.formats.json_files import read_text
from datum.formats.metrics import MIOU_CLASSES, is_score, read_metrics
from datum.formats.recorded_settings import recorded_settings, recorded_versions
from datum.formats.report_figures import REPORT_FIGURES, read_figures
from datum.formats.report_seeds import KeptSeed, read_seed, read_seed_of_run
from datum.formats.run_folder import DESCRIPTION, EVALUATIONS, read_runs
from datum.labels import CLASS_NAMES
from datum.provenance import read_provenance
from datum.reporting.pictures import label_map, photograph
from datum.reporting.summary import summarize

_REPORT = "report"
"""Folder of the report in the output of `datum run`."""
PICTURE_WIDTH = 448
"""Of pictures that come from a seed's run, in pixels; those of a report are as wide as it shows them."""

_ABOUT = ("benchmark", "encoder", "profile")
"""Keys of `report.json` that every release writes, with texts."""
_PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """Pictures of one validation image, as data URIs."""

    image: str = ""
    label: str = ""
    prediction: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One of the runs that are compared."""

    name: str
    place: str
    """As the user named it."""
    figures: Mapping[str, Any]
    """Its `report.json`."""
    labeled_pixels: Sequence[int]
    """Of each class, in the whole validation set: what tells that two sets have the same labels."""
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    kept: Mapping[int, KeptSeed]
    """By seed."""
    pictures: Mapping[str, Shown]
    """By name of the image."""

    @property
    def seeds(self) -> Sequence[Mapping[str, Any]]:
        """What `report.json` says of each seed of its own method."""
        seeds: Sequence[Mapping[str, Any]] = self.figures["methods"][0]["seeds"]
        return seeds

    @property
    def counted(self) -> bool:
        """Whether the counts of every image are kept, of all seeds."""
        return all(self.kept[seed["seed"]].images for seed in self.seeds)

    def missing(self) -> list[str]:
        """What it lacks, that a comparison would show."""
        lacks = {
            "the counts by image, so its figures have no intervals": not self.counted,
            "training logs, so it has no learning curves": not any(k.training for k in self.kept.values()),
            "pictures of validation images": not self.pictures,
        }
        return [text for text, missing in lacks.items() if missing]


def read_side(name: str, place: str, folder: Path) -> ComparedRun:
    """What `folder`, which the user named `place`, holds; raises `InputError` where that is nothing that can
    be compared, or is damaged."""
    for report in (folder, folder / _REPORT):
        if (report / REPORT_FIGURES).is_file():
            return _of_report(name, place, report)
    if (folder / DESCRIPTION).is_file():
        return _of_run(name, place, folder)
    raise InputError(
        f"{place}: holds neither {REPORT_FIGURES} nor {DESCRIPTION}, expected a report, an output of `datum "
        "run` that has one, or the folder of one seed's run"
    )


def _of_report(name: str, place: str, report: Path) -> ComparedRun:
    figures = read_figures(report)
    _require_known(report / REPORT_FIGURES, figures)
    median = report / "median_checkpoint"
    record = read_provenance(report) or {}
    return ComparedRun(
        name=name,
        place=place,
        figures=figures,
        labeled_pixels=_labeled_pixels(read_metrics(median)["confusion_matrix"]),
        # The record of a report that was copied, or that an earlier release wrote, may not reach so far.
        settings=recorded_settings(record) or recorded_settings(read_provenance(median) or {}),
        versions=recorded_versions(record) or recorded_versions(read_provenance(median) or {}),
        kept={seed["seed"]: _kept(report, seed) for seed in figures["methods"][0]["seeds"]},
        pictures=_pictures_of_page(report / "report.html", figures["methods"][0]["name"]),
    )


def _kept(report: Path, seed: Mapping[str, Any]) -> KeptSeed:
    """What the report keeps of a seed; where that is nothing, what the run's own folder beside it has."""
    found = read_seed(report, seed["seed"])
    name = seed.get("folder")
    if found.images or found.training or not isinstance(name, str) or Path(name).name != name:
        return found
    run = report.parent / name
    return read_seed_of_run(run) if (run / DESCRIPTION).is_file() else found


def _of_run(name: str, place: str, folder: Path) -> ComparedRun:
    (run,) = read_runs("RUN", [folder], baseline=True)
    record = read_provenance(folder / EVALUATIONS["best"]) or {}
    behind = read_provenance(folder / "segmentor") or {}
    return ComparedRun(
        name=name,
        place=place,
        figures=summarize([run], {}),
        labeled_pixels=_labeled_pixels(run.scores[run.reported]["confusion_matrix"]),
        settings=recorded_settings(record) or recorded_settings(behind),
        versions=recorded_versions(record) or recorded_versions(behind),
        kept={run.seed: read_seed_of_run(folder)},
        pictures={
            image: Shown(
                image=photograph(start.with_name(f"{start.name}_image.png"), PICTURE_WIDTH).uri,
                label=label_map(start.with_name(f"{start.name}_label.png"), PICTURE_WIDTH).uri,
                prediction=label_map(start.with_name(f"{start.name}_prediction.png"), PICTURE_WIDTH).uri,
            )
            for image, start in run.examples().items()
        },
    )


def _labeled_pixels(confusion: Sequence[Sequence[int]]) -> list[int]:
    """Pixels of each class in the ground truth: a confusion matrix's rows."""
    return [int(pixels) for pixels in np.array(confusion, dtype=np.int64).sum(axis=1)]


def _require_known(file: Path, figures: Mapping[str, Any]) -> None:
    """Raises `InputError` for figures that lack what every release has written."""
    problem = _problem(figures)
    if problem:
        raise InputError(f"{file}: {problem}, expected a report of datum; make the report again")


def _problem(figures: Mapping[str, Any]) -> str | None:
    headline, methods = figures.get("headline"), figures.get("methods")
    if not all(isinstance(figures.get(key), str) for key in _ABOUT) or type(figures.get("images")) is not int:
        return f"lacks one of {', '.join(_ABOUT)}, images"
    if not isinstance(headline, dict) or headline.get("classes") not in MIOU_CLASSES:
        return "says not over how many classes its headline is"
    if not isinstance(methods, list) or not methods or not all(map(_is_method, methods)):
        return "has no methods with a name and seeds"
    seeds = [seed["seed"] for seed in methods[0]["seeds"]]
    return None if len(set(seeds)) == len(seeds) else "has a seed twice"


def _is_method(method: Any) -> bool:
    return (
        isinstance(method, dict)
        and isinstance(method.get("name"), str)
        and isinstance(method.get("seeds"), list)
        and bool(method["seeds"])
        and all(map(_is_seed, method["seeds"]))
    )


def _is_seed(seed: Any) -> bool:
    if not isinstance(seed, dict) or type(seed.get("seed")) is not int or seed["seed"] < 0:
        return False
    tables = ((seed.get("miou"), MIOU_CLASSES), (seed.get("iou"), CLASS_NAMES))
    return all(
        isinstance(table, dict) and set(table) == set(names) and all(map(is_score, table.values()))
        for table, names in tables
    )


class _Pictures(html.parser.HTMLParser):
    """The pictures of a page of ours, by what it calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        source, called = told.get("src") or "", told.get("alt") or ""
        # Nothing else of another page comes into ours.
        if tag == "img" and _PICTURE.fullmatch(source):
            self.found.setdefault(called, source)


def _pictures_of_page(page: Path, method: str) -> dict[str, Shown]:
    """The validation images that the page of a report shows, with the predictions of its own `method`, told
    by what `template.html` calls them."""
    if not page.is_file():
        return {}
    parser = _Pictures()
    parser.feed(read_text(page))
    parts = {
        "Validation image ": "image",
        "Ground truth of ": "label",
        f"Prediction of {method} for ": "prediction",
    }
    found: dict[str, dict[str, str]] = {}
    for called, source in parser.found.items():
        for start, part in parts.items():
            if called.startswith(start):
                found.setdefault(called.removeprefix(start), {}).setdefault(part, source)
    return {name: Shown(**pictures) for name, pictures in found.items() if "prediction" in pictures}
