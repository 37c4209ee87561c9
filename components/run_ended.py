"""Tells a webhook that a run has ended without success, and what Argo says of it: for what no task can say
itself, since its container was killed or never started.

`manifests/run-ended.yaml` has Argo run it at the end of such a run, `python3 -m components.run_ended`.
"""

import json
import os
from typing import Any

from components.task import RUN_ID
from components.webhook import tell
from datum.errors import one_line, shortened

STATUS = "DATUM_RUN_STATUS"
"""Environment variable with Argo's `workflow.status`: Failed or Error."""

FAILURES = "DATUM_RUN_FAILURES"
"""Environment variable with Argo's `workflow.failures`: JSON of the nodes that failed, in quotes."""

_TASK_TEMPLATES = ("system-container-executor", "system-container-driver")
"""Ends of the names of the templates whose nodes are named after a task (KFP 2.15 to 2.17)."""


def tell_run_ended() -> None:
    """Posts one message of the run, its failed tasks and their reasons, by the environment."""
    run, status = os.environ.get(RUN_ID, ""), os.environ.get(STATUS, "")

    def message() -> dict[str, Any]:
        tasks, reasons = _failed(os.environ.get(FAILURES, ""))
        parts = [f"ended with {status}", *(", ".join(texts) for texts in (tasks, reasons) if texts)]
        text = one_line(shortened(": ".join(parts), 1000))
        return {
            "text": f"datum run {run}: {text}; see `datum runs {run}`",
            "run": run,
            "status": status,
            "failed": tasks,
            "reasons": reasons,
        }

    tell(message)


def _failed(failures: str) -> tuple[list[str], list[str]]:
    """The failed tasks and what Argo says of failed nodes, each once; neither where it is not to be read."""
    try:
        nodes = json.loads(json.loads(failures)) or []
        named = [(node["displayName"], node["templateName"], node["message"]) for node in nodes]
    except (ValueError, TypeError, KeyError):
        return [], []
    tasks = {
        name.partition("(")[0].removesuffix("-driver")
        for name, template, _ in named
        if template.endswith(_TASK_TEMPLATES)
    }
    return sorted(tasks), sorted({message for _, _, message in named if message})


if __name__ == "__main__":
    tell_run_ended()
