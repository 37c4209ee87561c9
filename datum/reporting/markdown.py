"""`report.md`: the figures of `report.json` as Markdown, for where no page is shown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datum.reporting.citations import bibtex
from datum.reporting.confusion_section import confusion_shares
from datum.reporting.cost_section import STAGES, cost_totals
from datum.telemetry import duration

REPORT_TEXT = "report.md"
"""Name of the file."""


def markdown(figures: Mapping[str, Any]) -> str:
    """The text; percentages with two digits."""
    classes, methods = figures["headline"]["classes"], figures["methods"]
    lines = [
        f"# {plain(figures['data'] or figures['benchmark'])}",
        "",
        f"{plain(methods[0]['name'])}, encoder {plain(figures['encoder'])}, profile {figures['profile']}, "
        f"{figures['images']} validation images. mIoU over {classes} classes, percent, reported checkpoint.",
        "",
        *method_table(methods),
        "",
        *_verdicts(figures),
        "",
        f"## Seeds of {plain(methods[0]['name'])}",
        "",
        *_seed_table(methods[0]["seeds"]),
        "",
        "## Classes",
        "",
        *class_table(methods),
        "",
        *_confusion(figures["confusion"]),
        *_images(figures["image_scores"]),
        *_labeled(figures["labeled_drawings"]),
        *_cost(figures["cost"]),
        "## Cite",
        "",
        "```bibtex",
        *bibtex(figures),
        "```",
        "",
    ]
    return "\n".join(lines)


def method_table(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row a method: mean, deviation, 95 % interval and median over its seeds."""
    rows = [
        [
            plain(method["name"]),
            percent(method["mean"]),
            percent(method["deviation"]),
            "-" if method["interval"] is None else f"± {method['interval']:.2f}",
            percent(method["median"]),
            str(len(method["seeds"])),
        ]
        for method in methods
    ]
    return pipe_table(["method", "mean", "deviation", "95 % interval", "median", "seeds"], rows)


def class_table(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row a class: its mean IoU over the seeds of each method."""
    names = methods[0]["iou"]
    means = [[method["iou"][name] for method in methods] for name in names]
    rows = [
        [name, *(percent(spread and spread["mean"]) for spread in row)] for name, row in zip(names, means)
    ]
    return pipe_table(["class", *(plain(method["name"]) for method in methods)], rows)


def pipe_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, whose first column holds names."""
    rule = ["---", *("---:" for _ in heading[1:])]
    return [f"| {' | '.join(row)} |" for row in [heading, rule, *rows]]


def percent(value: float | None) -> str:
    """Two digits, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def _verdicts(figures: Mapping[str, Any]) -> list[str]:
    lines = [
        f"- {abs(d['difference']):.2f} points {'above' if d['difference'] >= 0 else 'below'} "
        f"{plain(d['baseline'])}; their seeds {'overlap' if d['seeds_overlap'] else 'do not overlap'}"
        for d in figures["differences"]
    ]
    if published := figures["published"]:
        lines.append(
            f"- {published['experiment']}: published {percent(published['miou'])} ({published['source']}); "
            f"found {percent(published['found'])} ({published['checkpoint']} checkpoint), counts from "
            f"{percent(published['counts_from'])}: {published['verdict']}"
        )
    median = figures["median_checkpoint"]
    return [
        *lines,
        f"- median seed {median['seed']} at {percent(median['miou'])}: `{median['file']}`, "
        f"sha256 `{median['sha256']}`",
    ]


def _seed_table(seeds: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        [
            str(seed["seed"]),
            f"{percent(seed['miou_headline'])} ({seed['checkpoint']})",
            *(percent(seed["miou_by_checkpoint"][name]) for name in ("best", "last")),
            *(percent(seed["miou"][classes]) for classes in ("19", "16", "13")),
            percent(seed["pixel_accuracy"]),
        ]
        for seed in seeds
    ]
    heading = ["seed", "reported", "best", "last", "19 classes", "16", "13", "pixel accuracy"]
    return pipe_table(heading, rows)


def _confusion(confusion: Mapping[str, Any]) -> list[str]:
    names = confusion["classes"]
    shares = confusion_shares(confusion["counts"])
    rows = [
        [name, *("-" if row is None else f"{share:.1f}" for share in row or [0.0] * len(names))]
        for name, row in zip(names, shares)
    ]
    return [
        "## Confusion matrix",
        "",
        "Of the pixels labeled as the row's class, percent predicted as the column's, all seeds together.",
        "",
        *pipe_table(["labeled", *names], rows),
        "",
    ]


def _images(images: Mapping[str, Any] | None) -> list[str]:
    if not images:
        return []
    hardest = [[plain(image["image"]), percent(image["miou"])] for image in images["hardest"]]
    lines = ["## Hardest images", "", *pipe_table(["image", "mIoU"], hardest), ""]
    if improved := images["improved"]:
        rows = [
            [plain(i["image"]), *(percent(i[key]) for key in ("miou", "baseline", "difference"))]
            for i in improved["images"]
        ]
        lines += [
            f"## Most improved on {plain(improved['baseline'])}",
            "",
            f"Better on {improved['better_images']} of {images['images']} images.",
            "",
            *pipe_table(["image", "mIoU", "baseline", "difference"], rows),
            "",
        ]
    return lines


def _labeled(labeled: Mapping[str, Any] | None) -> list[str]:
    if not labeled:
        return []
    return [
        "## Labeled drawings",
        "",
        f"{labeled['kept']} kept, {labeled['dropped']} dropped by the gate.",
        "",
    ]


def _cost(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    shown = [
        [
            plain(row["method"]),
            STAGES[row["stage"]],
            str(row["seeds"]),
            *cost_cells(row),
            plain(row["device"]),
        ]
        for row in rows
    ]
    shown.append(["all", "", "", *cost_cells(cost_totals(rows)), ""])
    heading = ["method", "stage", "seeds", "time", "GPU hours", "images/s", "memory, GB", "device"]
    return ["## Cost", "", *pipe_table(heading, shown), ""]


def cost_cells(row: Mapping[str, Any]) -> list[str]:
    """Time, GPU hours, images/s and memory in GB of a row, as page and text show them."""
    seconds, hours, rate, memory = (
        row[key] for key in ("seconds", "gpu_hours", "images_per_second", "peak_memory")
    )
    return [
        "-" if seconds is None else duration(seconds),
        "-" if hours is None else f"{hours:.2f}",
        "-" if rate is None else f"{rate:.3g}",
        "-" if memory is None else f"{memory / 1e9:.1f}",
    ]


def plain(text: str) -> str:
    """A name that a user gave, as text of one line."""
    escaped = "".join(f"\\{c}" if c in r"\`*_{}[]<>()#+!|~" else c for c in text)
    return " ".join(escaped.split())
