"""A run on the server that speaks KFP's API: what becomes of it, and what a test asks of it."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from kfp_server_api import V2beta1Run

from datum.cluster.run_arguments import pipeline_spec
from datum.store import Access, open_store
from tests.cluster.kfp_api import KfpApi, node, show_nodes

CHECKPOINT = b"weights"


def only_run(api: KfpApi) -> V2beta1Run:
    (run,) = api.runs.values()
    return run


def task_keys(api: KfpApi, run: V2beta1Run) -> dict[str, str]:
    """Names in the spec of the run's tasks, by the names for a person."""
    reference = run.pipeline_version_reference
    spec = api.versions[reference.pipeline_version_id].pipeline_spec if reference else run.pipeline_spec
    tasks = pipeline_spec(spec)["root"]["dag"]["tasks"]
    return {task["taskInfo"]["name"]: key for key, task in tasks.items()}


def succeed(api: KfpApi) -> Callable[[V2beta1Run], None]:
    """A cluster on which runs succeed when they are looked at."""

    def on_look(run: V2beta1Run) -> None:
        nodes = [node(key, "SUCCEEDED") for key in task_keys(api, run).values()]
        show_nodes(run, "SUCCEEDED", nodes)

    return on_look


def start(arguments: tuple[str, ...], **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "datum", *arguments], **options)


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def publish(
    bucket: str,
    run_id: str,
    *,
    digest: str = hashlib.sha256(CHECKPOINT).hexdigest(),
    access: Access | None = None,
) -> None:
    """What the report task of a run leaves in the store."""
    store = open_store(f"s3://{bucket}/reports/{run_id}", access)
    store.write_bytes("report.html", b"<html>")
    store.write_bytes("median_checkpoint/best.safetensors", CHECKPOINT)
    store.write_bytes("median_checkpoint/config.yaml", b"{}")
    checkpoint = {"seed": 2, "file": "median_checkpoint/best.safetensors", "sha256": digest, "miou": 58.25}
    store.write_bytes("report.json", json.dumps({"median_checkpoint": checkpoint}).encode())


def finish_and(api: KfpApi, then: Callable[[str], None]) -> Callable[[V2beta1Run], None]:
    def on_look(run: V2beta1Run) -> None:
        succeed(api)(run)
        then(run.run_id)

    return on_look
