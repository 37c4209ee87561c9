"""`datum doctor`: KFP, and the nodes that GPU tasks run on."""

import json
from typing import Any

import pytest
from kubernetes import client as kubernetes

from tests.cluster.doctor.objects import (
    CLOSED,
    Doctor,
    a_node,
    a_taint,
    metadata,
)
from tests.cluster.kfp_api import KfpApi
from tests.cluster.kfp_server import serving as serving_kfp
from tests.cluster.kubernetes_api import KfpHealth, KubernetesApi


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        ("2.14.3", "problem"),
        ("1.8.22", "problem"),
        ("v2.15.0", "ok"),
        ("3.0.0", "ok"),
        ("unknown", "warning"),
    ],
)
def test_kfp_must_be_new_enough(examine: Doctor, kfp: KfpHealth, tag: str, status: str) -> None:
    kfp.tag = tag
    row = examine()["KFP"]
    assert row.status == status
    assert tag in row.found


def test_absent_kfp_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.kfp_url = ""
    row = examine()["KFP"]
    assert row.status == "problem"
    assert row.found.endswith(
        "/namespaces/kubeflow/services/ml-pipeline:http/proxy: found no KFP API there (404)"
    )
    assert "make kfp" in row.remedy


def test_kfp_without_a_ready_pod_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.kfp_url = CLOSED
    row = examine()["KFP"]
    assert row.status == "problem"
    assert "503" in row.found
    assert "get pods -l app=ml-pipeline" in row.remedy


def test_kfp_is_asked_at_its_host_if_one_is_set(
    examine: Doctor, cluster: KubernetesApi, kfp: KfpHealth
) -> None:
    cluster.kfp_url = ""
    assert examine(kfp_host=kfp.url)["KFP"].status == "ok"
    row = examine(kfp_host=CLOSED)["KFP"]
    assert row.status == "problem"
    assert row.found.startswith(f"KFP at {CLOSED} is out of reach") and "kfp_host" in row.remedy


def test_a_login_page_is_not_taken_for_kfp(examine: Doctor, kfp: KfpHealth) -> None:
    kfp.page = b"<html>Please log in</html>"
    row = examine(kfp_host=kfp.url)["KFP"]
    assert row.status == "problem"
    assert "found text/html" in row.found and "login page" in row.remedy


def test_kfp_that_hides_its_version_is_a_warning(examine: Doctor, cluster: KubernetesApi) -> None:
    kfp = KfpApi()
    kfp.version = ""
    with serving_kfp(kfp) as cluster.kfp_url:
        row = examine()["KFP"]
    assert row.status == "warning"
    assert "get deployment ml-pipeline" in row.remedy


def test_kfp_that_fails_is_asked_once(examine: Doctor) -> None:
    kfp = KfpApi()
    kfp.fail(".", 503, times=9)
    with serving_kfp(kfp) as url:
        row = examine(kfp_host=url)["KFP"]
    assert (row.status, len(kfp.requests)) == ("problem", 1)
    assert "503 injected 503" in row.found and "logs deployment/ml-pipeline" in row.remedy


def test_a_token_file_that_is_not_there_is_a_problem(
    examine: Doctor, kfp: KfpHealth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", "/absent/token")
    row = examine(kfp_host=kfp.url)["KFP"]
    assert (row.status, row.remedy) == ("problem", "name the file with the token")


def test_an_address_that_is_no_url_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    assert "'localhost:8888', expected a URL" in examine(kfp_host="localhost:8888")["KFP"].found
    for endpoint in ("seaweedfs:8333", "http://", "http://seaweedfs:port"):
        row = examine(store_endpoint=endpoint, source="s3://b/gta", target="s3://b/cityscapes")["store"]
        assert (row.status, row.found) == ("problem", f"store_endpoint is {endpoint}")


@pytest.mark.parametrize(("status", "remedy"), [(401, "create token"), (403, "kubeflow-edit"), (500, "logs")])
def test_kfp_that_refuses_is_a_problem(examine: Doctor, kfp: KfpHealth, status: int, remedy: str) -> None:
    kfp.status = status
    row = examine()["KFP"]
    assert row.status == "problem"
    assert str(status) in row.found
    assert remedy in row.remedy


def test_runs_must_live_where_kfp_starts_them(
    examine: Doctor, cluster: KubernetesApi, kfp: KfpHealth
) -> None:
    kfp.multi_user = True
    assert "set namespace to your profile's" in examine()["KFP"].remedy
    cluster.put(
        kubernetes.V1Namespace(
            kind="Namespace",
            metadata=metadata("alice", None),
            status=kubernetes.V1NamespaceStatus(phase="Active"),
        )
    )
    assert examine(namespace="alice")["KFP"].found == "KFP 2.17.0, multi-user"
    kfp.multi_user = False
    assert examine(namespace="alice")["KFP"].remedy == "set namespace=kubeflow"


def test_a_cluster_without_gpus_is_a_problem_unless_none_is_asked_for(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.remove("Node", "gpu-1")
    row = examine()["GPU nodes"]
    assert (row.status, row.found) == ("problem", "none of 1 nodes offers nvidia.com/gpu")
    assert "gpu_count=0 and profile=demo" in row.remedy
    assert examine(gpu_count=0)["GPU nodes"].status == "warning", "the paper profile would take weeks"
    assert examine(gpu_count=0, profile="demo")["GPU nodes"].status == "ok"


def test_another_gpu_type_is_offered(examine: Doctor) -> None:
    row = examine(gpu_type="amd.com/gpu")["GPU nodes"]
    assert row.found == "none of 2 nodes offers amd.com/gpu; they offer nvidia.com/gpu"


def test_a_taint_without_toleration_is_a_problem_with_the_toleration_as_remedy(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.put(a_node("gpu-1", 4, taints=(a_taint(),)))
    row = examine()["GPU nodes"]
    assert row.status == "problem"
    assert "gpu-1: taint nvidia.com/gpu=present:NoSchedule is not tolerated" in row.found
    setting, _, value = row.remedy.removeprefix("set ").partition("=")
    assert setting == "tolerations"
    assert examine(tolerations=tuple(json.loads(value)))["GPU nodes"].status == "ok"


@pytest.mark.parametrize(
    ("toleration", "status"),
    [
        ({"operator": "Exists"}, "ok"),
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}, "ok"),
        ({"key": "nvidia.com/gpu", "value": "present"}, "ok"),
        ({"key": "nvidia.com/gpu", "value": "absent"}, "problem"),
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}, "problem"),
    ],
)
def test_tolerations_count_as_kubernetes_counts_them(
    examine: Doctor, cluster: KubernetesApi, toleration: dict[str, str], status: str
) -> None:
    cluster.put(a_node("gpu-1", 4, taints=(a_taint(),)))
    assert examine(tolerations=(toleration,))["GPU nodes"].status == status


def test_nodes_that_cannot_take_a_task_are_told_apart(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_node("gpu-2", 1))
    cluster.put(a_node("gpu-3", 8, ready="False"))
    row = examine(gpu_count=2)["GPU nodes"]
    assert row.status == "ok"
    assert "4 x NVIDIA-A100-SXM4-80GB on 1 of 3 GPU nodes" in row.found
    assert "not gpu-2: has 1 of the 2 GPUs that a task asks for" in row.found
    assert "not gpu-3: not ready" in row.found


def test_a_node_selector_that_fits_no_node_is_a_problem(examine: Doctor) -> None:
    selector = {"nvidia.com/gpu.product": "Tesla-T4"}
    row = examine(node_selector=selector)["GPU nodes"]
    assert row.status == "problem"
    assert "NVIDIA-A100-SXM4-80GB, node_selector wants Tesla-T4" in row.found
    selector = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    assert examine(node_selector=selector)["GPU nodes"].status == "ok"


def test_the_stores_own_namespace_holds_nothing_of_others(examine: Doctor, cluster: KubernetesApi) -> None:
    def row() -> Any:
        return examine(overlay="minio", store_endpoint="http://minio.datum-store.svc:9000")["store namespace"]

    ours = {"app.kubernetes.io/part-of": "datum"}
    for name, labels in (("minio-0", ours), ("postgres-0", {})):
        assert row().status == "ok"
        pod = kubernetes.V1Pod(metadata=metadata(name, "datum-store", labels=labels), kind="Pod")
        cluster.put(pod)
    assert row().status == "problem" and row().found == "datum-store has pods of others: postgres-0"
    assert "store namespace" not in examine()
