"""`datum doctor` against a server that speaks the Kubernetes API, a real S3 store and a registry."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client as kubernetes
from rich.console import Console

from datum.cluster.doctor import Check, access, doctor, show
from datum.cluster.settings import ClusterSettings
from datum.store import open_store
from datum.transfer import publish
from tests.cluster.kfp_api import KfpApi
from tests.cluster.kfp_server import serving as serving_kfp
from tests.cluster.kubernetes_api import TOKEN, KfpHealth, KubernetesApi, Registry, serving
from tests.conftest import ACCESS_KEY, SECRET_KEY

STAGES = ("personalization", "generation", "adaptation", "evaluation", "reporting")
REPOSITORY = Path(__file__).parents[2]
CLOSED = "http://127.0.0.1:1"

Rows = dict[str, Check]
Doctor = Callable[..., Rows]


def metadata(name: str, namespace: str | None = "kubeflow", **more: Any) -> Any:
    return kubernetes.V1ObjectMeta(name=name, namespace=namespace, **more)


def a_namespace(labels: dict[str, str], phase: str = "Active") -> Any:
    return kubernetes.V1Namespace(
        kind="Namespace",
        metadata=metadata("kubeflow", None, labels=labels),
        status=kubernetes.V1NamespaceStatus(phase=phase),
    )


def a_node(name: str, gpus: int, *, taints: tuple[Any, ...] = (), ready: str = "True", **labels: str) -> Any:
    resources = {"cpu": "32", "memory": "256Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    return kubernetes.V1Node(
        kind="Node",
        metadata=metadata(
            name, None, labels={key.replace("__", "."): value for key, value in labels.items()}
        ),
        spec=kubernetes.V1NodeSpec(taints=list(taints)),
        status=kubernetes.V1NodeStatus(
            allocatable=resources,
            capacity=resources,
            conditions=[kubernetes.V1NodeCondition(type="Ready", status=ready)],
        ),
    )


def a_taint(value: str = "present") -> Any:
    return kubernetes.V1Taint(key="nvidia.com/gpu", value=value, effect="NoSchedule")


def a_secret(name: str, **values: str) -> Any:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return kubernetes.V1Secret(kind="Secret", metadata=metadata(name), data=data)


def a_claim(phase: str) -> Any:
    return kubernetes.V1PersistentVolumeClaim(
        kind="PersistentVolumeClaim",
        metadata=metadata("datasets"),
        status=kubernetes.V1PersistentVolumeClaimStatus(
            phase=phase, capacity={"storage": "200Gi"}, access_modes=["ReadOnlyMany"]
        ),
    )


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry that holds the five images, and lets everybody pull."""
    server = Registry()
    server.manifests = {f"team/datum-{stage}/manifests/0.1.0" for stage in STAGES}
    with serving(server):
        yield server


@pytest.fixture
def kfp() -> Iterator[KfpHealth]:
    server = KfpHealth()
    with serving(server):
        yield server


@pytest.fixture
def cluster(
    kfp: KfpHealth, s3_environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KubernetesApi]:
    """A cluster that has all that a run needs, as the current kube context."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    api = KubernetesApi()
    api.kfp_url = kfp.url
    api.put(a_namespace({"pod-security.kubernetes.io/enforce": "baseline"}))
    api.put(kubernetes.V1ServiceAccount(kind="ServiceAccount", metadata=metadata("datum-runner")))
    api.put(
        a_secret(
            "mlpipeline-minio-artifact",
            accesskey=ACCESS_KEY,
            secretkey=SECRET_KEY,
        )
    )
    api.put(a_node("cpu-1", 0))
    api.put(a_node("gpu-1", 4, **{"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}))
    with serving(api):
        api.write_kubeconfig(tmp_path / "kubeconfig")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield api


@pytest.fixture(scope="module")
def bucket(s3_endpoint: str) -> str:
    """One for all tests, since a bucket takes the server seconds; each test keeps to a folder of its own."""
    client(s3_endpoint).make_bucket("doctor")
    return "doctor"


@pytest.fixture
def place(bucket: str, tmp_path: Path) -> str:
    """A folder of the bucket, as a URI."""
    return f"s3://{bucket}/{tmp_path.name}"


def client(endpoint: str) -> Any:
    from minio import Minio

    return Minio(endpoint.removeprefix("http://"), ACCESS_KEY, SECRET_KEY, secure=False)


@pytest.fixture
def examine(cluster: KubernetesApi, registry: Registry, s3_endpoint: str, place: str) -> Doctor:
    """Runs the doctor with settings that fit the cluster, changed as said; returns its rows by name."""

    def run(**changes: Any) -> Rows:
        given = {
            "store_endpoint": s3_endpoint,
            "registry": f"{registry.host}/team",
            "datasets": f"{place}/datasets",
            "state": f"{place}/state",
        }
        checks = doctor(ClusterSettings(**(given | changes)))
        for width in (40, 100):
            text = shown(checks, width)
            assert_no_secret(text)
        return {check.name: check for check in checks}

    return run


def shown(checks: list[Check], width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(checks, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def assert_no_secret(text: str) -> None:
    for secret in (SECRET_KEY, base64.b64encode(SECRET_KEY.encode()).decode(), TOKEN):
        assert secret not in text


def problems(rows: Rows) -> list[str]:
    return [name for name, check in rows.items() if check.status == "problem"]


def test_that_a_fit_cluster_has_neither_problem_nor_warning(examine: Doctor) -> None:
    rows = examine()
    assert {check.status for check in rows.values()} == {"ok"}, rows
    assert list(rows) == [
        "kube context",
        "Kubernetes API",
        "namespace",
        "Pod Security",
        "your permissions",
        "service account",
        "task permissions",
        "KFP",
        "GPU nodes",
        "StorageClass",
        "data volume",
        "store secret",
        "store",
        "source",
        "target",
        "images",
        "hub token",
    ]
    assert rows["kube context"].found.startswith("tests, http://127.0.0.1:")
    assert rows["Kubernetes API"].found == "Kubernetes v1.34.2"
    assert rows["KFP"].found == "KFP 2.17.0, single-user"
    assert rows["GPU nodes"].found == "4 x NVIDIA-A100-SXM4-80GB on 1 of 1 GPU nodes"


def test_that_nothing_is_left_in_the_store(examine: Doctor, place: str) -> None:
    assert examine()["store"].status == "ok"
    assert open_store(place).list() == []


def test_that_credentials_that_the_api_server_refuses_are_one_problem(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.write_kubeconfig(Path(os.environ["KUBECONFIG"]), token="expired")
    rows = examine()
    assert problems(rows) == ["Kubernetes API"]
    assert "401" in rows["Kubernetes API"].found
    assert "log in" in rows["Kubernetes API"].remedy
    unchecked = [
        name for name, check in rows.items() if check.found.startswith("not checked: Kubernetes API comes")
    ]
    assert {"namespace", "KFP", "GPU nodes", "store secret", "store"} <= set(unchecked)
    assert rows["images"].status == "ok", "what needs no cluster is checked all the same"


def test_that_a_forbidden_look_is_a_warning_and_the_rest_is_checked(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.faults["/api/v1/nodes"] = 403
    cluster.faults["/api/v1/namespaces/kubeflow/secrets"] = 403
    rows = examine()
    assert problems(rows) == []
    assert rows["GPU nodes"].found.startswith("not checked: you may not look: 403 nodes is forbidden")
    assert "administrator" in rows["GPU nodes"].remedy
    assert rows["store secret"].status == rows["store"].status == rows["hub token"].status == "warning"
    assert rows["store"].found == "not checked: its secret could not be read"


def test_that_a_user_who_may_do_nothing_has_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.faults["/api"] = 403
    rows = examine()
    assert problems(rows) == ["your permissions", "KFP"]
    assert "system:basic-user" in rows["your permissions"].remedy


def test_that_a_missing_namespace_is_named(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.remove("Namespace", "kubeflow")
    rows = examine()
    assert rows["namespace"].found == "there is no namespace kubeflow"
    assert "make kfp" in rows["namespace"].remedy
    assert rows["store"].found == "not checked: namespace comes first"
    assert rows["GPU nodes"].status == "ok"


def test_that_a_namespace_about_to_go_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_namespace({}, phase="Terminating"))
    assert examine()["namespace"].found == "kubeflow is Terminating"


def test_that_a_namespace_without_pod_security_is_a_warning(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_namespace({"pod-security.kubernetes.io/warn": "restricted"}))
    row = examine()["Pod Security"]
    assert row.status == "warning"
    assert "kubectl label namespace kubeflow pod-security.kubernetes.io/enforce=baseline" in row.remedy


@pytest.mark.parametrize(("status", "remedy"), [(500, "readyz"), (409, "again"), (503, "readyz")])
def test_that_a_failing_api_server_is_a_problem_in_the_row_it_failed_in(
    examine: Doctor, cluster: KubernetesApi, status: int, remedy: str
) -> None:
    cluster.faults["/api/v1/nodes"] = status
    rows = examine()
    assert problems(rows) == ["GPU nodes"]
    assert str(status) in rows["GPU nodes"].found
    assert remedy in rows["GPU nodes"].remedy


def test_that_an_api_server_that_does_not_answer_is_waited_for_once(
    examine: Doctor, cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datum.cluster.doctor.checks.READ_SECONDS", 0.3)
    cluster.faults["/version"] = 0
    rows = examine()
    assert problems(rows) == ["Kubernetes API"]
    assert "timed out" in rows["Kubernetes API"].found
    assert cluster.requests == ["/version/"]
    assert "kubectl config view" in rows["Kubernetes API"].remedy


def test_that_one_slow_answer_is_a_problem_of_its_own_row(
    examine: Doctor, cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datum.cluster.doctor.checks.READ_SECONDS", 0.5)
    cluster.faults["/api/v1/nodes"] = 0
    assert problems(examine()) == ["GPU nodes"]


def test_that_an_api_server_that_is_not_there_is_a_problem(
    examine: Doctor, cluster: KubernetesApi, tmp_path: Path
) -> None:
    config = (tmp_path / "kubeconfig").read_text().replace(cluster.url, CLOSED)
    (tmp_path / "kubeconfig").write_text(config)
    row = examine()["Kubernetes API"]
    assert row.status == "problem"
    assert "Connection refused" in row.found


def test_that_a_page_instead_of_the_api_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.page = b"<html>Please log in</html>"
    row = examine()["Kubernetes API"]
    assert row.status == "problem"
    assert "no usable answer" in row.found


@pytest.mark.parametrize("content", [None, "", "{[", "apiVersion: v1\nkind: Config\ncontexts: []\n"])
def test_that_a_kubeconfig_that_cannot_be_used_is_a_problem(
    examine: Doctor, tmp_path: Path, content: str | None
) -> None:
    (tmp_path / "kubeconfig").unlink()
    if content is not None:
        (tmp_path / "kubeconfig").write_text(content)
    rows = examine()
    assert problems(rows) == ["kube context"]
    assert str(tmp_path / "kubeconfig") in rows["kube context"].found
    assert "use-context" in rows["kube context"].remedy


def test_that_an_old_kubernetes_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.version = ("1", "29+", "v1.29.9-eks-1")
    row = examine()["Kubernetes API"]
    assert (row.status, row.found) == ("problem", "Kubernetes v1.29.9-eks-1, expected 1.30 or newer")


def test_that_a_denied_permission_is_named(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.denied = {("create", "roles"), ("patch", "roles"), ("create", "services/proxy")}
    row = examine()["your permissions"]
    assert row.status == "problem"
    assert "create/patch roles in kubeflow" in row.found
    assert "create services/proxy ml-pipeline:http in kubeflow" in row.found
    assert "--clusterrole=admin" in row.remedy


@pytest.mark.parametrize("overlay", ["default", "minio"])
def test_that_every_resource_of_the_manifests_is_asked_for(overlay: str) -> None:
    rendered = subprocess.run(
        [
            Path(sys.executable).with_name("kubectl"),
            "kustomize",
            REPOSITORY / "manifests" / "overlays" / overlay,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    settings = ClusterSettings(
        overlay=overlay,  # type: ignore[arg-type]
        store_endpoint="http://minio.datum-store.svc:9000" if overlay == "minio" else "http://seaweedfs:8333",
    )
    asked = {(right["resource"], right.get("namespace", "")) for right in access.deploy_rights(settings)}
    for manifest in yaml.safe_load_all(rendered.stdout):
        kind = manifest["kind"].lower()
        plural = kind.removesuffix("y") + "ies" if kind.endswith("y") else kind + "s"
        assert (plural, manifest["metadata"].get("namespace", "")) in asked, manifest


def test_that_a_service_account_that_deploy_makes_is_a_warning(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.remove("ServiceAccount", "datum-runner", "kubeflow")
    cluster.denied_runner = {("create", "workflowtaskresults")}
    rows = examine()
    assert problems(rows) == []
    assert rows["service account"].status == rows["task permissions"].status == "warning"
    assert rows["task permissions"].found == "datum-runner may not create workflowtaskresults"
    assert "make deploy" in rows["task permissions"].remedy


def test_that_who_may_not_ask_about_others_is_told_how_an_administrator_can(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.faults["/apis/authorization.k8s.io/v1/subjectaccessreviews"] = 403
    row = examine()["task permissions"]
    assert row.status == "warning"
    assert "kubectl auth can-i --list --as=system:serviceaccount:kubeflow:datum-runner" in row.remedy


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
def test_that_kfp_must_be_new_enough(examine: Doctor, kfp: KfpHealth, tag: str, status: str) -> None:
    kfp.tag = tag
    row = examine()["KFP"]
    assert row.status == status
    assert tag in row.found


def test_that_absent_kfp_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.kfp_url = ""
    row = examine()["KFP"]
    assert row.status == "problem"
    assert row.found.startswith("no KFP at service ml-pipeline in kubeflow: 404")
    assert "make kfp" in row.remedy


def test_that_kfp_without_a_ready_pod_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.kfp_url = CLOSED
    row = examine()["KFP"]
    assert row.status == "problem"
    assert "503" in row.found
    assert "get pods -l app=ml-pipeline" in row.remedy


def test_that_kfp_is_asked_at_its_host_if_one_is_set(
    examine: Doctor, cluster: KubernetesApi, kfp: KfpHealth
) -> None:
    cluster.kfp_url = ""
    assert examine(kfp_host=kfp.url)["KFP"].status == "ok"
    row = examine(kfp_host=CLOSED)["KFP"]
    assert row.status == "problem"
    assert row.found.startswith(f"{CLOSED} does not answer")


def test_that_a_login_page_is_not_taken_for_kfp(examine: Doctor, kfp: KfpHealth) -> None:
    kfp.page = b"<html>Please log in</html>"
    row = examine(kfp_host=kfp.url)["KFP"]
    assert row.status == "problem"
    assert "login page" in row.found


def test_that_kfp_that_hides_its_version_is_a_warning(examine: Doctor, cluster: KubernetesApi) -> None:
    kfp = KfpApi()
    kfp.version = ""
    with serving_kfp(kfp) as cluster.kfp_url:
        row = examine()["KFP"]
    assert row.status == "warning"
    assert "get deployment ml-pipeline" in row.remedy


def test_that_an_address_that_is_no_url_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    assert examine(kfp_host="localhost:8888")["KFP"].remedy.startswith("expected a URL")
    for endpoint in ("seaweedfs:8333", "http://", "http://seaweedfs:port"):
        row = examine(store_endpoint=endpoint, source="s3://b/gta", target="s3://b/cityscapes")["store"]
        assert (row.status, row.found) == ("problem", f"store_endpoint is {endpoint}")


@pytest.mark.parametrize(("status", "remedy"), [(401, "create token"), (403, "kubeflow-edit"), (500, "logs")])
def test_that_kfp_that_refuses_is_a_problem(
    examine: Doctor, kfp: KfpHealth, status: int, remedy: str
) -> None:
    kfp.status = status
    row = examine()["KFP"]
    assert row.status == "problem"
    assert str(status) in row.found
    assert remedy in row.remedy


def test_that_runs_must_live_where_kfp_starts_them(
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


def test_that_a_cluster_without_gpus_is_a_problem_unless_none_is_asked_for(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.remove("Node", "gpu-1")
    row = examine()["GPU nodes"]
    assert (row.status, row.found) == ("problem", "none of 1 nodes offers nvidia.com/gpu")
    assert "gpu_count=0" in row.remedy
    assert examine(gpu_count=0)["GPU nodes"].status == "ok"


def test_that_another_gpu_type_is_offered(examine: Doctor) -> None:
    row = examine(gpu_type="amd.com/gpu")["GPU nodes"]
    assert row.found == "none of 2 nodes offers amd.com/gpu; they offer nvidia.com/gpu"


def test_that_a_taint_without_toleration_is_a_problem_with_the_toleration_as_remedy(
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
def test_that_tolerations_count_as_kubernetes_counts_them(
    examine: Doctor, cluster: KubernetesApi, toleration: dict[str, str], status: str
) -> None:
    cluster.put(a_node("gpu-1", 4, taints=(a_taint(),)))
    assert examine(tolerations=(toleration,))["GPU nodes"].status == status


def test_that_nodes_that_cannot_take_a_task_are_told_apart(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_node("gpu-2", 1))
    cluster.put(a_node("gpu-3", 8, ready="False"))
    row = examine(gpu_count=2)["GPU nodes"]
    assert row.status == "ok"
    assert "4 x NVIDIA-A100-SXM4-80GB on 1 of 3 GPU nodes" in row.found
    assert "not gpu-2: has 1 of the 2 GPUs that a task asks for" in row.found
    assert "not gpu-3: not ready" in row.found


def test_that_a_node_selector_that_fits_no_node_is_a_problem(examine: Doctor) -> None:
    selector = {"nvidia.com/gpu.product": "Tesla-T4"}
    row = examine(node_selector=selector)["GPU nodes"]
    assert row.status == "problem"
    assert "NVIDIA-A100-SXM4-80GB, node_selector wants Tesla-T4" in row.found
    selector = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    assert examine(node_selector=selector)["GPU nodes"].status == "ok"


def test_that_the_minio_overlay_needs_a_default_storage_class(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    row = examine(overlay="minio")["StorageClass"]
    assert row.status == "problem"
    assert "there are none" in row.found
    a_class = kubernetes.V1StorageClass(
        kind="StorageClass", metadata=metadata("fast", None), provisioner="example.org/fast"
    )
    cluster.put(a_class)
    row = examine(overlay="minio")["StorageClass"]
    assert row.remedy == "kubectl annotate storageclass fast storageclass.kubernetes.io/is-default-class=true"
    a_class.metadata.annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    assert examine(overlay="minio")["StorageClass"].found == "fast is the default"


def test_that_a_data_volume_must_be_bound(examine: Doctor, cluster: KubernetesApi) -> None:
    assert (
        "there is no PersistentVolumeClaim datasets" in examine(data_volume="datasets")["data volume"].found
    )
    cluster.put(a_claim("Pending"))
    row = examine(data_volume="datasets")["data volume"]
    assert (row.status, row.found) == ("problem", "PersistentVolumeClaim datasets is Pending, expected Bound")
    assert "describe persistentvolumeclaim datasets" in row.remedy
    cluster.put(a_claim("Bound"))
    rows = examine(data_volume="datasets", source="/data/gta", target="/data/cityscapes")
    assert problems(rows) == []
    assert rows["data volume"].found == "datasets is bound, 200Gi, ReadOnlyMany"


def test_that_a_path_of_the_data_volume_needs_one(examine: Doctor) -> None:
    rows = examine(source="/data/gta", target="cityscapes")
    assert problems(rows) == ["source", "target"]
    assert "data_volume is empty" in rows["source"].found
    assert "s3://bucket/folder" in rows["target"].remedy


def test_that_a_store_secret_is_there_and_whole(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_secret("half", accesskey="x"))
    row = examine(store_secret="half")["store secret"]
    assert (row.status, row.found) == (
        "problem",
        "secret half has no key secretkey; the keys are accesskey and secretkey",
    )
    rows = examine(store_secret="absent")
    assert rows["store secret"].found == "there is no secret absent in kubeflow"
    assert rows["store"].found == "not checked: store secret comes first"


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"accesskey": "nobody", "secretkey": "a-wrong-one"}, "does not know the accesskey"),
        ({"accesskey": "tests", "secretkey": "a-wrong-one"}, "the secretkey of secret wrong is wrong"),
    ],
)
def test_that_keys_that_the_store_refuses_are_a_problem(
    examine: Doctor, cluster: KubernetesApi, keys: dict[str, str], found: str
) -> None:
    cluster.put(a_secret("wrong", **keys))
    row = examine(store_secret="wrong")["store"]
    assert row.status == "problem"
    assert found in row.found
    assert "a-wrong-one" not in row.found + row.remedy


def test_that_a_missing_bucket_is_a_problem(examine: Doctor) -> None:
    row = examine(state="s3://no-such-bucket/state")["store"]
    assert row.status == "problem"
    assert "there is no bucket no-such-bucket" in row.found


def test_that_a_store_that_cannot_be_written_is_a_problem(
    examine: Doctor, s3_endpoint: str, s3_bucket: str
) -> None:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:PutObject"],
        "Resource": [f"arn:aws:s3:::{s3_bucket}/*"],
    }
    client(s3_endpoint).set_bucket_policy(
        s3_bucket, json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    row = examine(datasets=f"s3://{s3_bucket}/datasets")["store"]
    assert row.status == "problem"
    assert row.found.startswith(f"s3://{s3_bucket}/datasets can be read but not written")


def a_service(name: str, port: int) -> Any:
    return kubernetes.V1Service(
        kind="Service",
        metadata=metadata(name),
        spec=kubernetes.V1ServiceSpec(ports=[kubernetes.V1ServicePort(port=port)]),
    )


def a_slice(ready: bool) -> Any:
    conditions = kubernetes.V1EndpointConditions(ready=ready)
    return kubernetes.V1EndpointSlice(
        kind="EndpointSlice",
        address_type="IPv4",
        metadata=metadata("seaweedfs-abcde", labels={"kubernetes.io/service-name": "seaweedfs"}),
        endpoints=[kubernetes.V1Endpoint(addresses=["10.0.0.7"], conditions=conditions)],
    )


def test_that_of_a_store_that_only_pods_reach_the_service_is_checked(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    inside = "http://seaweedfs.kubeflow:8333"
    assert examine(store_endpoint=inside)["store"].found == "there is no service seaweedfs in kubeflow"
    cluster.put(a_service("seaweedfs", 9000))
    assert "has ports [9000], not 8333" in examine(store_endpoint=inside)["store"].found
    cluster.put(a_service("seaweedfs", 8333))
    cluster.put(a_slice(ready=False))
    row = examine(store_endpoint=inside)["store"]
    assert (row.status, row.found) == ("problem", "service seaweedfs in kubeflow has no ready pod")
    cluster.put(a_slice(ready=True))
    rows = examine(store_endpoint=inside, source="s3://b/gta", target="s3://b/cityscapes")
    assert problems(rows) == []
    assert rows["store"].status == rows["source"].status == "warning"
    assert "port-forward service/seaweedfs 8333" in rows["store"].remedy
    assert "--set store_endpoint=http://localhost:8333" in rows["store"].remedy


def test_that_a_store_elsewhere_that_is_not_reached_is_a_problem(examine: Doctor) -> None:
    row = examine(store_endpoint=CLOSED)["store"]
    assert row.status == "problem"
    assert "Connection refused" in row.found


def test_that_what_the_minio_overlay_makes_may_be_missing_before(examine: Doctor) -> None:
    rows = examine(
        overlay="minio", store_secret="datum-store", store_endpoint="http://minio.datum-store.svc:9000"
    )
    assert problems(rows) == ["StorageClass"]
    assert rows["store secret"].status == rows["store"].status == "warning"


def upload(uri: str, *names: str) -> None:
    store = open_store(uri)
    for name in names:
        store.write_bytes(name, b"png")


def test_that_data_sets_are_verified_by_their_listing(examine: Doctor, place: str) -> None:
    source, target = f"{place}/raw/synthia", f"{place}/raw/cityscapes"
    rows = examine(source=source, target=target)
    assert rows["source"].found == f"{source} has no images/ or RGB/"
    assert rows["target"].found == f"{target} has no leftImg8bit/"
    upload(source, "RGB/0000001.png", "RGB/0000002.png", "GT/LABELS/0000001.png", "README")
    frame = "leftImg8bit/{}/ulm/ulm_000001_000019_leftImg8bit.png"
    label = "gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png"
    upload(target, frame.format("val"), label)
    rows = examine(source=source, target=target)
    assert "1 of 2 frames lack image or label, such as 0000002" in rows["source"].found
    assert rows["target"].found == f"{target} has no image in leftImg8bit/train"
    upload(source, "GT/LABELS/0000002.png")
    upload(target, frame.format("train"))
    rows = examine(source=source, target=target)
    assert rows["source"].found.startswith(f"{source}: SYNTHIA, 2 images, 2 with labels")
    assert rows["target"].found.startswith(f"{target}: Cityscapes, 2 images, 1 with labels")
    assert problems(rows) == []


def test_that_an_ingested_data_set_is_verified_by_its_index(
    examine: Doctor, place: str, tmp_path: Path
) -> None:
    for name in ("images/00001.png", "labels/00001.png"):
        (tmp_path / "gta" / name).parent.mkdir(parents=True)
        (tmp_path / "gta" / name).write_bytes(b"png")
    source = publish(tmp_path / "gta", f"{place}/datasets", "gta")
    rows = examine(source=source, target=f"{place}/datasets/cityscapes-0")
    assert rows["source"].found.endswith("GTA, 1 images, 1 with labels; every file of its index is there")
    assert rows["target"].status == "warning", "the ingest pipeline is yet to fill it"
    open_store(source).delete("labels/00001.png")
    row = examine(source=source, target=source)["source"]
    assert (row.status, row.remedy) == ("problem", "run datum-ingest again")


def test_that_a_source_without_target_is_a_problem(examine: Doctor, place: str) -> None:
    upload(f"{place}/gta", "images/00001.png", "labels/00001.png")
    rows = examine(source=f"{place}/gta")
    assert problems(rows) == ["target"]
    assert rows["target"].found == "target is empty, but source is given"


def test_that_images_that_are_not_pushed_yet_are_a_warning(examine: Doctor, registry: Registry) -> None:
    registry.manifests.remove("team/datum-adaptation/manifests/0.1.0")
    row = examine()["images"]
    assert row.status == "warning"
    assert row.found == f"not in the registry yet: {registry.host}/team/datum-adaptation:0.1.0"
    assert "make images push" in row.remedy


def test_that_pushed_images_that_the_registry_lost_are_a_problem(
    examine: Doctor, registry: Registry, tmp_path: Path
) -> None:
    digests = {stage: "sha256:" + f"{index}" * 64 for index, stage in enumerate(STAGES)}
    names = {stage: f"{registry.host}/team/datum-{stage}@{digest}" for stage, digest in digests.items()}
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "images.json").write_text(json.dumps(names))
    registry.manifests = {f"team/datum-{stage}/manifests/{digest}" for stage, digest in digests.items()}
    assert examine()["images"].status == "ok"
    registry.manifests.pop()
    row = examine()["images"]
    assert row.status == "problem"
    assert "the registry lost" in row.found
    (tmp_path / "build" / "images.json").write_text("{")
    assert examine()["images"].remedy == "`make images` writes it anew"


def test_that_a_private_registry_is_asked_with_the_credentials_of_docker(
    examine: Doctor, registry: Registry, tmp_path: Path
) -> None:
    registry.user = ("alice", "opensesame")
    row = examine()["images"]
    assert row.status == "problem"
    assert "refuses anonymous pulls: 401" in row.found
    assert f"docker login {registry.host}" in row.remedy
    (tmp_path / "docker").mkdir()
    auth = base64.b64encode(b"alice:opensesame").decode()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
    row = examine()["images"]
    assert row.status == "ok"
    assert "with your credentials" in row.found


def test_that_docker_credential_helpers_are_asked(
    examine: Doctor, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.user = ("alice", "opensesame")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"credHelpers": {registry.host: "tests"}}))
    assert examine()["images"].status == "problem", "a helper that is not installed has nothing"
    helper = tmp_path / "docker-credential-tests"
    helper.write_text(
        textwrap.dedent(f"""\
        #!/bin/sh
        test "$1 $(cat)" = "get {registry.host}" && echo '{{"Username": "alice", "Secret": "opensesame"}}'
        """)
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert examine()["images"].status == "ok"


@pytest.mark.parametrize("status", [403, 500])
def test_that_a_registry_that_refuses_or_fails_is_a_problem(
    examine: Doctor, registry: Registry, status: int
) -> None:
    registry.status = status
    row = examine()["images"]
    assert row.status == "problem"
    assert str(status) in row.found
    assert row.found.startswith("5 of 5 images")


def test_that_a_registry_out_of_reach_is_a_problem(examine: Doctor) -> None:
    row = examine(registry="127.0.0.1:1/team")["images"]
    assert row.status == "problem"
    assert "does not answer" in row.found


def test_that_without_a_registry_the_nodes_must_hold_the_images(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    row = examine(registry="")["images"]
    assert row.status == "warning"
    assert all(f"datum-{stage}:0.1.0" in row.found for stage in STAGES)
    node = a_node("kind-control-plane", 0)
    node.status.images = [
        kubernetes.V1ContainerImage(names=[f"docker.io/library/datum-{stage}:0.1.0"]) for stage in STAGES
    ]
    cluster.put(node)
    assert examine(registry="")["images"].found == "all 5 are on the nodes"


def test_that_the_hub_token_is_optional_but_whole(examine: Doctor, cluster: KubernetesApi) -> None:
    assert "it is optional" in examine()["hub token"].found
    cluster.put(a_secret("datum-hub", tokn="hf_x"))
    row = examine()["hub token"]
    assert (row.status, row.found) == ("problem", "secret datum-hub has no key token")
    cluster.put(a_secret("datum-hub", token="hf_x"))
    assert examine()["hub token"].found == "secret datum-hub has a token"


def test_that_a_narrow_terminal_loses_no_word_of_a_remedy(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_node("gpu-1", 4, taints=(a_taint(),)))
    checks = list(examine().values())
    text = "".join(shown(checks, 40).split())
    for check in checks:
        # Every line of a row continues in the last column, so its words follow one another.
        assert "".join(check.remedy.split()) in text.replace("→", "")
    assert "1problem,nowarningsin17checks" in text


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from datum.cli import main; main()", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"},
    )


def test_that_the_command_ends_with_2_where_there_is_a_problem(
    cluster: KubernetesApi, registry: Registry, s3_endpoint: str, place: str
) -> None:
    settings = [
        f"--set={setting}"
        for setting in (
            f"store_endpoint={s3_endpoint}",
            f"datasets={place}/datasets",
            f"state={place}/state",
            f"registry={registry.host}/team",
        )
    ]
    done = run_command(*settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no problems, no warnings in 17 checks" in done.stdout
    cluster.remove("Node", "gpu-1")
    done = run_command(*settings)
    assert (done.returncode, done.stderr) == (2, "")
    assert "1 problem, no warnings in 17 checks" in done.stdout
    assert_no_secret(done.stdout)
