"""`datum doctor` says what KFP tries again on the cluster, as its Argo's settings have it."""

from typing import Any

import pytest

from tests.cluster.doctor.objects import Doctor, a_config_map, a_controller
from tests.cluster.kubernetes_api import KubernetesApi

DEFAULTS = "workflowDefaults: {spec: {templateDefaults: {retryStrategy: {limit: 1, retryPolicy: OnError}}}}"


def test_a_lost_pod_is_tried_again_as_kfp_2_17_has_it(examine: Doctor) -> None:
    row = examine()["retries"]
    assert row.status == "ok"
    assert row.found == (
        "a lost pod (deleted, preempted, its node drained or gone), not a failed task, and 3 times each of "
        "the 3 levels of the graph above it; `datum runs ID --retry` goes on with a run that a failed task "
        "ended"
    )


@pytest.mark.parametrize(
    ("strategy", "status", "found", "remedy"),
    [
        (
            None,
            "warning",
            "a failed task (out of memory, killed, evicted), not a lost pod (no retry",
            "--retry",
        ),
        (
            {"limit": "2"},
            "warning",
            "not a lost pod, and 3 times each of the 3 levels",
            "retryPolicy: OnError",
        ),
        (
            {"limit": 2, "retryPolicy": "Always"},
            "warning",
            "a lost pod and a failed task, and 3 times each of the 3 levels of the graph above it (retry",
            "retryPolicy: OnError",
        ),
        ({"limit": 1, "retryPolicy": "OnTransientError"}, "warning", "neither a lost pod nor", "--retries N"),
        ({"limit": 1, "expression": "true"}, "warning", "what the expression 'true' says", "manual"),
        ({"retryPolicy": "OnError"}, "problem", "without end: workflowDefaults.spec", 'limit: "2"'),
        ({"limit": "x", "retryPolicy": "OnError"}, "problem", "has limit 'x', expected a number", "limit"),
        ({"limit": 1, "retryPolicy": "Never"}, "problem", "has retryPolicy 'Never', which Argo", "OnError"),
    ],
    ids=[
        "2.15 and 2.16",
        "limit alone",
        "always",
        "transient",
        "expression",
        "endless",
        "no number",
        "unknown",
    ],
)
def test_what_is_tried_again_otherwise_is_said_with_what_to_do(
    examine: Doctor, cluster: KubernetesApi, strategy: Any, status: str, found: str, remedy: str
) -> None:
    cluster.put(a_controller(strategy))
    row = examine()["retries"]
    assert row.status == status
    assert found in row.found
    assert remedy in row.remedy


def test_settings_in_one_key_are_read_too(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_config_map(config=DEFAULTS))
    row = examine()["retries"]
    assert row.status == "ok"
    assert "and 2 times each" in row.found


@pytest.mark.parametrize("text", ["a: [", "[1]", "spec: text"])
def test_settings_that_cannot_be_read_are_a_problem(
    examine: Doctor, cluster: KubernetesApi, text: str
) -> None:
    cluster.put(a_config_map(workflowDefaults=text))
    row = examine()["retries"]
    assert (row.status, row.remedy.partition(":")[0]) == ("problem", "correct its key workflowDefaults")


def test_who_may_not_read_them_or_finds_none_is_told_so(examine: Doctor, cluster: KubernetesApi) -> None:
    path = "/api/v1/namespaces/kubeflow/configmaps/workflow-controller-configmap"
    cluster.faults[path] = 403
    row = examine()["retries"]
    assert row.status == "warning"
    assert "you may not look: 403" in row.found
    cluster.faults.clear()
    cluster.remove("ConfigMap", "workflow-controller-configmap", "kubeflow")
    row = examine()["retries"]
    assert row.status == "warning"
    assert row.found.startswith("not known: there is no ConfigMap workflow-controller-configmap in kubeflow")
