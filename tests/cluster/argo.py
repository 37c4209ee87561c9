"""Workflows in the shape that Argo 4.0.5 gives them for a pipeline that KFP 2.17 has compiled.

A task is a DAG node; in it an `executor`, which is a pod or, where it may be tried again, a Retry node with a
pod for each try; beside it the pod `<task>-driver`. A node's children are what it leads to, whatever DAG that
stands in.
"""

import base64
import dataclasses
import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

NAME = "datum-reproduction-x7k2p"
"""Name of the Workflow."""
IMPL = "retry-system-container-impl"
EXECUTOR = "retry-system-container-executor"


@dataclasses.dataclass
class Work:
    """What has become of a task."""

    phase: str = "Succeeded"
    tries: Sequence[str] = ("Succeeded",)
    """Phases of its pods; empty: its driver only."""
    message: str = ""
    """Of the last try."""


def workflow(
    run_id: str,
    tasks: Mapping[str, Work],
    phase: str = "Succeeded",
    *,
    compressed: bool = False,
    namespace: str = "kubeflow",
    padding: int = 0,
) -> dict[str, Any]:
    """A Workflow with the nodes of `tasks`, each with `padding` bytes of inputs."""
    nodes = _Nodes(padding)
    nodes.add(NAME, NAME, "DAG", phase, "entrypoint")
    nodes.add(f"{NAME}.root-driver", "root-driver", "Pod", "Succeeded", "system-dag-driver")
    nodes.add(f"{NAME}.root", "root", "DAG", phase, "root")
    for key, work in tasks.items():
        path = f"{NAME}.root.{key}"
        if work.phase == "Omitted":
            nodes.add(path, key, "Skipped", "Omitted", EXECUTOR, message="omitted: depends condition not met")
            continue
        driver = "Succeeded" if work.tries else work.phase
        message = "" if work.tries else work.message
        nodes.add(
            f"{path}-driver", f"{key}-driver", "Pod", driver, "system-container-driver", message=message
        )
        if not work.tries:
            continue
        nodes.add(path, key, "DAG", work.phase, EXECUTOR)
        nodes.add(f"{path}.executor", "executor", "Retry", work.phase, IMPL)
        for number, attempt in enumerate(work.tries):
            message = work.message if number == len(work.tries) - 1 else ""
            name = f"executor({number})"
            nodes.add(f"{path}.{name}", name, "Pod", attempt, IMPL, message=message)
    status: dict[str, Any] = {"phase": phase, "startedAt": _time(0), "nodes": nodes.all}
    if compressed:
        status["compressedNodes"] = base64.b64encode(gzip.compress(json.dumps(nodes.all).encode())).decode()
        del status["nodes"]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {"pipeline/runid": run_id, "workflows.argoproj.io/phase": phase},
            "annotations": {"workflows.argoproj.io/pod-name-format": "v2"},
        },
        "status": status,
    }


def pod_name(key: str, number: int = 0) -> str:
    """Name of the pod of a try of a task."""
    return f"{NAME}-{IMPL}-{_hash(f'{NAME}.root.{key}.executor({number})')}"


def _hash(name: str) -> int:
    """Stands for Go's FNV of the node's name."""
    return zlib.crc32(name.encode())


def _time(second: int) -> str:
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1) + timedelta(seconds=second)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


class _Nodes:
    def __init__(self, padding: int) -> None:
        self.all: dict[str, dict[str, Any]] = {}
        self._padding = padding

    def add(
        self, name: str, display_name: str, kind: str, phase: str, template: str, *, message: str = ""
    ) -> None:
        identity = name if name == NAME else f"{NAME}-{_hash(name)}"
        inputs = {"parameters": [{"name": "component", "value": "x" * self._padding}]}
        node = {
            "id": identity,
            "name": name,
            "displayName": display_name,
            "type": kind,
            "templateName": template,
            "templateScope": f"local/{NAME}",
            "phase": phase,
            "startedAt": _time(len(self.all)),
            "inputs": inputs,
        }
        if phase not in ("Pending", "Running"):
            node["finishedAt"] = _time(len(self.all) + 60)
        if message:
            node["message"] = message
        self.all[identity] = node
