"""`datum submit --wait` and `--output`, against a server that speaks KFP's API, and a real store."""

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kfp_server_api import V2beta1Run

from datum.cluster import watch
from tests.cluster.conftest import Cluster
from tests.cluster.kfp_api import KfpApi, node, show_nodes
from tests.cluster.one_run import (
    CHECKPOINT,
    finish_and,
    only_run,
    publish,
    start,
    succeed,
    task_keys,
    wait_for,
)


def fail(api: KfpApi, name: str) -> Callable[[V2beta1Run], None]:
    """A cluster on which the task `name` fails."""

    def on_look(run: V2beta1Run) -> None:
        show_nodes(run, "FAILED", [node(task_keys(api, run)[name], "FAILED")])

    return on_look


def test_waiting_prints_each_change_and_ends_well(uploaded: Cluster) -> None:
    api, looks = uploaded.api, iter(range(100))

    def on_look(run: V2beta1Run) -> None:
        keys, look = task_keys(api, run), next(looks)
        first = keys["check parameters"]
        match look:
            case 0:
                show_nodes(run, "PENDING", [])
            case 1:
                show_nodes(run, "RUNNING", [node("root", "RUNNING"), node(f"{first}-driver", "RUNNING")])
            case 2:
                show_nodes(run, "RUNNING", [node(f"{first}-driver", "SUCCEEDED"), node(first, "RUNNING")])
            case _:
                show_nodes(run, "SUCCEEDED", [node(key, "SUCCEEDED", seconds=484) for key in keys.values()])

    api.on_look = on_look
    ended = uploaded.datum("submit", "--wait", "--name", "watched")
    assert ended.status == 0
    changes = [re.sub(r"^[\d:]+ \[\d+/\d+\] ", "", line) for line in ended.err.splitlines()]
    assert changes[1:4] == [
        "check parameters: starting",
        "check parameters: running",
        "check parameters: succeeded after 8m04s",
    ]
    assert "seed 2 · personalize: succeeded after 8m04s" in changes
    assert changes[-1] == "watched: succeeded after 1h02m"


@pytest.mark.parametrize(
    "name, status", [("seed 2 · adapt", 1), ("check parameters", 2)], ids=["a task", "the check"]
)
def test_a_failed_run_names_the_task(uploaded: Cluster, name: str, status: int) -> None:
    uploaded.api.on_look = fail(uploaded.api, name)
    ended = uploaded.datum("submit", "--wait", "--name", "doomed")
    assert ended.status == status
    run = only_run(uploaded.api)
    assert ended.err.splitlines()[-1] == (
        f"datum: run 'doomed' failed after 1h02m: the task '{name}' failed; "
        f"the log is at {uploaded.url}/#/runs/details/{run.run_id}"
    )


def test_a_canceled_run_is_no_success(uploaded: Cluster) -> None:
    uploaded.api.on_look = lambda run: show_nodes(run, "CANCELED", [])
    ended = uploaded.datum("submit", "--wait", "--name", "stopped")
    assert ended.status == 1 and "run 'stopped' canceled after 1h02m; see " in ended.err


def test_waiting_survives_an_outage_of_kfp(uploaded: Cluster) -> None:
    finish, looks = succeed(uploaded.api), iter(range(9))

    def on_look(run: V2beta1Run) -> None:
        if next(looks):
            finish(run)
            return
        show_nodes(run, "RUNNING", [])
        # More than the retries of one look.
        uploaded.api.fail("GET .*/runs/", 503, times=12)

    uploaded.api.on_look = on_look
    assert uploaded.datum("submit", "--wait").status == 0
    assert all(fault.times == 0 for fault in uploaded.api.faults)


def test_waiting_begins_while_kfp_is_out_of_reach(uploaded: Cluster) -> None:
    uploaded.api.on_look = succeed(uploaded.api)
    # More than the retries of one look, from the first that follows the start.
    uploaded.api.fail("GET .*/runs/", 503, times=12)
    ended = uploaded.datum("submit", "--wait")
    assert ended.status == 0 and "asking again" in ended.err
    assert all(fault.times == 0 for fault in uploaded.api.faults)


def test_waiting_ends_when_kfp_stays_away(uploaded: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 0.2)

    def on_look(run: V2beta1Run) -> None:
        show_nodes(run, "RUNNING", [])
        uploaded.api.fail("GET .*/runs/", 503, times=999)

    uploaded.api.on_look = on_look
    ended = uploaded.datum("submit", "--wait")
    assert ended.status == 75
    assert f"the run goes on; look again with: datum runs {only_run(uploaded.api).run_id}" in ended.err


def test_an_interrupt_leaves_the_run_alone(uploaded: Cluster) -> None:
    uploaded.api.on_look = lambda run: show_nodes(run, "RUNNING", [])
    process = start(("submit", "--wait", *uploaded.host), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    wait_for(lambda: any(re.search(r"GET .*/runs/", line) for line in uploaded.api.requests))
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    run = only_run(uploaded.api)
    assert process.returncode == 130 and run.state == "RUNNING"
    again = f"datum: interrupted; the run goes on; look again with: datum runs {run.run_id}"
    assert err.decode().splitlines()[-1] == again
    assert not any("terminate" in line for line in uploaded.api.requests)


def test_a_terminal_shows_the_dag_by_seed(uploaded: Cluster) -> None:
    api = uploaded.api

    def on_look(run: V2beta1Run) -> None:
        keys = task_keys(api, run)
        done = [node(keys["check parameters"], "SUCCEEDED"), node(keys["ingest source"], "SUCCEEDED")]
        if sum("/v2beta1/runs/" in line for line in api.requests) < 3:
            show_nodes(run, "RUNNING", [*done, node(keys["seed 2 · personalize"], "RUNNING", seconds=3700)])
        else:
            show_nodes(run, "FAILED", [*done, node(keys["seed 2 · personalize"], "FAILED", seconds=3700)])

    api.on_look = on_look
    terminal, inside = pty.openpty()
    environment = {**os.environ, "COLUMNS": "140", "LINES": "50", "TERM": "xterm"}
    process = start(
        ("submit", "--wait", *uploaded.host), stderr=inside, stdout=subprocess.DEVNULL, env=environment
    )
    os.close(inside)
    shown = b""
    while chunk := read(terminal):
        shown += chunk
    assert process.wait(timeout=20) == 1
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(r"● reproduction .*  running  .* 2 of \d+ tasks done, 1 at work", text)
    assert re.search(r"seed 1  0/\d+ .*seed 2  0/\d+ .*seed 3  0/\d+ ", text)
    assert re.search(r"● personalize +1h01m", text) and re.search(r"✗ personalize +1h01m", text)
    assert "the task 'seed 2 · personalize' failed" in text


def read(terminal: int) -> bytes:
    """What a program has written to its terminal; nothing once it has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


@pytest.fixture
def reports(s3_bucket: str) -> tuple[str, str]:
    """Arguments that have reports kept in a fresh bucket of a real store."""
    return "--set", f"reports=s3://{s3_bucket}/reports"


def test_output_holds_the_report_and_the_median_checkpoint(
    uploaded: Cluster, reports: tuple[str, str], s3_bucket: str, tmp_path: Path
) -> None:
    uploaded.api.on_look = finish_and(uploaded.api, lambda run_id: publish(s3_bucket, run_id))
    output = tmp_path / "result"
    ended = uploaded.datum("submit", "--output", str(output), *reports)
    assert ended.status == 0 and ended.out.splitlines()[-1] == str(output / "report.html")
    files = {str(file.relative_to(output)) for file in output.rglob("*") if file.is_file()}
    assert files - {"provenance.json"} == {
        "report.html",
        "report.json",
        "median_checkpoint/best.safetensors",
        "median_checkpoint/config.yaml",
    }
    assert (output / "median_checkpoint/best.safetensors").read_bytes() == CHECKPOINT
    again = uploaded.datum(
        "runs", only_run(uploaded.api).run_id, "--output", str(tmp_path / "again"), *reports
    )
    assert again.status == 0 and (tmp_path / "again/report.json").exists()


def test_a_damaged_checkpoint_leaves_no_output(
    uploaded: Cluster, reports: tuple[str, str], s3_bucket: str, tmp_path: Path
) -> None:
    uploaded.api.on_look = finish_and(
        uploaded.api, lambda run_id: publish(s3_bucket, run_id, digest="0" * 64)
    )
    ended = uploaded.datum("submit", "--output", str(tmp_path / "result"), *reports)
    assert ended.status == 75 and "arrived with another SHA-256" in ended.err
    assert f"try again with: datum runs {only_run(uploaded.api).run_id} --output" in ended.err
    assert not (tmp_path / "result").exists()


def test_a_run_without_a_report_says_so(uploaded: Cluster, reports: tuple[str, str], tmp_path: Path) -> None:
    uploaded.api.on_look = succeed(uploaded.api)
    ended = uploaded.datum("submit", "--output", str(tmp_path / "result"), *reports)
    assert ended.status == 2 and "has no report at s3://" in ended.err
    assert not (tmp_path / "result").exists()


def test_output_is_checked_before_a_run_is_started(
    uploaded: Cluster, reports: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").touch()
    for arguments, said in (
        (("--output", str(full), *reports), "holds something already"),
        (("ingest", "--output", str(tmp_path / "new"), *reports), "ingest writes no report"),
        (("--output", str(tmp_path / "new"), "--set", "reports=s3://absent/reports"), "NoSuchBucket"),
    ):
        ended = uploaded.datum("submit", *arguments)
        assert ended.status == 2 and said in ended.err
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    ended = uploaded.datum("submit", "--output", str(tmp_path / "new"), *reports)
    assert ended.status == 2 and "lacks AWS_SECRET_ACCESS_KEY" in ended.err
    assert "S3_ENDPOINT is http://seaweedfs.kubeflow:8333 to pods" in ended.err
    assert uploaded.api.posts() == []
