"""A run and its tasks, as KFP last showed them."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from datum.cluster.workflow import Snapshot, happened

FINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})
"""States that a run does not leave."""
STATES = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "RUNNING": "running",
    "PENDING": "pending",
    "SKIPPED": "skipped",
    "CANCELED": "canceled",
    "CANCELING": "being canceled",
    "PAUSED": "paused",
    "OMITTED": "left out",
}
"""KFP's states in words; the last is of tasks alone, for which KFP has no word."""
UNFINISHED = frozenset({"running", "pending", "starting"})
"""States that no task is in when its run has ended."""


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
        return _seconds(self.started, self.ended)


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
    seen: Snapshot = dataclasses.field(default_factory=lambda: Snapshot(nodes=[], whole=False))
    """The nodes that the states of the tasks come from."""

    @property
    def final(self) -> bool:
        return self.state in FINAL

    def seconds(self) -> float:
        """Time since the run was created, until it ended."""
        return _seconds(self.created, self.finished)

    def count(self, *states: str) -> int:
        """How many tasks are in one of `states`."""
        return sum(task.state in states for task in self.tasks)

    def update(self, run: Any, seen: Snapshot) -> None:
        """Takes over what KFP says of the run, and the nodes of its Workflow that were read after it.

        A task is a node named as in the spec, and before it a node `<task>-driver` works out its inputs.
        """
        self.state = run.state if run.state in STATES else "PENDING"
        if self.final and seen.at_work:
            # A report from before the run was tried again has reached KFP late.
            self.state = "RUNNING"
        self.seen = seen
        self.created = happened(run.created_at)
        self.finished = happened(run.finished_at) if self.final else None
        absent = ("left out" if seen.whole else "unknown") if self.final else "waiting"
        for task in self.tasks:
            node, driver = seen.task(task.key), seen.task(f"{task.key}-driver")
            task.state, task.started, task.ended = absent, None, None
            if driver and driver.state == "FAILED":
                # Argo then leaves the task out.
                task.state, task.started, task.ended = "failed", driver.started, driver.ended
            elif node:
                task.state, task.started, task.ended = (
                    STATES.get(node.state, "pending"),
                    node.started,
                    node.ended,
                )
            elif driver:
                task.state = "starting"
            if self.final and not seen.whole and task.state in UNFINISHED:
                task.state, task.started = "unknown", None


def _seconds(start: datetime | None, end: datetime | None) -> float:
    """Seconds from `start` to `end` or, before there is an end, to now; 0 before the start."""
    return max(0.0, ((end or datetime.now(UTC)) - start).total_seconds()) if start else 0.0
