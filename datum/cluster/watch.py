"""A run, watched until it ends: live on a terminal, line by line in a log."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datum.cluster.client import Kfp
from datum.cluster.published import fetch_report
from datum.cluster.run_arguments import pipeline_spec
from datum.errors import BAD_INPUT, INTERRUPTED, TEMPORARY_FAULT, TemporaryFaultError
from datum.telemetry import duration, log

POLL_SECONDS = 3.0
"""Time between two looks at a run."""
PATIENCE = 600.0
"""Seconds for which KFP may be out of reach before watching ends: an upgrade of KFP takes minutes."""
FINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})
"""States that a run does not leave."""
CHECK_TASK = "check parameters"
"""Task that refuses parameters; where it fails, the input was wrong."""
STATES = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "RUNNING": "running",
    "PENDING": "pending",
    "SKIPPED": "skipped",
    "CANCELED": "cancelled",
    "CANCELING": "being cancelled",
    "PAUSED": "paused",
}
"""KFP's states in words; KFP has no word for a task that is left out because of another one's failure."""


@dataclasses.dataclass
class Task:
    """A task of the DAG, as far as the run has come."""

    key: str
    """Name in the pipeline's spec."""
    name: str
    """Name for a person, such as `seed 2 · generate 3/4`."""
    state: str = "waiting"
    started: datetime | None = None
    ended: datetime | None = None

    @property
    def group(self) -> str:
        """The seed that the task belongs to; empty for what all seeds share."""
        return self.name.partition(" · ")[0] if " · " in self.name else ""

    def seconds(self) -> float:
        """How long the task has taken so far; 0 before it starts."""
        if not self.started:
            return 0.0
        return max(0.0, ((self.ended or datetime.now(UTC)) - self.started).total_seconds())


@dataclasses.dataclass
class Watched:
    """A run and its tasks, as last seen."""

    name: str
    page: str
    tasks: list[Task]
    state: str = "PENDING"
    created: datetime | None = None
    finished: datetime | None = None
    trouble: str = ""
    """Why the last look failed; empty where it did not."""

    @property
    def final(self) -> bool:
        return self.state in FINAL

    def seconds(self) -> float:
        """Time since the run was created, until it ended."""
        if not self.created:
            return 0.0
        return max(0.0, ((self.finished or datetime.now(UTC)) - self.created).total_seconds())

    def count(self, *states: str) -> int:
        """How many tasks are in one of `states`."""
        return sum(task.state in states for task in self.tasks)

    def update(self, run: Any) -> None:
        """Takes over what KFP says of the run.

        KFP reports the nodes of the Argo workflow: a task is a node named as in the spec, and before it a
        node `<task>-driver` works out its inputs.
        """
        self.state = run.state if run.state in STATES else "PENDING"
        self.created, self.finished = _time(run.created_at), _time(run.finished_at)
        details = (run.run_details and run.run_details.task_details) or ()
        nodes = {node.display_name: node for node in details}
        for task in self.tasks:
            node, driver = nodes.get(task.key), nodes.get(f"{task.key}-driver")
            if node:
                task.state = STATES.get(node.state, "left out")
                task.started, task.ended = _time(node.start_time), _time(node.end_time)
            elif driver:
                task.state = "failed" if driver.state == "FAILED" else "starting"
            elif self.final:
                task.state = "left out"


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
        sys.exit(BAD_INPUT if any(map(_refused, watched.tasks)) else 1)
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
    run = _look(kfp, run_id)
    watched = Watched(run.display_name, kfp.page(f"runs/details/{run_id}"), _tasks(_spec(kfp, run)))
    watched.update(run)
    if sys.stderr.isatty():
        from datum.cluster.live import live_view

        with live_view(watched):
            _follow(kfp, run_id, watched)
    else:
        seen: dict[str, str] = {}
        _show_changes(watched, seen)
        _follow(kfp, run_id, watched, seen)
    if watched.state == "SUCCEEDED":
        log(f"{watched.name}: succeeded after {duration(watched.seconds())}")
    return watched


def _follow(kfp: Kfp, run_id: str, watched: Watched, seen: dict[str, str] | None = None) -> None:
    """Looks at the run until it ends; prints what changes where `seen` holds what was printed before."""
    answered = time.monotonic()
    while not watched.final:
        time.sleep(POLL_SECONDS)
        try:
            watched.update(_look(kfp, run_id))
        except TemporaryFaultError as error:
            watched.trouble = str(error)
            if time.monotonic() - answered > PATIENCE:
                raise
            continue
        watched.trouble, answered = "", time.monotonic()
        if seen is not None:
            _show_changes(watched, seen)


def _look(kfp: Kfp, run_id: str) -> Any:
    return kfp.read(kfp.runs.run_service_get_run_with_http_info, run_id=run_id)


def _spec(kfp: Kfp, run: Any) -> Mapping[str, Any]:
    """The pipeline of the run; empty where its version has been deleted."""
    if run.pipeline_spec:
        return dict(run.pipeline_spec)
    reference = run.pipeline_version_reference
    version = kfp.find(
        kfp.pipelines.pipeline_service_get_pipeline_version_with_http_info,
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


def _time(value: datetime | None) -> datetime | None:
    """KFP sends the year 1 or 1970 for what has not happened yet."""
    return value if value and value.year > 1970 else None


def _show_changes(watched: Watched, seen: dict[str, str]) -> None:
    """One line for each task that has come to another state since it was `seen`."""
    for task in watched.tasks:
        if task.state != seen.get(task.key, "waiting"):
            seen[task.key] = task.state
            after = f" after {duration(task.seconds())}" if task.ended else ""
            done = f"[{watched.count('succeeded', 'skipped')}/{len(watched.tasks)}]"
            log(f"{datetime.now():%H:%M:%S} {done} {task.name}: {task.state}{after}")


def _refused(task: Task) -> bool:
    return task.name == CHECK_TASK and task.state == "failed"


def _failure(watched: Watched) -> str:
    """One line: how the run ended, which task failed, where its log is."""
    failed = [task.name for task in watched.tasks if task.state == "failed"]
    end = STATES[watched.state]
    text = f"run {watched.name!r} {end} after {duration(watched.seconds())}"
    return f"{text}: {_named(failed)} at {watched.page}" if failed else f"{text}; see {watched.page}"


def _named(failed: Sequence[str]) -> str:
    tasks = ", ".join(map(repr, failed))
    return f"the task{'s' * (len(failed) > 1)} {tasks} failed; the log is"
