"""The store and KFP's pages through the Kubernetes API, with a real S3 server behind it."""

import base64
import hashlib
import os
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client import V1ObjectMeta, V1Secret

from datum.cluster.kubernetes_access import KubernetesAccess, UnreadableError
from datum.cluster.port_forward import forwarded
from datum.cluster.settings import ClusterSettings
from datum.store import Access, open_store
from tests.cluster.conftest import Cluster
from tests.cluster.kfp_api import show_nodes
from tests.cluster.one_run import finish_and, publish, start, wait_for
from tests.cluster.workloads import Workloads
from tests.conftest import ACCESS_KEY, SECRET_KEY


@pytest.fixture
def from_inside(s3_bucket: str) -> Access:
    """How pods reach the store."""
    return Access.from_environment(s3_bucket)


@pytest.fixture
def only_for_pods(
    s3_bucket: str, from_inside: Access, workloads: Workloads, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, str]]:
    """A store that only pods reach: nothing in the environment. Gives where reports are kept."""
    workloads.serve("seaweedfs", 8333, int(os.environ["S3_ENDPOINT"].rpartition(":")[2]))
    data = {"accesskey": ACCESS_KEY, "secretkey": SECRET_KEY}
    workloads.put(
        V1Secret(
            kind="Secret",
            metadata=V1ObjectMeta(name="mlpipeline-minio-artifact", namespace="kubeflow"),
            data={key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        )
    )
    with monkeypatch.context() as environment:
        for name in ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.delenv(name)
        yield "--set", f"reports=s3://{s3_bucket}/reports"


def test_results_are_fetched_without_a_tunnel_and_without_keys(
    uploaded: Cluster,
    workloads: Workloads,
    only_for_pods: tuple[str, str],
    from_inside: Access,
    s3_bucket: str,
    tmp_path: Path,
) -> None:
    uploaded.api.on_look = finish_and(uploaded.api, lambda run: publish(s3_bucket, run, access=from_inside))
    ended = uploaded.datum("submit", "--output", str(tmp_path / "result"), *only_for_pods)
    assert ended.status == 0 and (tmp_path / "result/report.html").exists()
    assert SECRET_KEY not in ended.err + ended.out
    assert "  58.2  " in uploaded.datum("runs", *only_for_pods).out


def test_who_may_not_read_the_secret_is_told_what_to_set(
    uploaded: Cluster, workloads: Workloads, only_for_pods: tuple[str, str], tmp_path: Path
) -> None:
    workloads.faults["/api/v1/namespaces/kubeflow/secrets"] = 403
    ended = uploaded.datum("submit", "--output", str(tmp_path / "result"), *only_for_pods)
    assert ended.status == 2 and "403: mlpipeline-minio-artifact is forbidden" in ended.err
    assert "or set S3_ENDPOINT, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in ended.err
    assert uploaded.api.posts() == []


@pytest.mark.parametrize("away", ["no pod", "busy", "silent"])
def test_a_store_that_is_restarting_is_a_fault_that_may_pass(
    uploaded: Cluster, workloads: Workloads, only_for_pods: tuple[str, str], tmp_path: Path, away: str
) -> None:
    uploaded.datum("submit")
    (run,) = uploaded.api.runs.values()
    show_nodes(run, "SUCCEEDED", [])
    if away == "no pod":
        workloads.pods["seaweedfs-0"].status.conditions[0].status = "False"
    else:
        workloads.faults["/api/v1/namespaces/kubeflow/services/seaweedfs"] = 503 if away == "busy" else 0
    said = {"no pod": "has no ready pod", "busy": "503: ", "silent": "does not answer"}[away]
    before = uploaded.api.posts()
    for command in (("runs", run.run_id), ("submit",)):
        ended = uploaded.datum(*command, "--output", str(tmp_path / "result"), *only_for_pods)
        assert ended.status == 75 and said in ended.err and len(ended.err.splitlines()) == 1
    assert uploaded.api.posts() == before and not (tmp_path / "result").exists()


def test_who_may_not_forward_ports_is_told_the_right_that_is_missing(
    uploaded: Cluster, workloads: Workloads, only_for_pods: tuple[str, str]
) -> None:
    uploaded.datum("submit")
    show_nodes(next(iter(uploaded.api.runs.values())), "SUCCEEDED", [])
    workloads.may_forward = False
    ended = uploaded.datum("runs", *only_for_pods)
    assert ended.status == 0 and "mIoU is not shown" in ended.err
    assert "it takes the right to create" in ended.err and "pods/portforward in kubeflow" in ended.err


def test_a_large_file_and_many_connections_arrive_whole(
    workloads: Workloads, only_for_pods: tuple[str, str], from_inside: Access, s3_bucket: str, tmp_path: Path
) -> None:
    content = os.urandom(48 << 20)
    open_store(f"s3://{s3_bucket}/large", from_inside).write_bytes("file", content)
    kubernetes = KubernetesAccess.find(ClusterSettings())
    assert kubernetes
    with forwarded(kubernetes, "kubeflow", "seaweedfs", 8333) as port:
        access = Access(endpoint=f"http://127.0.0.1:{port}", access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        store = open_store(f"s3://{s3_bucket}/large", access)
        digests: list[str] = []

        def fetch(number: int) -> None:
            store.get("file", tmp_path / f"copy-{number}")
            digests.append(hashlib.sha256((tmp_path / f"copy-{number}").read_bytes()).hexdigest())

        threads = [threading.Thread(target=fetch, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert digests == [hashlib.sha256(content).hexdigest()] * 4
        store.write_bytes("back", content)
    assert open_store(f"s3://{s3_bucket}/large", from_inside).read_bytes("back") == content
    assert workloads.forwards > 4


@pytest.mark.parametrize(
    "service, port, said",
    [
        ("absent", 80, "no service absent"),
        ("seaweedfs", 80, "has no port 80"),
        ("idle", 80, "has no ready pod"),
    ],
)
def test_what_stands_in_the_way_is_said_before_anything_is_served(
    workloads: Workloads, service: str, port: int, said: str
) -> None:
    workloads.serve("seaweedfs", 8333, 1)
    workloads.serve("idle", 80, 1)
    workloads.pods["idle-0"].status.conditions[0].status = "False"
    kubernetes = KubernetesAccess.find(ClusterSettings())
    assert kubernetes
    with pytest.raises(UnreadableError, match=said), forwarded(kubernetes, "kubeflow", service, port):
        pass


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_runs_page_is_served_and_opened_until_it_is_ended(
    uploaded: Cluster, workloads: Workloads, tmp_path: Path, end: signal.Signals
) -> None:
    uploaded.datum("submit")
    run_id = next(iter(uploaded.api.runs))
    port = int(uploaded.url.rpartition(":")[2])
    workloads.kfp_url = uploaded.url
    workloads.serve("ml-pipeline-ui", 80, port)
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >{opened}.new && mv {opened}.new {opened}\n')
    browser.chmod(0o755)
    environment = {**os.environ, "BROWSER": f"{browser} %s"}
    process = start(("runs", run_id, "--open"), stdout=subprocess.PIPE, env=environment)
    wait_for(opened.exists)
    page = opened.read_text().strip()
    assert page.endswith(f"/#/runs/details/{run_id}")
    with urllib.request.urlopen(page.partition("#")[0] + "apis/v2beta1/healthz", timeout=10) as answer:
        assert answer.status == 200
    process.send_signal(end)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out.decode().strip()) == (0, page)
