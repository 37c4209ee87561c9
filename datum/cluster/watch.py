"""A run, watched until it ends: live on a terminal, line by line in a log."""

import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from datum.cluster.client import Kfp
from datum.cluster.kubernetes_access import KubernetesAccess
from datum.cluster.live import live_view
from datum.cluster.published import fetch_report
from datum.cluster.run_arguments import pipeline_spec
from datum.cluster.watched import STATES, Task, Watched
from datum.cluster.workflow import WorkflowReader
from datum.errors import BAD_INPUT, INTERRUPTED, TEMPORARY_FAULT, TemporaryFaultError
from datum.telemetry import duration, log

POLL_SECONDS = 3.0
"""Time between two looks at a run."""
PATIENCE = 600.0
"""Seconds for which KFP may be out of reach before watching ends: an upgrade of KFP takes minutes."""
CHECK_TASK = "check parameters"
"""Task that refuses parameters; where it fails, the input was wrong."""


def finish(kfp: Kfp, run_id: str, output: Path | None) -> None:
    """Shows the run until it ends, then fetches its report into `output`, if one is named.

    Ends the process where the run fails: status 2 if its parameters were refused, else 1. Interrupting it
    from the keyboard leaves the run alone.
    """
    again = f"datum runs {run_id}" + (f" --output {output}" if output else "")
    try:
        watched = watch(kfp, run_id)
    except KeyboardInterrupt:
        log(f"datum: interrupted; the run goes on; look again with: {again}")
        sys.exit(INTERRUPTED)
    except TemporaryFaultError as error:
        log(f"datum: {error}; the run goes on; look again with: {again}")
        sys.exit(TEMPORARY_FAULT)
    if watched.state != "SUCCEEDED":
        log(f"datum: {_failure(watched)}")
        refused = any(task.name == CHECK_TASK and task.state == "failed" for task in watched.tasks)
        sys.exit(BAD_INPUT if refused else 1)
    if output:
        try:
            fetch_report(kfp.settings, run_id, output)
        except TemporaryFaultError as error:
            log(f"datum: {error}; try again with: {again}")
            sys.exit(TEMPORARY_FAULT)
        print(output / "report.html")


def watch(kfp: Kfp, run_id: str) -> Watched:
    """Shows the run on standard error until it ends; returns how it ended.

    Raises `TemporaryFaultError` where KFP stays out of reach for `PATIENCE` seconds.
    """
    run = _run(kfp, run_id)
    watched = Watched(run.display_name, kfp.page(f"runs/details/{run_id}"), _tasks(_spec(kfp, run)))
    reader = WorkflowReader(kfp, KubernetesAccess.find(kfp.settings))

    def look() -> None:
        run = _run(kfp, run_id)
        watched.update(run, reader.look(run))

    if sys.stderr.isatty():
        with live_view(watched):
            _follow(look, watched, lambda: None)
    else:
        seen: dict[str, str] = {}
        _follow(look, watched, lambda: _show_changes(watched, seen))
    if watched.state == "SUCCEEDED":
        log(f"{watched.name}: succeeded after {duration(watched.seconds())}")
    return watched


def _follow(look: Callable[[], None], watched: Watched, show: Callable[[], None]) -> None:
    """Looks at the run until it ends, and calls `show` after each `look`."""
    answered = time.monotonic()
    while True:
        try:
            look()
        except TemporaryFaultError as error:
            watched.trouble = str(error)
            if time.monotonic() - answered > PATIENCE:
                raise
        else:
            watched.trouble, answered = "", time.monotonic()
            show()
        if watched.final:
            return
        time.sleep(POLL_SECONDS)


def _run(kfp: Kfp, run_id: str) -> Any:
    return kfp.read(kfp.runs.get_run, run_id=run_id)


def _spec(kfp: Kfp, run: Any) -> Mapping[str, Any]:
    """The pipeline of the run; empty where its version has been deleted."""
    if run.pipeline_spec:
        return dict(run.pipeline_spec)
    reference = run.pipeline_version_reference
    version = kfp.find(
        kfp.pipelines.get_pipeline_version,
        pipeline_id=reference.pipeline_id,
        pipeline_version_id=reference.pipeline_version_id,
    )
    return version.pipeline_spec if version else {}


def _tasks(spec: Mapping[str, Any]) -> list[Task]:
    """The tasks, each after those that it depends on, otherwise by name."""
    specs = pipeline_spec(spec).get("root", {}).get("dag", {}).get("tasks", {})
    depths: dict[str, int] = {}

    def depth(key: str) -> int:
        if key not in depths:
            depths[key] = 1 + max(map(depth, specs[key].get("dependentTasks", ())), default=0)
        return depths[key]

    tasks = [Task(key, specs[key]["taskInfo"]["name"]) for key in specs]
    return sorted(tasks, key=lambda task: (depth(task.key), task.name))


def _show_changes(watched: Watched, seen: dict[str, str]) -> None:
    """One line for each task that has come to another state since it was `seen`."""
    for task in watched.tasks:
        if task.state != seen.get(task.key, "waiting"):
            seen[task.key] = task.state
            after = f" after {duration(task.seconds())}" if task.ended else ""
            done = f"[{watched.count('succeeded', 'skipped')}/{len(watched.tasks)}]"
            log(f"{datetime.now():%H:%M:%S} {done} {task.name}: {task.state}{after}")


def _failure(watched: Watched) -> str:
    """One line: how the run ended, which task failed, where its log is."""
    failed = [repr(task.name) for task in watched.tasks if task.state == "failed"]
    text = f"run {watched.name!r} {STATES[watched.state]} after {duration(watched.seconds())}"
    if not failed:
        return f"{text}; see {watched.page}"
    return (
        f"{text}: the task{'s' * (len(failed) > 1)} {', '.join(failed)} failed; the log is at {watched.page}"
    )
