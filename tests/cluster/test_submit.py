"""`datum submit` against a server that speaks KFP's API, and a real store."""

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp_server_api import V2beta1Run

from datum.cluster import watch
from datum.cluster.run_arguments import pipeline_spec
from datum.cluster.settings import ClusterSettings
from datum.store import Access, open_store
from tests.cluster.conftest import Cluster
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


def fail(api: KfpApi, name: str) -> Callable[[V2beta1Run], None]:
    """A cluster on which the task `name` fails."""

    def on_look(run: V2beta1Run) -> None:
        show_nodes(run, "FAILED", [node(task_keys(api, run)[name], "FAILED")])

    return on_look


def test_a_run_is_filled_from_the_settings(uploaded: Cluster, tmp_path: Path) -> None:
    settings = tmp_path / "settings.env"
    settings.write_text(
        "SOURCE=s3://data/gta\nTARGET=s3://data/cityscapes\nPIPELINE_ROOT=minio://b/root\n"
        "STATE=s3://data/state\nEXPERIMENT=lab\nSERVICE_ACCOUNT=runner\n"
    )
    ended = uploaded.datum("submit", "--settings", str(settings), "--name", "first")
    assert ended.status == 0
    run = only_run(uploaded.api)
    assert ended.out == f"{run.run_id}  {uploaded.url}/#/runs/details/{run.run_id}\n"
    assert (run.display_name, run.service_account) == ("first", "runner")
    (experiment,) = uploaded.api.experiments.values()
    assert (experiment.display_name, run.experiment_id) == ("lab", experiment.experiment_id)
    assert run.runtime_config.pipeline_root == "minio://b/root"
    given = run.runtime_config.parameters
    assert (given["data_source"], given["data_target"]) == ("s3://data/gta", "s3://data/cityscapes")
    assert given["run_installation"]["state"] == "s3://data/state"
    assert "namespace" not in given and "schedule" not in given


@pytest.mark.parametrize("name", ["reproduction", "training", "ingest", "ablation", "cells", "baselines"])
def test_every_pipeline_can_be_submitted(uploaded: Cluster, name: str) -> None:
    assert uploaded.datum("submit", name).status == 0
    run = only_run(uploaded.api)
    version = uploaded.api.versions[run.pipeline_version_reference.pipeline_version_id]
    assert pipeline_spec(version.pipeline_spec)["pipelineInfo"]["name"] == f"datum-{name}"
    assert run.display_name.startswith(f"{name} 20")


@pytest.mark.parametrize(
    "name, pipeline",
    [("daformer-gta-mit-b5", "reproduction"), ("daformer-synthia-mit-b5-uda", "training")],
)
def test_an_experiment_is_submitted_to_the_pipeline_that_makes_what_it_trains_on(
    uploaded: Cluster, name: str, pipeline: str
) -> None:
    ended = uploaded.datum("submit", "--experiment", name, "--param", "method_encoder=mit-b0")
    assert ended.status == 0
    run = only_run(uploaded.api)
    version = uploaded.api.versions[run.pipeline_version_reference.pipeline_version_id]
    assert pipeline_spec(version.pipeline_spec)["pipelineInfo"]["name"] == f"datum-{pipeline}"
    given = run.runtime_config.parameters
    assert (given["method"], given["method_encoder"]) == (name, "mit-b0")
    unknown = uploaded.datum("submit", "--experiment", "daformer-gta-mit-b6")
    assert unknown.status == 2 and "did you mean daformer-gta-mit-b5?" in unknown.err


def test_parameters_are_read_by_their_types(uploaded: Cluster) -> None:
    ended = uploaded.datum(
        "submit",
        *("--param", 'run_overrides=["adaptation.iterations=10"]'),
        *("--param", 'run_installation={"state": "s3://b/state"}'),
        *("--param", "data_title=a = b"),
        *("--param", "data_source="),
    )
    assert ended.status == 0
    given = only_run(uploaded.api).runtime_config.parameters
    assert given["run_overrides"] == ["adaptation.iterations=10"]
    # Key by key: the others are the settings'.
    installation = {**ClusterSettings().as_json(), "state": "s3://b/state"}
    assert given["run_installation"] == installation
    assert (given["data_title"], given["data_source"]) == ("a = b", "")


@pytest.mark.parametrize(
    "text, said",
    [
        ("data_titel=x", "no parameter data_titel; did you mean data_title?"),
        ("xyzzy=x", "no parameter xyzzy; it has data_benchmark, data_one_shots"),
        ("state=s3://b", """it is a key of one: --param 'run_installation={"state": "s3://b"}'"""),
        ("gpu_count=0", "it is compiled in: datum upload --set gpu_count=0"),
        ("encoder_weights=random", "did you mean method_encoder_weights?"),
        ("data_title", "found no =, expected NAME=VALUE"),
        ("run_overrides=a", "found 'a', expected a JSON list"),
        ('run_overrides={"a": 1}', "expected a JSON list"),
        ("run_installation=[]", "expected a JSON object"),
    ],
)
def test_a_wrong_parameter_starts_nothing(uploaded: Cluster, text: str, said: str) -> None:
    ended = uploaded.datum("submit", "--param", text)
    assert ended.status == 2
    assert ended.err.startswith(f"datum: --param {text}: ") and said in ended.err
    assert uploaded.api.posts() == []


@pytest.mark.parametrize(
    "text, said",
    [
        ("published", ""),
        ("https://server/mit_b5.pth", ""),
        ("hf://nvidia/mit-b5", ""),
        ("ftp://server/mit_b5.pth", "unknown scheme, expected a .pth or .safetensors file, an s3:// URI"),
    ],
)
def test_weights_are_named_on_a_cluster_as_on_one_machine(uploaded: Cluster, text: str, said: str) -> None:
    ended = uploaded.datum("submit", "--param", f"method_encoder_weights={text}")
    assert ended.status == (2 if said else 0) and said in ended.err


def test_a_training_that_nobody_gives_weights_is_refused_before_it_starts(uploaded: Cluster) -> None:
    unnamed = ("--param", "method_encoder_weights=")
    ended = uploaded.datum("submit", *unnamed)
    assert ended.status == 2
    assert "set ENCODER_WEIGHTS in settings.env to their s3:// URI" in ended.err
    assert uploaded.datum("schedule", "weekly", *unnamed).status == 2
    assert uploaded.api.posts() == []
    for without in (
        'run_installation={"profile": "demo"}',
        'run_overrides=["adaptation.pretrained_encoder=a"]',
        # A training that starts from a trained network needs no others, nor does one that names its own.
        'run_overrides=["adaptation.initial_segmentor=s3://models/latest.pth"]',
        "method=daformer-gta-mit-b5",
    ):
        assert uploaded.datum("submit", *unnamed, "--param", without).status == 0
    assert uploaded.datum("submit", "ingest").status == 0


def test_without_settings_nothing_is_changed_and_what_looks_says_so(
    uploaded: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "manifests" / "overlays" / "default" / "settings.env"
    monkeypatch.chdir(tmp_path / "manifests")
    for command in (("submit",), ("upload",), ("schedule", "weekly")):
        ended = uploaded.datum(*command)
        assert ended.status == 2 and "run this in the checkout" in ended.err and not uploaded.api.posts()
    ended = uploaded.datum("runs")
    assert ended.status == 0 and "settings: built in, since there is no manifests/" in ended.err
    ended = uploaded.datum("runs", "absent")
    assert ended.status == 2 and len(ended.err.splitlines()) == 1 and "settings: built in" in ended.err
    assert uploaded.datum("submit", "--settings", str(file)).status == 0
    monkeypatch.chdir(tmp_path)
    assert "settings:" not in uploaded.datum("runs").err


@pytest.mark.parametrize(
    "text, said",
    [
        ("method=dafomer", "datum: the run's fields: run.method: found 'dafomer'"),
        ('run_overrides=["generation.cuont=16"]', "datum: the run's fields: generation.cuont=16: "),
    ],
)
def test_a_wrong_field_is_not_answered_with_an_option_that_nobody_gave(
    uploaded: Cluster, text: str, said: str
) -> None:
    ended = uploaded.datum("submit", "--param", text)
    assert ended.status == 2 and ended.err.startswith(said) and not uploaded.api.posts()


def test_a_mistyped_option_is_answered_by_its_own_command(uploaded: Cluster) -> None:
    ended = uploaded.datum("submit", "--wiat")
    assert (ended.status, ended.err) == (
        2,
        "datum submit: unrecognized arguments: --wiat; did you mean --wait?; see datum submit --help\n",
    )


def test_a_pipeline_that_does_not_make_what_is_trained_on_is_refused_before_it_starts(
    uploaded: Cluster,
) -> None:
    daformer = ("--param", "method=daformer")
    ended = uploaded.datum("submit", "training", *daformer)
    assert ended.status == 2 and uploaded.api.posts() == []
    assert "choose method=source-only or method=one-image" in ended.err
    on_all = ("--param", 'run_overrides=["run.target_images=all"]')
    ended = uploaded.datum("submit", *on_all)
    assert ended.status == 2 and "start the pipeline training" in ended.err
    for works in ((), (*daformer, *on_all), ("--param", "method=one-image")):
        assert uploaded.datum("submit", "training", *works).status == 0
    assert len(uploaded.api.runs) == 3


@pytest.mark.parametrize(
    "text, said",
    [
        (
            'run_installation={"stat": "s3://b"}',
            "found the key 'stat'; did you mean state?",
        ),
        ('run_installation={"state": 1}', "run_installation: found state=1, expected a text"),
        ('run_installation={"profile": "huge"}', "found profile='huge', expected demo or paper"),
        ("data_title={{workflow.name}}", "data_title: found '{{workflow.name}}', where Argo takes {{"),
        ('run_overrides=["a={{=1}}"]', "run_overrides: found 'a={{=1}}', where Argo takes {{"),
        ('run_installation={"state": "s3://{{x}}"}', "run_installation: found 's3://{{x}}', where Argo"),
    ],
)
@pytest.mark.parametrize("command", [("submit",), ("schedule", "weekly")])
def test_what_no_task_could_take_starts_nothing(
    uploaded: Cluster, command: tuple[str, ...], text: str, said: str
) -> None:
    ended = uploaded.datum(*command, "--param", text)
    assert ended.status == 2 and said in ended.err and len(ended.err.splitlines()) == 1
    assert uploaded.api.posts() == []


def test_settings_that_need_an_upload_first_are_said(uploaded: Cluster) -> None:
    ended = uploaded.datum("submit", "--set", "gpu_count=0", "--set", "source=s3://b/gta")
    assert ended.status == 0
    said = "gpu_count: 1 is compiled in, the settings say 0; `datum upload` changes it"
    assert [line for line in ended.err.splitlines() if "compiled in" in line] == [said]


@pytest.mark.parametrize("command", [("submit",), ("schedule", "weekly")])
def test_seeds_that_are_not_compiled_in_start_nothing(uploaded: Cluster, command: tuple[str, ...]) -> None:
    ended = uploaded.datum(*command, "--set", "seeds=[2]")
    assert ended.status == 2 and len(ended.err.splitlines()) == 1
    assert "seeds: [1, 2, 3] is compiled in, the settings say [2]; `datum upload` changes it" in ended.err
    assert uploaded.api.posts() == []


def test_without_an_upload_it_says_so(cluster: Cluster) -> None:
    ended = cluster.datum("submit")
    assert ended.status == 2 and "`make deploy` uploads it" in ended.err
    assert cluster.api.posts() == []


def test_without_the_cache_no_task_takes_an_earlier_result(uploaded: Cluster) -> None:
    version = next(v for v in uploaded.api.versions.values() if "report" in str(v.pipeline_spec))
    assert "enableCache" in str(version.pipeline_spec)
    assert uploaded.datum("submit", "--no-cache").status == 0
    run = only_run(uploaded.api)
    assert run.pipeline_version_reference is None
    assert "enableCache" not in str(run.pipeline_spec) and "platform_spec" in run.pipeline_spec


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["drop", "stall", 500, 503])
def test_a_failing_network_never_makes_two_runs(uploaded: Cluster, kind: int | str) -> None:
    uploaded.api.fail("POST .*/runs$", kind, seconds=1.0)
    ended = uploaded.datum("submit", "--name", "once")
    assert ended.status == 0
    assert ended.out.startswith(only_run(uploaded.api).run_id)


def test_a_run_of_the_same_name_is_another_run(uploaded: Cluster) -> None:
    uploaded.datum("submit", "--name", "twin")
    uploaded.api.fail("POST .*/runs$", "drop")
    ended = uploaded.datum("submit", "--name", "twin")
    _, second = uploaded.api.runs.values()
    assert ended.status == 0 and ended.out.startswith(second.run_id)


def test_a_request_that_may_still_arrive_is_not_repeated(uploaded: Cluster) -> None:
    uploaded.api.fail("POST .*/runs$", "lose")
    ended = uploaded.datum("submit", "--name", "lost")
    assert ended.status == 2
    assert "whether the run 'lost' was started is unknown: look with `datum runs`" in ended.err
    assert sum(line.endswith("/runs") for line in uploaded.api.posts()) == 1


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


def start(arguments: tuple[str, ...], **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "datum", *arguments], **options)


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


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


@pytest.fixture
def reports(s3_bucket: str) -> tuple[str, str]:
    """Arguments that have reports kept in a fresh bucket of a real store."""
    return "--set", f"reports=s3://{s3_bucket}/reports"


def finish_and(api: KfpApi, then: Callable[[str], None]) -> Callable[[V2beta1Run], None]:
    def on_look(run: V2beta1Run) -> None:
        succeed(api)(run)
        then(run.run_id)

    return on_look


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
