"""What a cluster of these tests is made of, and what is asserted of the doctor's table."""

import base64
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client as kubernetes
from rich.console import Console

from datum.cluster.doctor import Finding, show
from datum.store import open_store
from tests.cluster.kubernetes_api import TOKEN
from tests.conftest import ACCESS_KEY, SECRET_KEY

STAGES = ("personalization", "generation", "adaptation", "evaluation", "reporting")
REPOSITORY = Path(__file__).parents[3]
CLOSED = "http://127.0.0.1:1"
Rows = dict[str, Finding]
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


def a_controller(strategy: dict[str, Any] | None) -> Any:
    """The ConfigMap of KFP's Argo, with what is tried again; None as KFP 2.15 and 2.16 have it."""
    defaults = {"spec": {"templateDefaults": {"retryStrategy": strategy}} if strategy else {}}
    return a_config_map(workflowDefaults=yaml.safe_dump(defaults), executor="imagePullPolicy: IfNotPresent\n")


def a_config_map(**data: str) -> Any:
    named = metadata("workflow-controller-configmap")
    return kubernetes.V1ConfigMap(kind="ConfigMap", metadata=named, data=data)


def a_claim(phase: str, mode: str = "ReadOnlyMany", *, name: str = "datasets", size: str = "200Gi") -> Any:
    return kubernetes.V1PersistentVolumeClaim(
        kind="PersistentVolumeClaim",
        metadata=metadata(name),
        status=kubernetes.V1PersistentVolumeClaimStatus(
            phase=phase, capacity={"storage": size}, access_modes=[mode]
        ),
    )


def a_pod(name: str, claim: str, **labels: str) -> Any:
    source = kubernetes.V1PersistentVolumeClaimVolumeSource(claim_name=claim)
    volume = kubernetes.V1Volume(name="data", persistent_volume_claim=source)
    container = kubernetes.V1Container(name="main")
    return kubernetes.V1Pod(
        kind="Pod",
        metadata=metadata(name, labels=labels),
        spec=kubernetes.V1PodSpec(containers=[container], volumes=[volume]),
    )


def client(endpoint: str) -> Any:
    from minio import Minio

    return Minio(endpoint.removeprefix("http://"), ACCESS_KEY, SECRET_KEY, secure=False)


def shown(rows: Rows, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(rows, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def assert_no_secret(text: str) -> None:
    for secret in (SECRET_KEY, base64.b64encode(SECRET_KEY.encode()).decode(), TOKEN):
        assert secret not in text


def problems(rows: Rows) -> list[str]:
    return [name for name, check in rows.items() if check.status == "problem"]


def a_service(name: str, port: int, **selector: str) -> Any:
    return kubernetes.V1Service(
        kind="Service",
        metadata=metadata(name),
        spec=kubernetes.V1ServiceSpec(selector=selector, ports=[kubernetes.V1ServicePort(port=port)]),
    )


def a_slice(
    service: str = "seaweedfs",
    namespace: str = "kubeflow",
    address: str = "10.0.0.7",
    port: int = 8333,
    *,
    port_name: str = "",
    ready: bool = True,
) -> Any:
    labels = {"kubernetes.io/service-name": service}
    return kubernetes.V1EndpointSlice(
        kind="EndpointSlice",
        address_type="IPv4",
        metadata=metadata(f"{service}-abcde", namespace, labels=labels),
        endpoints=[
            kubernetes.V1Endpoint(
                addresses=[address], conditions=kubernetes.V1EndpointConditions(ready=ready)
            )
        ],
        ports=[kubernetes.DiscoveryV1EndpointPort(name=port_name, port=port)],
    )


def upload(uri: str, *names: str) -> None:
    store = open_store(uri)
    for name in names:
        store.write_bytes(name, b"png")


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from datum.cli import main; main()", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"},
    )
