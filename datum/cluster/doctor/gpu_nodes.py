"""Nodes with GPUs that tasks can be put on."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from datum.cluster.doctor.checks import Finding, listed, ok, problem, warning
from datum.cluster.doctor.kubernetes_client import Kubernetes
from datum.cluster.settings import ClusterSettings

PRODUCT_LABEL = "nvidia.com/gpu.product"
"""Node label with the GPU's name, set by NVIDIA's GPU feature discovery."""


def check_gpu_nodes(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Which nodes offer the GPUs that tasks ask for, and whether tasks can be put there."""
    if settings.gpu_count == 0 and settings.profile == "paper":
        return warning(
            "gpu_count is 0, and the paper profile would train for weeks on processors",
            "set profile=demo too, or gpu_count=1",
        )
    if settings.gpu_count == 0:
        return ok("not needed: gpu_count is 0")
    nodes = kubernetes.core.list_node().items
    offering = [node for node in nodes if _gpus(node, settings.gpu_type) > 0]
    if not offering:
        return _none_offering(nodes, settings)
    obstacles = {node.metadata.name: _obstacle(node, settings) for node in offering}
    usable = [node for node in offering if not obstacles[node.metadata.name]]
    if not usable:
        return problem(
            "no GPU node can take a task: "
            + listed(f"{name}: {obstacle}" for name, obstacle in obstacles.items()),
            _remedy(offering, settings),
        )
    gpus: Counter[str] = Counter()
    for node in usable:
        product = (node.metadata.labels or {}).get(PRODUCT_LABEL) or settings.gpu_type
        gpus[product] += _gpus(node, settings.gpu_type)
    rest = "".join(f"; not {name}: {obstacle}" for name, obstacle in obstacles.items() if obstacle)
    return ok(
        f"{', '.join(f'{count} x {product}' for product, count in gpus.items())} on {len(usable)} of "
        f"{len(offering)} GPU nodes{rest}"
    )


def _none_offering(nodes: list[Any], settings: ClusterSettings) -> Finding:
    # Extended resources have a domain in front; what nodes always offer (cpu, memory, pods) has none.
    others = {name for node in nodes for name in node.status.allocatable or {} if "/" in name}
    offered = f"; they offer {listed(sorted(others))}" if others else ""
    return problem(
        f"none of {len(nodes)} nodes offers {settings.gpu_type}{offered}",
        "add a GPU node with its device plugin (a pool scaled to zero shows none until it is used), set "
        "gpu_type to what the nodes offer, or set gpu_count=0 and profile=demo to run on processors",
    )


def _obstacle(node: Any, settings: ClusterSettings) -> str:
    """Why a task cannot be put on `node`; empty where it can."""
    if node.spec.unschedulable:
        return "cordoned"
    if not any(item.type == "Ready" and item.status == "True" for item in node.status.conditions or ()):
        return "not ready"
    count = _gpus(node, settings.gpu_type)
    if count < settings.gpu_count:
        return f"has {count} of the {settings.gpu_count} GPUs that a task asks for"
    labels = node.metadata.labels or {}
    for key, value in settings.node_selector.items():
        if labels.get(key) != value:
            return f"label {key}={labels.get(key, '')}, node_selector wants {value}"
    for taint in _untolerated(node, settings.tolerations):
        value = f"={taint.value}" if taint.value else ""
        return f"taint {taint.key}{value}:{taint.effect} is not tolerated"
    return ""


def _remedy(nodes: list[Any], settings: ClusterSettings) -> str:
    """What to set so that the first node whose taint or label stands in the way can take tasks."""
    for node in nodes:
        wanted = [
            {"key": taint.key, "operator": "Exists", "effect": taint.effect}
            for taint in _untolerated(node, settings.tolerations)
            if not (taint.key or "").startswith("node.kubernetes.io/")
        ]
        if wanted:
            tolerations = json.dumps([*settings.tolerations, *wanted], separators=(",", ":"))
            return f"set tolerations={tolerations}"
    return "fit node_selector or gpu_count to a node (kubectl get nodes --show-labels), or mend the node"


def _untolerated(node: Any, tolerations: Iterable[Mapping[str, Any]]) -> list[Any]:
    return [
        taint
        for taint in node.spec.taints or ()
        if taint.effect in ("NoSchedule", "NoExecute")
        and not any(_tolerates(toleration, taint) for toleration in tolerations)
    ]


def _tolerates(toleration: Mapping[str, Any], taint: Any) -> bool:
    """Kubernetes' rule: an empty effect or, with Exists, an empty key matches all."""
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint.key)
    return toleration.get("key") == taint.key and toleration.get("value", "") == (taint.value or "")


def _gpus(node: Any, gpu_type: str) -> int:
    return int((node.status.allocatable or {}).get(gpu_type, 0))
