"""Runs that are disturbed: each ends with the figures of the undisturbed one, and nobody helps."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.real_cluster.conftest import OUTAGE
from tests.real_cluster.live_cluster import LiveCluster

STORE = "seaweedfs"
"""KFP's own store, where the overlays `default` and `seaweedfs` keep everything."""
IN_TRAINING = r"\b(?:[4-9]\d|1\d\d|2[0-2]\d)/240\b"
"""A line of the progress of a training well before its end. States are stored beside it: the first one, of
iteration 20, has had as long again to arrive."""
PROCESSES = """
import os, pathlib, signal, time
def found(word):
    files = pathlib.Path("/proc").glob("[0-9]*/cmdline")
    return [int(file.parent.name) for file in files if word in file.read_bytes().split(bytes(1))]
task, launcher = found(b"kfp.dsl.executor_main"), found(b"/kfp-launcher/launch")
"""
"""The processes of a task's container, for Python within it."""
KILL = "for process in task: os.kill(process, signal.SIGKILL)"
EAT = """
import subprocess, sys
for process in task: pathlib.Path(f"/proc/{process}/oom_score_adj").write_text("1000")
eat = "import os, time; eaten = os.urandom(2**20) * 100; time.sleep(60)"
eaters = [subprocess.Popen([sys.executable, "-c", eat]) for _ in range(40)]
time.sleep(60)
"""
"""Memory that other processes of the container take, each less than the task, until the kernel ends what it
likes least: the task."""
HOLD = """
for process in launcher: os.kill(process, signal.SIGSTOP)
while found(b"kfp.dsl.executor_main"): time.sleep(1)
"""
"""The launcher is held until the task has ended, before it moves the results."""
RELEASE = "for process in launcher: os.kill(process, signal.SIGCONT)"


def act(cluster: LiveCluster, pod: str, script: str, *, fails: bool = False) -> None:
    """Runs a script of Python, which may end its own container, beside a task."""
    command = ["kubectl", "-n", cluster.namespace, "exec", pod, "-c", "main", "--", "python3", "-c"]
    subprocess.run([*command, PROCESSES + script], check=not fails)


def train(cluster: LiveCluster, name: str) -> str:
    """A run whose training is in its middle; nothing of it comes from the cache."""
    run = cluster.submit("reproduction", "--no-cache", f"--name={name}")
    cluster.reach(run, "adapt", IN_TRAINING)
    return run


def figures_after_a_loss(cluster: LiveCluster, run: str) -> dict[str, Any]:
    """The figures of a run that has lost a pod. Where Argo looks between its end and its removal, it sees a
    failed task, which KFP 2.17 does not try again: the run goes on by `--retry`."""
    if "exit code 143" in cluster.finish(run, status=None):
        cluster.datum("runs", run, "--retry")
    return cluster.figures(run)


@contextmanager
def away(cluster: LiveCluster, name: str) -> Iterator[None]:
    """KFP's deployment `name` has no pods."""
    cluster.scale(name, 0)
    try:
        yield
    finally:
        cluster.scale(name, 1)


def test_a_pod_that_is_deleted_in_training_goes_on_from_its_state(
    cluster: LiveCluster, undisturbed: dict[str, Any]
) -> None:
    run = train(cluster, "pod deleted")
    cluster.kubectl(
        "delete", "pod", cluster.running_pod(run, "adaptation")["metadata"]["name"], "--wait=false"
    )
    assert figures_after_a_loss(cluster, run) == undisturbed
    assert "resuming at iteration" in cluster.log(run, "adapt")


def test_a_training_goes_on_when_its_node_is_drained(
    cluster: LiveCluster, undisturbed: dict[str, Any]
) -> None:
    if len(json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]) < 2:
        pytest.skip("the cluster has one node, and a drained one needs another to go to")
    run = train(cluster, "node drained")
    node = cluster.running_pod(run, "adaptation")["spec"]["nodeName"]
    evicting = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=5m")
    try:
        cluster.kubectl("drain", node, *evicting)
        assert figures_after_a_loss(cluster, run) == undisturbed
    finally:
        cluster.kubectl("uncordon", node)
    assert "resuming at iteration" in cluster.log(run, "adapt")


def test_a_training_waits_for_a_store_that_is_away(cluster: LiveCluster, undisturbed: dict[str, Any]) -> None:
    run = train(cluster, "store away in training")
    with away(cluster, STORE):
        time.sleep(OUTAGE)
        assert cluster.running_pod(run, "adaptation")
    assert cluster.figures(run) == undisturbed


def test_results_wait_for_a_store_that_is_away(cluster: LiveCluster, undisturbed: dict[str, Any]) -> None:
    """The store goes between the end of a training and the transfer of what it has made."""
    run = train(cluster, "store away at an upload")
    pod = cluster.running_pod(run, "adaptation")["metadata"]["name"]
    act(cluster, pod, HOLD)
    with away(cluster, STORE):
        act(cluster, pod, RELEASE)
        time.sleep(OUTAGE)
    assert cluster.figures(run) == undisturbed
    assert "resuming at iteration" not in cluster.log(run, "adapt")


@pytest.mark.parametrize("name", ["metadata-grpc-deployment", "workflow-controller", "ml-pipeline"])
def test_a_run_lives_through_a_restart_of(
    cluster: LiveCluster, undisturbed: dict[str, Any], name: str
) -> None:
    run = train(cluster, f"{name} restarted")
    cluster.restart(name)
    assert cluster.figures(run) == undisturbed


@pytest.mark.parametrize("fault", [KILL, EAT], ids=["killed", "out of memory"])
def test_a_failed_training_goes_on_by_retry_and_nothing_finished_is_repeated(
    cluster: LiveCluster, undisturbed: dict[str, Any], fault: str
) -> None:
    run = train(cluster, "training failed")
    before = {pod["metadata"]["uid"]: pod["status"]["phase"] for pod in cluster.pods(run)}
    act(cluster, cluster.running_pod(run, "adaptation")["metadata"]["name"], fault, fails=True)
    assert "seed 1 · adapt: failed" in cluster.finish(run, status=1)
    cluster.datum("runs", run, "--retry")
    assert cluster.figures(run) == undisturbed
    assert "resuming at iteration" in cluster.log(run, "adapt")
    # A pod that is tried again has its name again, but is another.
    labels = {pod["metadata"]["uid"]: pod["metadata"]["labels"] for pod in cluster.pods(run)}
    assert {uid for uid, phase in before.items() if phase == "Succeeded"} <= labels.keys()
    new = {labels[uid]["app.kubernetes.io/component"] for uid in labels.keys() - before.keys()}
    assert new == {"adaptation", "evaluation", "reporting"}
