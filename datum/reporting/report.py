"""The report over the seeds of a method, beside its baselines."""

import math
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datum.errors import InputError
from datum.formats.image_scores import IMAGE_SCORES, require_sums
from datum.formats.metrics import METRICS
from datum.formats.report_figures import read_figures, write_figures
from datum.formats.report_seeds import write_seeds
from datum.formats.run_folder import EVALUATIONS, MMCV_EXPORT, Run, read_runs, require_same
from datum.instruments import REPRODUCTION_DRIFTED, REPRODUCTION_FINISHED, REPRODUCTION_MIOU, put
from datum.outputs import building, is_complete, sha256
from datum.provenance import PROVENANCE, Provenance, record_of
from datum.reporting.image_section import image_files
from datum.reporting.labeled_section import labeled_files
from datum.reporting.markdown import REPORT_TEXT, markdown
from datum.reporting.median import median_run
from datum.reporting.model_card import MMCV, MODEL_CARD, model_card
from datum.reporting.page import render_page, shown_drawings, shown_examples
from datum.reporting.remember import judged
from datum.reporting.summary import summarize, summary_table
from datum.reporting.training_section import shown_pictures
from datum.segmentation.iou import score

__all__ = ["report", "summary_table"]

_FILES_READ = (
    "run.json",
    "one_shot.png",
    "segmentor/config.yaml",
    "segmentor/training.jsonl",
    "generated/manifest.jsonl",
    *(f"{evaluation}/{METRICS}" for evaluation in EVALUATIONS.values()),
    f"{EVALUATIONS['best']}/{IMAGE_SCORES}",
    *(f"{part}/{PROVENANCE}" for part in ("generated", "segmentor", *EVALUATIONS.values())),
)
"""Files of a run's folder, beside checkpoints and pictures, that decide what the report says."""


def report(
    *,
    runs: Sequence[Path],
    output: Path,
    baselines: Mapping[str, Sequence[Path]] | None = None,
    history: str = "",
    run_id: str = "",
) -> str:
    """Writes `report.html`, `report.md`, `report.json`, `median_checkpoint/` and what a comparison asks of
    each seed (`datum.formats.report_seeds`) to `output`; returns the summary table.

    `runs` are the folders of one seed each (`datum.formats.run_folder` says what they hold), `baselines` the
    same for each other method by the name it is shown under. `report.html` needs no other file;
    `median_checkpoint/` holds the reported checkpoint of the median seed with a model card (`README.md`), its
    `config.yaml`, its `metrics.json`, the training's `provenance.json`, the one-shot image, and `mmcv.pth`
    where the run has one.

    With a `history`, a place that `datum.formats.history` describes, it says whether the run, `run_id` on a
    cluster, has drifted from the earlier ones (`datum.reporting.drift`).

    A report that is already at `output` is replaced.

    Raises `InputError`, before anything is written, for a run with a missing or broken part and for runs
    that cannot be compared.
    """
    _require_text(baselines or {})
    ours = read_runs("--run", runs, baseline=False)
    others = {
        name: read_runs(f"--baseline {name}", folders, baseline=True)
        for name, folders in (baselines or {}).items()
    }
    for name, group in others.items():
        for key in ("benchmark", "encoder", "profile", "data"):
            require_same(f"--baseline {name}", group[0], ours[0], key)
    every = [*ours, *(run for group in others.values() for run in group)]
    _require_one_validation_set(every)
    for run in every:
        _require_consistent_scores(run)
        if run.image_scores:
            matrix = run.scores[run.reported]["confusion_matrix"]
            require_sums(run.folder / EVALUATIONS["best"], run.image_scores, matrix)
    summary = summarize(ours, others)
    images = summary["image_scores"]
    inputs = {
        "runs": _digests(ours, images),
        "baselines": {name: _digests(group, images) for name, group in others.items()},
    }
    evaluations = [record_of(run.folder / EVALUATIONS["best"], METRICS) for run in every]
    provenance = Provenance(stage="report", inputs=inputs, made_from={"evaluations": evaluations})
    if is_complete(output, provenance, replaceable=True):
        return summary_table(read_figures(output))
    summary["drift"] = judged(history, summary, provenance.record(), run_id) if history else None
    page = render_page(summary, ours, others)
    with building(output, provenance) as folder:
        _copy_median_checkpoint(median_run(ours), summary, folder / "median_checkpoint")
        write_seeds(folder, ours)
        write_figures(folder, summary)
        (folder / REPORT_TEXT).write_bytes(markdown(summary).encode("utf-8", errors="replace"))
        # A file's name may be no text.
        (folder / "report.html").write_bytes(page.encode("utf-8", errors="replace"))
    put(REPRODUCTION_MIOU, summary["median_checkpoint"]["miou"])
    put(REPRODUCTION_FINISHED, time.time())
    if summary["drift"]:
        put(REPRODUCTION_DRIFTED, summary["drift"]["drifted"])
    return summary_table(summary)


def _require_one_validation_set(runs: Sequence[Run]) -> None:
    first = runs[0]
    expected = first.scores[first.reported]["images"]
    for run in runs:
        for scores in run.scores.values():
            if scores["images"] != expected:
                raise InputError(
                    f"{run.folder}: evaluated on {scores['images']} images, {first.folder} on {expected}; "
                    "evaluate all on the same validation set"
                )


def _require_text(names: Iterable[str]) -> None:
    for name in names:
        if not name.isprintable():
            raise InputError(f"--baseline: found the name {name!r}, expected one of printable characters")


def _require_consistent_scores(run: Run) -> None:
    """Raises `InputError` where scores are not those of the confusion matrix beside them."""
    for name, scores in run.scores.items():
        again = score(np.array(scores["confusion_matrix"], dtype=np.int64))
        said = [*scores["miou"].items(), *scores["iou"].items(), ("pixels", scores["pixel_accuracy"])]
        counted = {**again["miou"], **again["iou"], "pixels": again["pixel_accuracy"]}
        for key, value in said:
            if not _equal(value, counted[key]):
                raise InputError(
                    f"{run.folder}: {METRICS} of the {name} checkpoint says {value} for {key}, expected "
                    f"{counted[key]} by its confusion matrix; evaluate the checkpoint again"
                )


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=0, abs_tol=1e-6)


def _digests(runs: Sequence[Run], images: Mapping[str, Any] | None) -> list[dict[str, object]]:
    median = median_run(runs)
    return [
        {
            "seed": run.seed,
            "method": run.method,
            "checkpoints": {name: scores["checkpoint_sha256"] for name, scores in run.scores.items()},
            "metrics_sha256": sha256(run.folder / "evaluation" / METRICS),
            "files": {
                file.relative_to(run.folder).as_posix(): sha256(file)
                for file in _files_read(run, len(runs), images, median=run is median)
            },
        }
        for run in runs
    ]


def _files_read(run: Run, seeds: int, images: Mapping[str, Any] | None, *, median: bool) -> list[Path]:
    """The files beside the checkpoints that decide what the report on one of `seeds` runs says and shows;
    `images` are the figures of single images."""
    files = [run.folder / name for name in _FILES_READ]
    files += [drawing.file for drawing in shown_drawings(run, seeds)]
    files += shown_pictures(run, median=median).values()
    files += labeled_files(run)
    if median:
        files += image_files(run, images)
        parts = ("image", "label", "prediction")
        files += [Path(f"{start}_{part}.png") for start in shown_examples(run).values() for part in parts]
    return sorted(file for file in files if file.is_file())


def _copy_median_checkpoint(run: Run, summary: Mapping[str, Any], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    has_mmcv = run.reported == "best" and (run.folder / MMCV_EXPORT).is_file()
    files = {
        run.checkpoint.name: run.checkpoint,
        "config.yaml": run.folder / "segmentor" / "config.yaml",
        "provenance.json": run.folder / "segmentor" / "provenance.json",
        "metrics.json": run.folder / "evaluation" / METRICS,
        "one_shot.png": run.folder / "one_shot.png",
        **({MMCV: run.folder / MMCV_EXPORT} if has_mmcv else {}),
    }
    for name, file in files.items():
        shutil.copyfile(file, folder / name)
    card = model_card(summary, run, mmcv=has_mmcv)
    (folder / MODEL_CARD).write_bytes(card.encode("utf-8", errors="replace"))
    expected = run.scores[run.reported]["checkpoint_sha256"]
    if (found := sha256(folder / run.checkpoint.name)) != expected:
        raise InputError(
            f"{run.checkpoint}: changed while it was copied, found SHA-256 {found[:12]}…, expected "
            f"{expected[:12]}…; let nothing write to a run that is reported, and run the command again"
        )
