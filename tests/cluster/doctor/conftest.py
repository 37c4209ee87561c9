"""A fit cluster, and the doctor that examines it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as kubernetes

from components.images import STAGES
from datum import __version__
from datum.cluster.doctor import doctor
from datum.cluster.settings import ClusterSettings
from tests.cluster.doctor.objects import (
    Doctor,
    Rows,
    a_controller,
    a_namespace,
    a_node,
    a_secret,
    a_slice,
    assert_no_secret,
    client,
    metadata,
    shown,
)
from tests.cluster.kubernetes_api import KfpHealth, KubernetesApi, Registry
from tests.conftest import ACCESS_KEY, SECRET_KEY


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry that holds the five images, and lets everybody pull."""
    server = Registry()
    server.manifests = {f"team/datum-{stage}/manifests/{__version__}" for stage in STAGES}
    with server:
        yield server


@pytest.fixture
def kfp() -> Iterator[KfpHealth]:
    server = KfpHealth()
    with server:
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
    api.put(a_controller({"limit": "2", "retryPolicy": "OnError"}))
    api.put(a_node("cpu-1", 0))
    api.put(a_node("gpu-1", 4, **{"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}))
    api.put(a_slice("kubernetes", "default", "10.0.0.2", 6443, port_name="https"))
    api.put(a_slice("kube-dns", "kube-system", "10.0.0.3", 53, port_name="dns"))
    with api:
        api.write_kubeconfig(tmp_path / "kubeconfig")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield api


@pytest.fixture(scope="session")
def bucket(s3_endpoint: str) -> str:
    """One for all tests, since a bucket takes the server seconds; each test keeps to a folder of its own."""
    client(s3_endpoint).make_bucket("doctor")
    return "doctor"


@pytest.fixture
def place(bucket: str, tmp_path: Path) -> str:
    """A folder of the bucket, as a URI."""
    return f"s3://{bucket}/{tmp_path.name}"


@pytest.fixture
def examine(cluster: KubernetesApi, registry: Registry, s3_endpoint: str, place: str) -> Doctor:
    """Runs the doctor with settings that fit the cluster, changed as said; returns its rows by name."""

    def run(**changes: Any) -> Rows:
        given = {
            "store_endpoint": s3_endpoint,
            "registry": f"{registry.host}/team",
            "datasets": f"{place}/datasets",
            "state": f"{place}/state",
            "encoder_weights": "random",
        }
        rows = doctor(ClusterSettings(**(given | changes)))
        for width in (40, 100):
            assert_no_secret(shown(rows, width))
        return rows

    return run
