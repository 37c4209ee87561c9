"""What KFP tries again on this cluster: the settings of its Argo decide it, not a pipeline."""

from collections.abc import Mapping
from typing import Any

import yaml

from datum.cluster.doctor.checks import Finding, ok, problem, warning
from datum.cluster.doctor.kubernetes_client import Kubernetes
from datum.cluster.settings import ClusterSettings

CONTROLLER = "workflow-controller-configmap"
"""ConfigMap of Argo's workflow controller, as KFP's manifests name it."""

LEVELS = 3
"""Levels of the graph above a task's own tries, to each of which `templateDefaults` applies too: component,
pipeline, and the workflow's entry (seen in KFP 2.17)."""

OF_KFP_2_17 = 'retryStrategy: {limit: "2", retryPolicy: OnError}'
"""What KFP 2.17's own manifests say."""

TRIED = {
    "OnError": "a lost pod (deleted, preempted, its node drained or gone), not a failed task",
    "OnFailure": "a failed task (out of memory, killed, evicted), not a lost pod",
    "Always": "a lost pod and a failed task",
    "OnTransientError": "neither a lost pod nor a failed task, but what Argo takes for passing",
}
"""By Argo's retryPolicy. A task that ends with an error is *Failed*, a pod that is no more is in *Error*."""


def check_retries(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether KFP tries a lost pod again, and how often all in all."""
    where = settings.kfp_namespace
    found = kubernetes.find(kubernetes.core.read_namespaced_config_map, CONTROLLER, where)
    if found is None:
        return warning(
            f"not known: there is no ConfigMap {CONTROLLER} in {where}",
            f"kubectl -n {where} get deployments -o yaml | grep -A1 configmap names the one of KFP's Argo",
        )
    try:
        strategy = _strategy(found.data or {})
    except (yaml.YAMLError, AttributeError, TypeError):
        return problem(
            f"ConfigMap {CONTROLLER} in {where} cannot be read as Argo reads it",
            f"correct its key workflowDefaults: kubectl -n {where} edit configmap {CONTROLLER}",
        )
    return _judge(strategy, settings)


def _strategy(data: Mapping[str, str]) -> Mapping[str, Any]:
    """The retryStrategy that Argo gives to every template which names none, or only a part of one."""
    # Argo takes either one key for all, or a key for each setting.
    whole = yaml.safe_load(data["config"]) if "config" in data else None
    defaults = whole.get("workflowDefaults") if whole else yaml.safe_load(data.get("workflowDefaults", ""))
    for key in ("spec", "templateDefaults", "retryStrategy"):
        defaults = (defaults or {}).get(key)
    return dict(defaults or {})


def _judge(strategy: Mapping[str, Any], settings: ClusterSettings) -> Finding:
    key = f"workflowDefaults.spec.templateDefaults of ConfigMap {CONTROLLER} in {settings.kfp_namespace}"
    if expression := strategy.get("expression"):
        return warning(f"what the expression {expression!r} says, of {key}", "judge it by Argo's manual")
    policy = str(strategy.get("retryPolicy") or "OnFailure")  # Argo's own default
    if policy not in TRIED:
        return problem(f"{key} has retryPolicy {policy!r}, which Argo does not know", f"set {OF_KFP_2_17}")
    try:
        tries = int(strategy["limit"]) + 1 if strategy.get("limit") is not None else None
    except ValueError:
        return problem(f"{key} has limit {strategy['limit']!r}, expected a number", f"set {OF_KFP_2_17}")
    if strategy and tries is None:
        return problem(
            f"{TRIED[policy]}, and each level of the graph above it without end: {key} has no limit",
            f"set {OF_KFP_2_17} there",
        )
    again = f", and {tries} times each of the {LEVELS} levels of the graph above it" if strategy else ""
    if policy == "OnError":
        return ok(
            f"{TRIED[policy]}{again}; `datum runs ID --retry` goes on with a run that a failed task ended"
        )
    return warning(
        f"{TRIED[policy]}{again} ({f'retryPolicy {policy}' if strategy else 'no retryStrategy'} in {key})",
        "go on with a run that has ended by `datum runs ID --retry`, or `submit --wait --retries N`; or set "
        f"{OF_KFP_2_17} there, which holds for everybody's pipelines",
    )
