"""A finished report in the history: judged by what went before, and remembered for what comes after."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datum.config import without_influence
from datum.errors import InputError
from datum.formats.history import ReproducedSeed, Reproduction, append_reproduction, read_history
from datum.formats.recorded_settings import recorded_settings, recorded_start, recorded_versions
from datum.formats.report_figures import read_figures
from datum.provenance import read_provenance
from datum.reporting.drift import COMPARED, judge_drift
from datum.store import DamagedError, open_store
from datum.telemetry import log


def judged(history: str, figures: Mapping[str, Any], record: Mapping[str, Any], run: str) -> dict[str, Any]:
    """What is to be said of the drift of a report (`datum.reporting.drift.judge_drift`) that is about to be
    written with these `figures` and this `record`, by the `history` at that place.

    A history that cannot be read is said, and no reason to lose a run.
    """
    unread = ""
    before: list[Reproduction] = []
    try:
        before = read_history(open_store(history), history)
    except (InputError, DamagedError, OSError) as error:
        unread = str(error)
        log(f"history: {unread}")
    own = _reproduction(figures, record, run=run, report="", finished=time.time(), reasons=())
    return judge_drift(own, before, figures.get("published"), unread)


def remember(folder: Path, history: str, *, run: str, report: str) -> None:
    """Adds the report in `folder`, which can be found at `report`, to the `history` at that place. Where that
    cannot be written it is said, and no reason to lose a run."""
    figures, record = read_figures(folder), read_provenance(folder) or {}
    finished, drift = record.get("finished"), figures.get("drift") or {}
    own = _reproduction(
        figures,
        record,
        run=run,
        report=report,
        finished=finished if isinstance(finished, float) else time.time(),
        reasons=drift.get("reasons", ()),
    )
    try:
        append_reproduction(open_store(history), own)
    except (InputError, OSError) as error:
        log(f"history: this run is not remembered: {error}")


def _reproduction(
    figures: Mapping[str, Any], record: Mapping[str, Any], *, run: str, **others: Any
) -> Reproduction:
    ours, passed_over = figures["methods"][0], without_influence()
    told = {**figures, "title": ours["name"], "classes": figures["headline"]["classes"]}
    digests = "".join(seed["checkpoint_sha256"] for seed in ours["seeds"])
    return Reproduction(
        # Of the same trainings it is the same reproduction, however often it is reported.
        run=run or hashlib.sha256((digests + recorded_start(record)).encode()).hexdigest()[:16],
        about={key: told[key] for key in (*COMPARED, "experiment")},
        settings={k: v for k, v in recorded_settings(record).items() if k not in passed_over},
        versions=recorded_versions(record),
        miou=figures["median_checkpoint"]["miou"],
        seeds=[
            ReproducedSeed(seed=seed["seed"], miou=seed["miou_headline"], iou=seed["iou"])
            for seed in ours["seeds"]
        ],
        **others,
    )
