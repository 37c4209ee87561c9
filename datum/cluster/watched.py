"""A run and its tasks, as KFP last showed them."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

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

    @property
    def final(self) -> bool:
        return self.state in FINAL

    def seconds(self) -> float:
        """Time since the run was created, until it ended."""
        return _seconds(self.created, self.finished)

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


def _time(value: datetime | None) -> datetime | None:
    """KFP sends the year 1 or 1970 for what has not happened yet."""
    return value if value and value.year > 1970 else None


def _seconds(start: datetime | None, end: datetime | None) -> float:
    """Seconds from `start` to `end` or, before there is an end, to now; 0 before the start."""
    return max(0.0, ((end or datetime.now(UTC)) - start).total_seconds()) if start else 0.0
