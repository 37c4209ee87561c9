"""Recurring reproductions: made, replaced, listed, paused and removed.

Ours are KFP's recurring runs in the experiment of the settings whose names begin with `datum-`. KFP can only
switch one on and off, so another content means another recurring run: the new one is made switched off, the
old one is switched off, the new one on, and the old one deleted. So two are never on, which could start two
reproductions, and the same command, run again after a crash at any point, ends with the new one alone.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from datum import __version__
from datum.cluster.client import Kfp
from datum.cluster.rhythm import Rhythm
from datum.cluster.run_arguments import run_arguments
from datum.cluster.schedule_zone import coming, require_zone
from datum.cluster.submit import find_experiment, run_request
from datum.cluster.table import print_table
from datum.cluster.upload import latest_version
from datum.errors import InputError
from datum.telemetry import log

PREFIX = "datum-"
"""Names of our recurring runs begin with it."""
DEFAULT_NAME = "datum-reproduction"
"""Name of the one that `make deploy` keeps."""
BY_SETTINGS = ", by the settings"
"""Ends the description of one that the settings have made, and may remove."""


def schedule(kfp: Kfp, every: Rhythm, parameters: Sequence[str], name: str | None) -> None:
    """Has the reproduction repeated; replaces what has the same name, if it differs."""
    zone = require_zone(kfp.settings, every)
    state, recurring = _ensure(kfp, every, parameters, _our_name(name) if name else DEFAULT_NAME)
    if not _is_on(recurring):
        _switch(kfp, recurring, on=True)
    print(f"{recurring.display_name}: {state}, {every.text}  {_page(kfp, recurring)}")
    print(f"  {coming(every, zone)}")
    kfp.show_hint()


def apply_schedule(kfp: Kfp) -> None:
    """Brings the recurring run `DEFAULT_NAME` to what the settings say; a paused one stays paused."""
    if not kfp.settings.schedule:
        there = _ours(kfp, DEFAULT_NAME)
        _remove(kfp, [run for run in there if _by_settings(run)])
        if by_hand := [run for run in there if not _by_settings(run)]:
            print(
                f"{DEFAULT_NAME}: stays, {_when(by_hand[0])}, since no SCHEDULE has made it; `datum schedule "
                f"remove {DEFAULT_NAME}` removes it"
            )
        else:
            print(f"{DEFAULT_NAME}: not scheduled")
        return
    every = Rhythm.parse(kfp.settings.schedule)
    zone = require_zone(kfp.settings, every)
    state, recurring = _ensure(kfp, every, (), DEFAULT_NAME, by_settings=True)
    paused = f", paused (datum schedule resume {DEFAULT_NAME})" if not _is_on(recurring) else ""
    print(f"{DEFAULT_NAME}: {state}, {every.text}{paused}  {_page(kfp, recurring)}")
    print(f"  {coming(every, zone)}")


def list_schedules(kfp: Kfp) -> None:
    """Prints our recurring runs."""
    rows = [
        (run.display_name, _state(run), _when(run), run.description or "", _page(kfp, run))
        for run in _ours(kfp)
    ]
    if not rows:
        log("no schedule; `datum schedule weekly` makes one")
        return
    print_table(("NAME", "STATE", "WHEN", "WHAT", "URL"), rows)
    kfp.show_hint()


def switch(kfp: Kfp, name: str, *, on: bool) -> None:
    """Pauses a recurring run, or resumes it without making up for what it has missed; runs at work go on."""
    for run in _named(kfp, name):
        _switch(kfp, run, on=on)
        print(f"{run.display_name}: {_state(run)}")


def remove(kfp: Kfp, name: str | None = None) -> None:
    """Deletes one recurring run, or all of ours without a `name`; the runs that they have started stay."""
    _remove(kfp, _named(kfp, name) if name else _ours(kfp))


def _ensure(
    kfp: Kfp, every: Rhythm, parameters: Sequence[str], name: str, *, by_settings: bool = False
) -> tuple[str, Any]:
    """Whether the recurring run was `created`, `updated` or `unchanged`, and the one that is there now."""
    request = _request(kfp, every, parameters, by_settings=by_settings)
    same_name = _ours(kfp, name)
    current = _described(same_name, request)
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
        _switch(kfp, run, on=False)
    if on and not _is_on(current):
        _switch(kfp, current, on=True)
    _delete(kfp, old)
    return state, current


def _request(kfp: Kfp, every: Rhythm, parameters: Sequence[str], *, by_settings: bool) -> dict[str, Any]:
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
        "trigger": api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=every.cron)),
        "max_concurrency": "1",
        "no_catchup": True,
    }
    plain = api.ApiClient().sanitize_for_serialization(request)
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]
    text = (
        f"{every.text} reproduction, version {version.display_name}, datum {__version__}, settings {digest}"
    )
    return {**request, "description": text + BY_SETTINGS * by_settings}


def _create(kfp: Kfp, name: str, request: dict[str, Any], *, enabled: bool) -> Any:
    import kfp_server_api as api

    return kfp.create(
        kfp.recurring_runs.create_recurring_run,
        lambda: _described(_ours(kfp, name), request),
        unique=False,
        recurring_run=api.V2beta1RecurringRun(
            display_name=name, mode="ENABLE" if enabled else "DISABLE", **request
        ),
    )


def _described(runs: Sequence[Any], request: dict[str, Any]) -> Any:
    """The one of `runs` that is what `request` asks for, or None."""
    return next((run for run in runs if run.description == request["description"]), None)


def _ours(kfp: Kfp, name: str = "") -> list[Any]:
    """Our recurring runs, or those of one name."""
    experiment = find_experiment(kfp)
    if not experiment:
        return []
    runs = kfp.entries(kfp.recurring_runs, "recurring_runs", experiment_id=experiment.experiment_id)
    return [run for run in runs if run.display_name.startswith(PREFIX) and name in ("", run.display_name)]


def _named(kfp: Kfp, name: str) -> list[Any]:
    found = _ours(kfp, _our_name(name))
    if not found:
        known = ", ".join(run.display_name for run in _ours(kfp)) or "none"
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
            kfp.recurring_runs.delete_recurring_run,
            recurring_run_id=run.recurring_run_id,
            # Otherwise Kubernetes deletes the workflow of a run that is at work with its schedule.
            propagation_policy="ORPHAN",
        )


def _by_settings(run: Any) -> bool:
    return str(run.description).endswith(BY_SETTINGS)


def _is_on(run: Any) -> bool:
    return bool(run.mode == "ENABLE")


def _state(run: Any) -> str:
    return "active" if _is_on(run) else "paused"


def _switch(kfp: Kfp, run: Any, *, on: bool) -> None:
    runs = kfp.recurring_runs
    call = runs.enable_recurring_run if on else runs.disable_recurring_run
    kfp.read(call, recurring_run_id=run.recurring_run_id)
    run.mode = "ENABLE" if on else "DISABLE"


def _when(run: Any) -> str:
    cron = run.trigger.cron_schedule.cron if run.trigger and run.trigger.cron_schedule else ""
    try:
        return f"{Rhythm(cron, cron).words()} ({cron})"
    except InputError:
        return cron


def _page(kfp: Kfp, run: Any) -> str:
    return kfp.page(f"recurringrun/details/{run.recurring_run_id}")
