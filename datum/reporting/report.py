"""The report over the seeds of a method, beside its baselines."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from datum.errors import InputError
from datum.formats.metrics import METRICS
from datum.formats.report_figures import write_figures
from datum.formats.run_folder import Run, read_runs, require_same
from datum.outputs import building, is_complete, sha256
from datum.provenance import Provenance
from datum.reporting.median import median_run
from datum.reporting.page import render_page
from datum.reporting.summary import summarize, summary_table

__all__ = ["report", "summary_table"]


def report(
    *, runs: Sequence[Path], output: Path, baselines: Mapping[str, Sequence[Path]] | None = None
) -> str:
    """Writes `report.html`, `report.json` and `median_checkpoint/` to `output`; returns the summary table.

    `runs` are the folders of one seed each (`datum.formats.run_folder` says what they hold), `baselines` the
    same for each other method by the name it is shown under. `report.html` needs no other file;
    `median_checkpoint/` holds the reported checkpoint of the median seed, its `config.yaml`, its
    `metrics.json`, the training's `provenance.json`, and the one-shot image.

    A report that is already at `output` is replaced.

    Raises `InputError`, before anything is written, for a run with a missing or broken part and for runs
    that cannot be compared.
    """
    ours = read_runs("--run", runs, baseline=False)
    others = {
        name: read_runs(f"--baseline {name}", folders, baseline=True)
        for name, folders in (baselines or {}).items()
    }
    for name, group in others.items():
        for key in ("benchmark", "encoder", "profile", "data"):
            require_same(f"--baseline {name}", group[0], ours[0], key)
    _require_one_validation_set([*ours, *(run for group in others.values() for run in group)])
    summary = summarize(ours, others)
    inputs = {"runs": _digests(ours), "baselines": {name: _digests(group) for name, group in others.items()}}
    provenance = Provenance(stage="report", inputs=inputs)
    if is_complete(output, provenance, replaceable=True):
        return summary_table(summary)
    page = render_page(summary, ours, others)
    with building(output, provenance) as folder:
        _copy_median_checkpoint(median_run(ours), folder / "median_checkpoint")
        write_figures(folder, summary)
        (folder / "report.html").write_text(page, encoding="utf-8")
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


def _digests(runs: Sequence[Run]) -> list[dict[str, object]]:
    return [
        {
            "seed": run.seed,
            "method": run.method,
            "checkpoints": {name: scores["checkpoint_sha256"] for name, scores in run.scores.items()},
            "metrics_sha256": sha256(run.folder / "evaluation" / METRICS),
        }
        for run in runs
    ]


def _copy_median_checkpoint(run: Run, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    files = {
        run.checkpoint.name: run.checkpoint,
        "config.yaml": run.folder / "segmentor" / "config.yaml",
        "provenance.json": run.folder / "segmentor" / "provenance.json",
        "metrics.json": run.folder / "evaluation" / METRICS,
        "one_shot.png": run.folder / "one_shot.png",
    }
    for name, file in files.items():
        shutil.copyfile(file, folder / name)
