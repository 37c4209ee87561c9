"""A run seen by its Workflow, where KFP's API tells of its tasks no more."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kfp_server_api import V2beta1Run

from datum.cluster.kubernetes_access import UnreadableError
from datum.cluster.watched import Task, Watched
from datum.cluster.workflow import snapshot
from tests.cluster.argo import Work, pod_name, workflow
from tests.cluster.conftest import Cluster
from tests.cluster.kfp_api import node, show_nodes
from tests.cluster.one_run import task_keys
from tests.cluster.workloads import Workloads


def states(err: str) -> dict[str, str]:
    """The last state of each task that a command has printed."""
    lines = [line.split("] ", 1)[1] for line in err.splitlines() if "] " in line]
    return {name: state.partition(" after ")[0] for name, state in (line.split(": ", 1) for line in lines)}


def freeze(run: V2beta1Run, state: str, keys: dict[str, str]) -> None:
    """Brings a run to `state` with what KFP tells where Argo compresses: the last nodes before."""
    show_nodes(run, state, [node("root", "RUNNING"), node(keys["check parameters"], "RUNNING")])


def failed_in(keys: dict[str, str], name: str) -> dict[str, Work]:
    """All tasks succeeded but `name`, which failed at its second try, and the report."""
    work = {key: Work() for key in keys.values()}
    work[keys[name]] = Work("Failed", ("Failed", "Failed"), "Error (exit code 1)")
    work[keys["report"]] = Work("Omitted")
    return work


def test_a_run_whose_nodes_argo_compresses_is_shown_to_its_end(
    uploaded: Cluster, workloads: Workloads
) -> None:
    def on_look(run: V2beta1Run) -> None:
        keys = task_keys(uploaded.api, run)
        freeze(run, "FAILED", keys)
        workloads.workflows[run.run_id] = workflow(
            run.run_id, failed_in(keys, "seed 2 · adapt"), "Failed", compressed=True, padding=9000
        )

    uploaded.api.on_look = on_look
    ended = uploaded.datum("submit", "--wait")
    (run,) = uploaded.api.runs.values()
    assert len(json.dumps(workloads.workflows[run.run_id])) < 100_000
    assert ended.status == 1 and "the task 'seed 2 · adapt' failed" in ended.err
    seen = states(ended.err)
    assert seen.pop("seed 2 · adapt") == "failed" and seen.pop("report") == "left out"
    assert set(seen.values()) == {"succeeded"} and len(seen) == len(task_keys(uploaded.api, run)) - 2


def test_where_the_workflow_is_gone_or_forbidden_kfps_copy_is_read(
    uploaded: Cluster, workloads: Workloads
) -> None:
    def on_look(run: V2beta1Run) -> None:
        keys = task_keys(uploaded.api, run)
        freeze(run, "SUCCEEDED", keys)
        work = {key: Work() for key in keys.values()}
        uploaded.api.manifests[run.run_id] = json.dumps(workflow(run.run_id, work, compressed=True))

    uploaded.api.on_look = on_look
    for status in (None, 403, 500):
        if status:
            workloads.faults["/apis/argoproj.io"] = status
        ended = uploaded.datum("submit", "--wait")
        assert ended.status == 0 and set(states(ended.err).values()) == {"succeeded"}


def test_what_is_not_known_is_not_called_left_out(uploaded: Cluster) -> None:
    uploaded.api.on_look = lambda run: freeze(run, "FAILED", task_keys(uploaded.api, run))
    ended = uploaded.datum("submit", "--wait")
    assert ended.status == 1 and set(states(ended.err).values()) == {"unknown"}


def test_a_run_that_is_tried_again_is_not_ended_by_a_late_report(
    uploaded: Cluster, workloads: Workloads
) -> None:
    looks = iter(range(9))

    def on_look(run: V2beta1Run) -> None:
        keys, late = task_keys(uploaded.api, run), next(looks) < 4
        show_nodes(run, "FAILED" if late else "SUCCEEDED", [])
        work = {key: Work("Running" if late else "Succeeded", ("Running",)) for key in keys.values()}
        workloads.workflows[run.run_id] = workflow(run.run_id, work, "Running" if late else "Succeeded")

    uploaded.api.on_look = on_look
    assert uploaded.datum("submit", "--wait").status == 0


def test_the_tries_of_a_task_are_its_pods_in_their_order() -> None:
    work = {"adapt": Work("Failed", ("Failed", "Failed")), "adapt-2": Work(), "report": Work("Failed", ())}
    seen = snapshot(workflow("r", work, "Failed"))
    assert [attempt.pod for attempt in seen.tries("adapt")] == [pod_name("adapt", 0), pod_name("adapt", 1)]
    assert [attempt.pod for attempt in seen.tries("adapt-2")] == [pod_name("adapt-2")]
    # Its driver failed.
    assert [attempt.display_name for attempt in seen.tries("report")] == ["report-driver"]


def test_a_task_whose_driver_failed_has_failed_and_its_driver_says_why() -> None:
    """By the Workflow of a real run on KFP 2.17.0 and Argo 4.0.5."""
    file = Path(__file__).with_name("workflows") / "driver_failed.json"
    seen = snapshot(json.loads(file.read_text(encoding="utf-8")))
    run = V2beta1Run(run_id="r", state="FAILED", created_at=datetime(2026, 11, 26, 5, tzinfo=UTC))
    run.finished_at = run.created_at
    keys = ("check-parameters", "ingest-target", "select-one-shot", "adapt")
    watched = Watched("first", "", [Task(key, key) for key in keys])
    watched.update(run, seen)
    assert [task.state for task in watched.tasks] == ["succeeded", "succeeded", "failed", "left out"]
    (driver,) = seen.tries("select-one-shot")
    assert driver.pod == "datum-reproduction-jvs4l-system-container-driver-1768771591"
    assert driver.message == "main: Error (exit code 1)"


@pytest.mark.parametrize(
    "status, said",
    [
        ({"offloadNodeStatusVersion": "fnv:123"}, "offloadNodeStatusVersion fnv:123"),
        ({"compressedNodes": "KLUv/QBY"}, "WORKFLOW_COMPRESSION_ALGORITHM"),
    ],
)
def test_nodes_that_cannot_be_read_are_said(status: dict[str, Any], said: str) -> None:
    with pytest.raises(UnreadableError, match=said):
        snapshot({"metadata": {"name": "w"}, "status": status})


def test_offloaded_nodes_are_said_once_and_nothing_is_claimed(
    uploaded: Cluster, workloads: Workloads
) -> None:
    def on_look(run: V2beta1Run) -> None:
        freeze(run, "FAILED", task_keys(uploaded.api, run))
        whole = workflow(run.run_id, {}, "Failed")
        whole["status"] = {"phase": "Failed", "offloadNodeStatusVersion": "fnv:123"}
        workloads.workflows[run.run_id] = whole

    uploaded.api.on_look = on_look
    ended = uploaded.datum("submit", "--wait")
    assert ended.status == 1 and set(states(ended.err).values()) == {"unknown"}
    assert ended.err.count("offloadNodeStatusVersion fnv:123") == 1
