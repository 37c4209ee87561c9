"""A run's Argo Workflow: its nodes, whoever tells of them.

Argo compresses the nodes of a large Workflow (about 100 nodes: its object may not exceed 1 MB), and KFP's
API then reports no tasks any more. The whole is in the Workflow resource, and in the copy that KFP keeps of
it. Field names: argo-workflows v4.0.5, pkg/apis/workflow/v1alpha1/workflow_types.go.
"""

import base64
import binascii
import dataclasses
import gzip
import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from datum.cluster.client import Kfp
from datum.cluster.kubernetes_access import KubernetesAccess, UnreadableError
from datum.errors import InputError
from datum.telemetry import log

PHASES = {
    "Pending": "PENDING",
    "Running": "RUNNING",
    "Succeeded": "SUCCEEDED",
    "Skipped": "SKIPPED",
    "Failed": "FAILED",
    "Error": "FAILED",
    "Omitted": "OMITTED",
}
"""Argo's phases of a node in KFP's words. An omitted node waits for one that has failed; KFP has no word."""
AT_WORK = ("", "Pending", "Running")
"""Phases of a Workflow that has not ended."""
LONGEST_POD_PREFIX = 242
"""Characters of a pod's name before its hash; Argo cuts longer ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """A node of a Workflow: a task, one of its tries, or what leads to it."""

    display_name: str
    """As in the pipeline's spec; a try has its number behind it."""
    state: str
    """In KFP's words."""
    started: datetime | None = None
    ended: datetime | None = None
    path: str = ""
    """Names of the nodes that it stands in, and its own, such as `<workflow>.root.adapt.executor(0)`; empty
    where KFP tells of the node."""
    pod: str = ""
    """Name of its pod; empty for a node that has none."""
    message: str = ""
    """Why it is as it is, such as `OOMKilled (exit code 137)`."""

    @property
    def is_driver(self) -> bool:
        """Whether it is the driver that works out a task's inputs before the task, or a try of it."""
        return self.display_name.partition("(")[0].endswith("-driver")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A run's nodes as they were seen at one time."""

    nodes: list[Node]
    whole: bool = True
    """Whether no node is missing."""
    at_work: bool = False
    """Whether the Workflow itself says that it goes on."""
    terminated: bool = False
    """Whether somebody has ended it: KFP does so by a deadline of no seconds, Argo's own users by a name."""

    def task(self, key: str) -> Node | None:
        """The node of the task `key` of the pipeline's spec: the last one, where its DAG was tried again."""
        nodes = [node for node in self.nodes if node.display_name == key]
        return max(nodes, key=_start, default=None)

    def tries(self, key: str) -> list[Node]:
        """The nodes with a pod that worked for the task `key`, in their order: its tries, else its driver if
        that failed."""
        task, driver = self.task(key), self.task(f"{key}-driver")
        within = (f"{task.path}.", f"{task.path}(") if task and task.path else ()
        pods = [
            node
            for node in self.nodes
            if node.pod and (node is task or (within and node.path.startswith(within)))
        ]
        if not pods and driver and driver.state == "FAILED":
            # One that may be tried again is a node with pods below it.
            pods = [
                node
                for node in self.nodes
                if node.pod
                and (node is driver or (driver.path and node.path.rpartition("(")[0] == driver.path))
            ]
        return sorted(pods, key=_start)


def _start(node: Node) -> float:
    return node.started.timestamp() if node.started else 0.0


class WorkflowReader:
    """Looks at runs: in the cluster, else in KFP's copy of the Workflow, else in what KFP tells of tasks."""

    def __init__(self, kfp: Kfp, kubernetes: KubernetesAccess | None) -> None:
        self._kfp, self._kubernetes = kfp, kubernetes
        self._has_copies = True
        self._said = False

    def look(self, run: Any) -> Snapshot:
        """The nodes of `run`, which KFP has just shown: what is read later is never behind it."""
        for read in (self._read_resource, self._read_copy):
            try:
                if workflow := read(run.run_id):
                    return snapshot(workflow)
            except UnreadableError as error:
                self._say(str(error))
        return _reported(run)

    def _read_resource(self, run_id: str) -> Mapping[str, Any] | None:
        if self._kubernetes is None:
            return None
        try:
            return self._kubernetes.workflow(run_id)
        except UnreadableError:
            # Asked no more: KFP's copy has the same, a few seconds later.
            self._kubernetes = None
            return None

    def _read_copy(self, run_id: str) -> Mapping[str, Any] | None:
        """The Workflow as KFP last stored it, archived runs too; only its first API gives it away."""
        if not self._has_copies:
            return None
        try:
            answer = self._kfp.get(f"/apis/v1beta1/runs/{run_id}")
            manifest = json.loads(answer["pipeline_runtime"]["workflow_manifest"])
        except (InputError, KeyError, TypeError, ValueError):
            self._has_copies = False
            return None
        return manifest if isinstance(manifest, Mapping) else None

    def _say(self, trouble: str) -> None:
        if not self._said:
            self._said = True
            log(f"the tasks of the run are shown as far as KFP knows them: {trouble}")


def snapshot(workflow: Mapping[str, Any]) -> Snapshot:
    """The nodes of a Workflow, which may hold them compressed.

    Raises `UnreadableError` where they are kept outside of it or cannot be read.
    """
    metadata, status = workflow.get("metadata") or {}, workflow.get("status") or {}
    spec = workflow.get("spec") or {}
    nodes = status.get("nodes") or _unpacked(status)
    return Snapshot(
        nodes=[_node(metadata, node) for node in nodes.values()],
        at_work=status.get("phase", "") in AT_WORK,
        terminated=bool(spec.get("shutdown")) or spec.get("activeDeadlineSeconds") == 0,
    )


def _unpacked(status: Mapping[str, Any]) -> Mapping[str, Any]:
    if packed := status.get("compressedNodes"):
        try:
            nodes = json.loads(gzip.decompress(base64.b64decode(packed)))
        except (binascii.Error, OSError, EOFError, zlib.error, ValueError):
            raise UnreadableError(
                "Argo's nodes are compressed otherwise than by gzip; see WORKFLOW_COMPRESSION_ALGORITHM of "
                "the workflow controller"
            ) from None
        return dict(nodes)
    if version := status.get("offloadNodeStatusVersion"):
        raise UnreadableError(
            f"Argo keeps the nodes in its own database (offloadNodeStatusVersion {version}), which is not "
            "read from here"
        )
    return {}


def _node(metadata: Mapping[str, Any], node: Mapping[str, Any]) -> Node:
    return Node(
        display_name=node.get("displayName", ""),
        state=PHASES.get(node.get("phase", ""), "PENDING"),
        started=_time(node.get("startedAt")),
        ended=_time(node.get("finishedAt")),
        path=node.get("name", ""),
        pod=_pod_name(metadata, node) if node.get("type") == "Pod" else "",
        message=node.get("message", ""),
    )


def _pod_name(metadata: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """As Argo's `GeneratePodName` makes it: workflow, template and the hash that the node's id ends with."""
    name, annotations = metadata["name"], metadata.get("annotations") or {}
    if annotations.get("workflows.argoproj.io/pod-name-format") == "v1" or node["id"] == name:
        return str(node["id"])
    prefix = "-".join(filter(None, (name, node.get("templateName"))))[:LONGEST_POD_PREFIX]
    return f"{prefix}-{node['id'].rpartition('-')[2]}"


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _reported(run: Any) -> Snapshot:
    """The nodes as KFP's API tells them, which stops where Argo begins to compress: nodes that are still at
    work in a run that has ended are of an earlier time."""
    details = (run.run_details and run.run_details.task_details) or ()
    nodes = [
        Node(
            display_name=node.display_name,
            state=node.state if node.state in PHASES.values() else "OMITTED",
            started=happened(node.start_time),
            ended=happened(node.end_time),
        )
        for node in details
    ]
    final = all(node.state not in ("PENDING", "RUNNING") for node in nodes)
    return Snapshot(nodes=nodes, whole=bool(nodes) and final)


def happened(value: datetime | None) -> datetime | None:
    """KFP sends the year 1 or 1970 for what has not happened yet."""
    return value if value and value.year > 1970 else None
