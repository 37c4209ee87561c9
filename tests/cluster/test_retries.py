"""A run that KFP's own retry cannot mend, since KFP recorded one of its tasks twice, goes on as another."""

import dataclasses
import json
from pathlib import Path

import pytest
from kfp_server_api import V2beta1Run

from datum.cluster import watch
from datum.cluster.workflow import snapshot
from tests.cluster.argo import Work, workflow
from tests.cluster.conftest import Cluster
from tests.cluster.kfp_api import show_nodes
from tests.cluster.one_run import publish, succeed, task_keys
from tests.cluster.workloads import Workloads

ADAPT = "seed 2 · adapt"
DRIVER = (
    "F1126 05:00:33.123456       1 main.go:127] KFP driver: driver.Container(pipelineName=datum, "
    'runID=r, taskDisplayName="seed 2 · adapt", dagExecutionID=41) failed: failed to resolve inputs: '
)
"""As KFP 2.17.0 writes it, backend/src/v2: cmd/driver/main.go, driver/container.go and driver/resolve.go."""
TWICE = f'{DRIVER}two tasks have the same task name "generate_41", id1=52 id2=55'
AWAY = f"{DRIVER}rpc error: code = Unavailable desc = connection refused"


@dataclasses.dataclass
class Failing:
    """A cluster on which the drivers of the first `times` runs fail with a line in their log."""

    cluster: Cluster
    workloads: Workloads
    line: str = TWICE
    times: int = 1
    task: str = ADAPT

    def __post_init__(self) -> None:
        self.cluster.api.on_look = self.on_look

    def on_look(self, run: V2beta1Run) -> None:
        runs = self.cluster.api.runs
        if list(runs).index(run.run_id) >= self.times or run.run_id in self.cluster.api.retried:
            self.workloads.workflows.pop(run.run_id, None)
            succeed(self.cluster.api)(run)
            return
        key = task_keys(self.cluster.api, run)[self.task]
        show_nodes(run, "FAILED", [])
        self.workloads.workflows[run.run_id] = failed = workflow(
            run.run_id, {key: Work("Failed", (), "main: Error (exit code 1)")}, "Failed"
        )
        (driver,) = snapshot(failed).tries(key)
        self.workloads.logs[driver.pod] = ["I1126 05:00:31.1 1 main.go:110] Setting log level", self.line]


def parameters(run: V2beta1Run) -> dict[str, object]:
    return dict(run.runtime_config.parameters)


def test_a_run_that_kfp_cannot_try_again_goes_on_as_a_new_one(
    uploaded: Cluster, workloads: Workloads
) -> None:
    Failing(uploaded, workloads)
    ended = uploaded.datum(
        "submit", "--wait", "--retries", "1", "--name", "mine", "--param", "data_title=streets"
    )
    assert ended.status == 0 and uploaded.api.retried == []
    first, second = uploaded.api.runs.values()
    assert ended.out.splitlines() == [
        f"{first.run_id}  {uploaded.url}/#/runs/details/{first.run_id}",
        f"{second.run_id}  {uploaded.url}/#/runs/details/{second.run_id}  goes on from {first.run_id}, "
        "of which KFP has recorded a task twice and can run no more",
    ]
    assert "trying again, 1 of 1 tries left" in ended.err and "mine: succeeded" in ended.err
    assert parameters(second) == {**parameters(first), "run_resume_from": first.run_id}
    for name in ("pipeline_version_reference", "experiment_id", "service_account", "display_name"):
        assert getattr(first, name) == getattr(second, name)
    assert second.description.startswith(f"goes on from run {first.run_id}; ")


def test_the_report_is_that_of_the_run_that_went_on(
    uploaded: Cluster, workloads: Workloads, s3_bucket: str, tmp_path: Path
) -> None:
    failing = Failing(uploaded, workloads)

    def on_look(run: V2beta1Run) -> None:
        failing.on_look(run)
        if run.state == "SUCCEEDED":
            publish(s3_bucket, run.run_id)

    uploaded.api.on_look = on_look
    reports = ("--set", f"reports=s3://{s3_bucket}/reports")
    ended = uploaded.datum("submit", "--output", str(tmp_path / "result"), "--retries", "1", *reports)
    assert ended.status == 0 and (tmp_path / "result/report.html").exists()


def test_each_new_run_is_a_try_and_reads_the_state_of_all_before_it(
    uploaded: Cluster, workloads: Workloads
) -> None:
    Failing(uploaded, workloads, times=9)
    given = ("--param", "run_resume_from=earlier")
    ended = uploaded.datum("submit", "--wait", "--retries", "2", *given)
    first, second, third = uploaded.api.runs.values()
    assert ended.status == 1
    assert parameters(second)["run_resume_from"] == f"{first.run_id},earlier"
    assert parameters(third)["run_resume_from"] == f"{second.run_id},{first.run_id},earlier"
    assert ended.err.splitlines()[-1].endswith(f"/{third.run_id}")


def test_any_other_failure_is_left_to_kfps_own_retry(uploaded: Cluster, workloads: Workloads) -> None:
    Failing(uploaded, workloads, line=AWAY)
    assert uploaded.datum("submit", "--wait", "--retries", "1").status == 0
    (run,) = uploaded.api.runs.values()
    assert uploaded.api.retried == [run.run_id]


def test_a_run_goes_on_by_hand_once_whatever_the_network_does(
    uploaded: Cluster, workloads: Workloads
) -> None:
    failing = Failing(uploaded, workloads)
    uploaded.datum("submit", "--name", "mine")
    (first,) = uploaded.api.runs.values()
    failing.on_look(first)
    # The pods are gone, and so is who may read Workflows: KFP has kept both.
    uploaded.api.manifests[first.run_id] = json.dumps(workloads.workflows[first.run_id])
    uploaded.api.archived_logs = {pod: "\n".join(lines) for pod, lines in workloads.logs.items()}
    workloads.faults["/api"] = 403
    uploaded.api.fail("POST .*/runs$", "drop")
    ended = uploaded.datum("runs", first.run_id, "--retry")
    assert ended.status == 0 and uploaded.api.retried == []
    _, second = uploaded.api.runs.values()
    assert ended.out.startswith(f"{second.run_id}  ") and len(ended.out.splitlines()) == 1
    assert parameters(second)["run_resume_from"] == first.run_id


def test_a_pipeline_that_trains_nothing_is_started_as_it_was(uploaded: Cluster, workloads: Workloads) -> None:
    Failing(uploaded, workloads, task="ingest source")
    assert uploaded.datum("submit", "ingest", "--wait", "--retries", "1").status == 0
    first, second = uploaded.api.runs.values()
    assert parameters(second) == parameters(first) and "run_resume_from" not in parameters(second)


def test_a_run_without_the_cache_goes_on_without_it(uploaded: Cluster, workloads: Workloads) -> None:
    version = next(item for item in uploaded.api.versions.values() if "report" in str(item.pipeline_spec))
    Failing(uploaded, workloads)
    assert uploaded.datum("submit", "--no-cache", "--wait", "--retries", "1").status == 0
    first, second = uploaded.api.runs.values()
    assert second.pipeline_spec == first.pipeline_spec != version.pipeline_spec
    assert parameters(second)["run_resume_from"] == first.run_id


def test_where_kfp_stays_away_the_new_run_is_the_one_to_look_at(
    uploaded: Cluster, workloads: Workloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 0.2)
    failing = Failing(uploaded, workloads)

    def on_look(run: V2beta1Run) -> None:
        failing.on_look(run)
        if run.state == "SUCCEEDED":
            show_nodes(run, "RUNNING", [])
            uploaded.api.fail("GET .*/runs/", 503, times=999)

    uploaded.api.on_look = on_look
    ended = uploaded.datum("submit", "--wait", "--retries", "1")
    _, second = uploaded.api.runs.values()
    assert ended.status == 75
    assert f"the run goes on; look again with: datum runs {second.run_id}" in ended.err
