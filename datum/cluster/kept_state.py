"""What runs keep in the store to resume from, `<state>/<run id>/`: listed, and removed by the run's id.

A run that writes its report removes its own, unless `keep_state` says otherwise. That of a failed run stays,
some 45 GB a seed at the paper's size, until somebody resumes from it or removes it, by the run's id or by its
age.
"""

import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from datum.cluster.client import Kfp
from datum.cluster.settings import ClusterSettings
from datum.cluster.store_access import installed_store
from datum.cluster.submit import latest_runs
from datum.cluster.table import print_table
from datum.cluster.watched import FINAL, STATES
from datum.cluster.workflow import happened
from datum.errors import InputError
from datum.room import size_in_words
from datum.store import Entry, require_run_id
from datum.telemetry import duration, log
from pipelines.form_defaults import RESUME_FROM

DAY = 86_400
"""Seconds."""

_RUN_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""KFP's own ids."""


def list_state(settings: ClusterSettings) -> None:
    """Prints what each run keeps, the largest first, and all of it together."""
    kept = _kept(settings)
    if not kept:
        log(f"{settings.state}: no run keeps any state")
        return
    kfp, rows = Kfp(settings), []
    for run_id, entries in sorted(kept.items(), key=lambda item: -_size(item[1])):
        run = kfp.find(kfp.runs.get_run, run_id=run_id)
        name, state = (run.display_name, STATES.get(run.state, "pending")) if run else ("–", "unknown to KFP")
        age = f"{duration(time.time() - max(entry.modified for entry in entries))} ago"
        rows.append((run_id, name, state, str(len(entries)), size_in_words(_size(entries)), age))
    print_table(("RUN", "NAME", "STATE", "FILES", "SIZE", "LAST WRITTEN"), rows)
    whole = size_in_words(sum(map(_size, kept.values())))
    log(f"{settings.state}: {whole}; `datum state remove RUN` removes what no run needs")


def remove_states(settings: ClusterSettings, run_ids: Sequence[str]) -> None:
    """Removes what runs keep, each below its own id and nowhere else.

    Raises `InputError`, before anything is removed, for what is no run's id, for a run that keeps nothing,
    and for one that is at work or that a run at work resumes from.
    """
    for run_id in run_ids:
        require_run_id("state remove", run_id)
    kept, kfp = _kept(settings), Kfp(settings)
    needed = _needed(kfp)
    for run_id in run_ids:
        if run_id not in kept:
            raise InputError(f"{settings.state}/{run_id}: keeps nothing; see `datum state list`")
        run = kfp.find(kfp.runs.get_run, run_id=run_id)
        if run and run.state not in FINAL:
            raise InputError(
                f"run {run_id}: is at work and needs its state; datum runs {run_id} --terminate first"
            )
        if reader := needed.get(run_id):
            raise InputError(
                f"run {run_id}: run {reader}, which is at work, resumes from its state; wait for it"
            )
    _remove(settings, kept, run_ids)


def remove_old_states(settings: ClusterSettings, days: int) -> None:
    """Removes what runs keep that ended more than so many `days` ago and, of runs that KFP knows no more,
    what was last written so long ago.

    What is at work, and what a run at work resumes from, stays at any age; so does a folder that is not named
    as KFP names runs.
    """
    kept, kfp = _kept(settings), Kfp(settings)
    needed, before = _needed(kfp), time.time() - days * DAY
    old = [
        run_id
        for run_id, entries in kept.items()
        if _RUN_ID.fullmatch(run_id) and run_id not in needed and _last_used(kfp, run_id, entries) < before
    ]
    _remove(settings, kept, old)
    log(f"{settings.state}: {len(old)} of {len(kept)} runs ended more than {days} days ago")


def _last_used(kfp: Kfp, run_id: str, entries: Sequence[Entry]) -> float:
    """When (in seconds since 1970) the run ended or last wrote its state; now for a run at work."""
    run = kfp.find(kfp.runs.get_run, run_id=run_id)
    if run and run.state not in FINAL:
        return time.time()
    ended = happened(run.finished_at) if run else None
    return max(ended.timestamp() if ended else 0.0, *(entry.modified for entry in entries))


def _remove(settings: ClusterSettings, kept: Mapping[str, Sequence[Entry]], run_ids: Sequence[str]) -> None:
    for run_id in run_ids:
        with installed_store(settings, f"{_place(settings)}/{run_id}") as store:
            print(f"{run_id}: removed {store.delete_all()} files, {size_in_words(_size(kept[run_id]))}")


def _kept(settings: ClusterSettings) -> dict[str, list[Entry]]:
    """The files that runs keep, by the ids of the runs."""
    kept = defaultdict(list)
    with installed_store(settings, _place(settings)) as store:
        for entry in store.entries():
            run_id, separator, _ = entry.key.partition("/")
            if separator:
                kept[run_id].append(entry)
    return dict(kept)


def _place(settings: ClusterSettings) -> str:
    if not settings.state.startswith("s3://"):
        raise InputError(
            f"state: found {settings.state!r}, expected s3://bucket/folder; only pods reach another"
        )
    return settings.state.rstrip("/")


def _size(entries: Sequence[Entry]) -> int:
    return sum(entry.size for entry in entries)


def _needed(kfp: Kfp) -> dict[str, str]:
    """Ids of runs that others resume from, with one that does, among the latest runs."""
    at_work = [run for run in latest_runs(kfp, 100) if run.state not in FINAL and run.runtime_config]
    return {
        earlier.strip(): str(run.run_id)
        for run in at_work
        for earlier in (run.runtime_config.parameters or {}).get(RESUME_FROM, "").split(",")
    }
