"""Recurring reproductions: made, replaced, listed, paused and removed.

Ours are KFP's recurring runs in the experiment of the settings whose names begin with `datum-`. KFP can only
switch one on and off, so another content means another recurring run: the new one is made switched off, the
old one is switched off, the new one on, and the old one deleted. So two are never on, which could start two
reproductions, and the same command, run again after a crash at any point, ends with the new one alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from datum import __version__
from datum.cluster.client import Kfp
from datum.cluster.run_arguments import run_arguments
from datum.cluster.settings import ClusterSettings
from datum.cluster.submit import find_experiment, run_request
from datum.cluster.table import print_table
from datum.cluster.upload import latest_version
from datum.errors import InputError
from datum.telemetry import log

PREFIX = "datum-"
"""Names of our recurring runs begin with it."""
DEFAULT_NAME = "datum-reproduction"
"""Name of the one that `make deploy` keeps."""
CRONS = {"weekly": "0 0 3 * * 1", "monthly": "0 0 3 1 * *"}
"""When they start: second, minute, hour, day of the month, month, day of the week, in the time zone of KFP's
scheduler (UTC unless set otherwise). Mondays and firsts of the month at 03:00."""


def schedule(settings: ClusterSettings, every: str, parameters: Sequence[str], name: str | None) -> None:
    """Has the reproduction repeated `every` week or month; replaces what has the same name, if it differs."""
    kfp = Kfp(settings)
    state, recurring = _ensure(kfp, every, parameters, _our_name(name) if name else DEFAULT_NAME)
    if not _is_on(recurring):
        _switch_on(kfp, recurring)
    print(f"{recurring.display_name}: {state}, {every}  {_page(kfp, recurring)}")
    if hint := kfp.hint():
        log(hint)


def apply_schedule(settings: ClusterSettings) -> None:
    """Brings the recurring run `DEFAULT_NAME` to what `settings.schedule` says; a paused one stays paused."""
    kfp = Kfp(settings)
    if not settings.schedule:
        _remove(kfp, [run for run in _ours(kfp) if run.display_name == DEFAULT_NAME])
        print(f"{DEFAULT_NAME}: not scheduled")
        return
    state, recurring = _ensure(kfp, settings.schedule, (), DEFAULT_NAME)
    paused = f", paused (datum schedule resume {DEFAULT_NAME})" if not _is_on(recurring) else ""
    print(f"{DEFAULT_NAME}: {state}, {settings.schedule}{paused}  {_page(kfp, recurring)}")


def list_schedules(settings: ClusterSettings) -> None:
    """Prints our recurring runs."""
    kfp = Kfp(settings)
    rows = [
        (
            run.display_name,
            "active" if _is_on(run) else "paused",
            _when(run),
            run.description or "",
            _page(kfp, run),
        )
        for run in _ours(kfp)
    ]
    if not rows:
        log("no schedule; `datum schedule weekly` makes one")
        return
    print_table(("NAME", "STATE", "WHEN", "WHAT", "URL"), rows, kfp.hint())


def pause(settings: ClusterSettings, name: str) -> None:
    """Switches a recurring run off; what runs, runs on."""
    kfp = Kfp(settings)
    for run in _named(kfp, name):
        _switch_off(kfp, run)
        print(f"{run.display_name}: paused")


def resume(settings: ClusterSettings, name: str) -> None:
    """Switches a recurring run on again, without catching up on what it has missed."""
    kfp = Kfp(settings)
    for run in _named(kfp, name):
        _switch_on(kfp, run)
        print(f"{run.display_name}: active")


def remove(settings: ClusterSettings, name: str) -> None:
    """Deletes a recurring run; the runs that it has started stay."""
    kfp = Kfp(settings)
    _remove(kfp, _named(kfp, name))


def remove_all(settings: ClusterSettings) -> None:
    """Deletes all our recurring runs."""
    kfp = Kfp(settings)
    _remove(kfp, _ours(kfp))


def _ensure(kfp: Kfp, every: str, parameters: Sequence[str], name: str) -> tuple[str, Any]:
    """Whether the recurring run was `created`, `updated` or `unchanged`, and the one that is there now."""
    request = _request(kfp, every, parameters, name)
    same_name = [run for run in _ours(kfp) if run.display_name == name]
    current = next((run for run in same_name if run.description == request["description"]), None)
    old = [run for run in same_name if run is not current]
    if current:
        state = "unchanged"
        # Two of a name are left by a command that was cut off.
        on = bool(old) or _is_on(current)
    else:
        state = "updated" if old else "created"
        on = any(map(_is_on, old)) or not old
        current = _create(kfp, name, request, enabled=not old)
    for run in filter(_is_on, old):
        _switch_off(kfp, run)
    if on and not _is_on(current):
        _switch_on(kfp, current)
    _delete(kfp, old)
    return state, current


def _request(kfp: Kfp, every: str, parameters: Sequence[str], name: str) -> dict[str, Any]:
    """What the recurring run is to be; its description holds a digest of everything else.

    KFP adds to what it stores, so that the digest, not the content, says whether anything has changed. The
    latest version is sent as it is now, without caching: results out of a cache would reproduce nothing, and
    KFP can switch it off in no other way. `datum schedule --apply` after an upload brings a new version in.
    """
    import kfp_server_api as api

    version = latest_version(kfp, "reproduction")
    values = run_arguments(kfp.settings, version.pipeline_spec, parameters)
    request = {
        **run_request(kfp, version, values, cache=False),
        "trigger": api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=CRONS[every])),
        "max_concurrency": "1",
        "no_catchup": True,
    }
    plain = api.ApiClient().sanitize_for_serialization(request)
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]
    text = f"{every} reproduction, version {version.display_name}, datum {__version__}, settings {digest}"
    return {**request, "description": text}


def _create(kfp: Kfp, name: str, request: dict[str, Any], *, enabled: bool) -> Any:
    import kfp_server_api as api

    return kfp.create(
        kfp.recurring_runs.recurring_run_service_create_recurring_run_with_http_info,
        lambda: next(
            (
                run
                for run in _ours(kfp)
                if run.display_name == name and run.description == request["description"]
            ),
            None,
        ),
        unique=False,
        recurring_run=api.V2beta1RecurringRun(
            display_name=name, mode="ENABLE" if enabled else "DISABLE", **request
        ),
    )


def _ours(kfp: Kfp) -> list[Any]:
    experiment = find_experiment(kfp)
    if not experiment:
        return []
    runs = kfp.entries(
        kfp.recurring_runs.recurring_run_service_list_recurring_runs_with_http_info,
        "recurring_runs",
        experiment_id=experiment.experiment_id,
    )
    return [run for run in runs if run.display_name.startswith(PREFIX)]


def _named(kfp: Kfp, name: str) -> list[Any]:
    ours = _ours(kfp)
    found = [run for run in ours if run.display_name == _our_name(name)]
    if not found:
        known = ", ".join(run.display_name for run in ours) or "none"
        raise InputError(f"{name}: no such schedule, found {known}; see `datum schedule list`")
    return found


def _our_name(name: str) -> str:
    return name if name.startswith(PREFIX) else f"{PREFIX}{name}"


def _remove(kfp: Kfp, runs: Sequence[Any]) -> None:
    _delete(kfp, runs)
    for run in runs:
        print(f"{run.display_name}: removed")


def _delete(kfp: Kfp, runs: Sequence[Any]) -> None:
    for run in runs:
        kfp.delete(
            kfp.recurring_runs.recurring_run_service_delete_recurring_run_with_http_info,
            recurring_run_id=run.recurring_run_id,
            # Otherwise Kubernetes deletes the workflow of a run that is at work with its schedule.
            propagation_policy="ORPHAN",
        )


def _is_on(run: Any) -> bool:
    return bool(run.mode == "ENABLE")


def _switch_on(kfp: Kfp, run: Any) -> None:
    kfp.read(
        kfp.recurring_runs.recurring_run_service_enable_recurring_run_with_http_info,
        recurring_run_id=run.recurring_run_id,
    )
    run.mode = "ENABLE"


def _switch_off(kfp: Kfp, run: Any) -> None:
    kfp.read(
        kfp.recurring_runs.recurring_run_service_disable_recurring_run_with_http_info,
        recurring_run_id=run.recurring_run_id,
    )
    run.mode = "DISABLE"


def _when(run: Any) -> str:
    cron = run.trigger.cron_schedule.cron if run.trigger and run.trigger.cron_schedule else ""
    return next((f"{every} ({cron})" for every, known in CRONS.items() if known == cron), cron)


def _page(kfp: Kfp, run: Any) -> str:
    return kfp.page(f"recurringrun/details/{run.recurring_run_id}")
