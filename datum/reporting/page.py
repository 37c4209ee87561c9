"""`report.html`: one self-contained page, without scripts, below 5 MB."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from datum.formats.generated import Drawing
from datum.formats.json_files import read_text
from datum.formats.run_folder import Run
from datum.labels import CLASSES
from datum.methods import benchmark_title
from datum.reporting.charts import DotRow, dot_plot, score_bar
from datum.reporting.citations import bibtex
from datum.reporting.confusion_section import confusion_rows
from datum.reporting.cost_section import STAGES, cost_totals
from datum.reporting.drift import drift_sentences
from datum.reporting.image_section import hardest_images, improved_images
from datum.reporting.labeled_section import labeled_runs, labeled_sheet
from datum.reporting.markdown import cost_cells
from datum.reporting.median import median_run
from datum.reporting.pictures import Picture, label_map, photograph
from datum.reporting.reproduced import COLLAPSING
from datum.reporting.styles import baseline_style, class_legend, hexadecimal, style_of
from datum.reporting.templates import rendered
from datum.reporting.training_section import learning_curves, shown_mixes, what_it_took

GENERATED_IN_ALL = 36
"""Generated images in the whole report, shared by the seeds, at most `GENERATED_EACH` a seed."""
GENERATED_EACH = 10
"""One image for each of DATUM's ten prompts."""
ONE_SHOT_WIDTH, GENERATED_WIDTH, EXAMPLE_WIDTH = 640, 224, 448
"""Widths of pictures, in pixels."""
FULL_WIDTH = 12
"""Seeds up to which one-shot images have it; those of more take as much room together."""

LONGEST_DETAIL = 20_000
"""Characters that are shown of a file of settings or provenance."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownDrawing:
    """A generated image, small enough for the page, and the prompt that drew it."""

    picture: Picture
    prompt: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeedPictures:
    """The one-shot image of a seed and what the personalized model drew from it."""

    seed: int
    style: str
    same_as: int | None
    """The earlier seed that has the same one-shot image; None where there is none."""
    one_shot: Picture
    drawings: Sequence[ShownDrawing]
    drawn_in_all: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """A validation image with its label, and predictions by the name of their method."""

    name: str
    image: Picture
    label: Picture
    predictions: Sequence[tuple[str, Picture]]


def render_page(
    summary: Mapping[str, Any], runs: Sequence[Run], baselines: Mapping[str, Sequence[Run]]
) -> str:
    """The page of `summary` (see `datum.reporting.summary`) and its runs.

    Raises `InputError` for a missing or broken picture.
    """
    median, methods = median_run(runs), summary["methods"]
    groups = {methods[0]["name"]: runs, **baselines}
    photographs = [run.photograph for run in runs]
    benchmark = benchmark_title(summary["benchmark"])
    return rendered(
        "template.html",
        title=summary["data"] or benchmark,
        benchmark=benchmark,
        summary=summary,
        ours=methods[0],
        others=methods[1:],
        comparison=_comparison(methods),
        class_rows=_class_rows(methods),
        collapsing=COLLAPSING,
        seeds=[_seed_pictures(position, runs, photographs) for position in range(len(runs))],
        examples=_examples(median, groups),
        legend=class_legend(),
        curves=learning_curves(runs, baselines),
        drawn=labeled_sheet(labeled_runs(runs, baselines)),
        mixes=shown_mixes(methods[0]["name"], runs, baselines),
        took=what_it_took(methods[0]["name"], runs, baselines),
        confusion=confusion_rows(summary["confusion"]),
        hardest=hardest_images(summary["image_scores"], runs, methods[0]["name"]),
        improved=improved_images(summary["image_scores"], groups, methods[0]["name"]),
        stages=STAGES,
        cost_cells=cost_cells,
        totals=cost_totals(summary["cost"]),
        citations=bibtex(summary),
        drift=drift_sentences(summary.get("drift")),
        details=_details(median),
        style_of=style_of,
        baseline_style=baseline_style,
    )


def _comparison(methods: Sequence[Mapping[str, Any]]) -> Markup:
    rows = [
        DotRow(
            name=method["name"],
            values=[seed["miou_headline"] for seed in method["seeds"]],
            style=baseline_style(position - 1) if position else "ours",
        )
        for position, method in enumerate(methods)
    ]
    return dot_plot(rows, title="mIoU of each method and seed")


def _class_rows(methods: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for each in CLASSES:
        ours, *others = (method["iou"][each.name] for method in methods)
        marks = [(baseline_style(i), other["mean"]) for i, other in enumerate(others) if other]
        rows.append(
            {
                "name": each.name,
                "color": hexadecimal(each.color),
                "ours": ours,
                "others": others,
                "bar": score_bar(ours["mean"], ours["min"], ours["max"], marks) if ours else "",
            }
        )
    return rows


def shown_drawings(run: Run, seeds: int) -> list[Drawing]:
    """The generated images of one of `seeds` runs that the page shows: a few of each prompt."""
    return _of_each_prompt(run.generated, min(GENERATED_EACH, max(1, GENERATED_IN_ALL // seeds)))


def shown_examples(run: Run) -> dict[str, Path]:
    """The examples of the median run that the page shows, as `Run.examples` gives them."""
    return dict(list(run.examples().items())[:4])


def _seed_pictures(position: int, runs: Sequence[Run], photographs: Sequence[str]) -> SeedPictures:
    """Those of the run at `position`; `photographs` are the digests of all runs' one-shot images."""
    run, own = runs[position], photographs[position]
    first = photographs.index(own) if own else position
    width = round(ONE_SHOT_WIDTH * min(1.0, FULL_WIDTH / len(runs)) ** 0.5)
    return SeedPictures(
        seed=run.seed,
        style=style_of(position),
        same_as=runs[first].seed if first < position else None,
        one_shot=photograph(run.folder / "one_shot.png", width),
        drawings=[
            ShownDrawing(picture=photograph(image.file, GENERATED_WIDTH), prompt=image.prompt)
            for image in shown_drawings(run, len(runs))
        ],
        drawn_in_all=len(run.generated),
    )


def _of_each_prompt(generated: Sequence[Drawing], count: int) -> list[Drawing]:
    """The first image of each prompt, then the second of each and so on, up to `count`."""
    turns: dict[str, int] = {}
    order = []
    for position, image in enumerate(generated):
        turn = turns[image.prompt] = turns.get(image.prompt, -1) + 1
        order.append((turn, position, image))
    return [image for _, _, image in sorted(order, key=lambda entry: entry[:2])[:count]]


def _examples(median: Run, methods: Mapping[str, Sequence[Run]]) -> list[Example]:
    """The examples of the median seed, with the prediction of every method that has the same image."""
    of_method = {name: median_run(group).examples() for name, group in methods.items()}
    return [
        Example(
            name=name,
            image=photograph(_part(start, "image"), EXAMPLE_WIDTH),
            label=label_map(_part(start, "label"), EXAMPLE_WIDTH),
            predictions=[
                (method, label_map(_part(examples[name], "prediction"), EXAMPLE_WIDTH))
                for method, examples in of_method.items()
                if name in examples
            ],
        )
        for name, start in shown_examples(median).items()
    ]


def _part(start: Path, part: str) -> Path:
    return start.with_name(f"{start.name}_{part}.png")


def _details(run: Run) -> list[tuple[str, str]]:
    """(title, text) of what the median seed's files say about how they were made."""
    files: Iterable[tuple[str, str]] = (
        ("Segmentation network: settings", "segmentor/config.yaml"),
        ("Segmentation network: provenance", "segmentor/provenance.json"),
        ("Generated images: provenance", "generated/provenance.json"),
        ("Evaluation: provenance", "evaluation/provenance.json"),
    )
    present = ((title, run.folder / name) for title, name in files)
    return [(title, read_text(file)[:LONGEST_DETAIL]) for title, file in present if file.is_file()]
