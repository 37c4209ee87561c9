"""What failed tasks have written, on the terminal; ending and trying again what KFP runs."""

import json
import threading

import pytest
from kfp_server_api import V2beta1Run

from datum.cluster.workflow import snapshot
from tests.cluster.argo import Work, pod_name, workflow
from tests.cluster.conftest import Cluster
from tests.cluster.kfp_api import show_nodes
from tests.cluster.one_run import task_keys
from tests.cluster.workloads import Workloads

ADAPT = "seed 2 · adapt"
LAUNCHER = "I1126 01:02:03.123456      18 launcher_v2.go:449] Component failed to execute successfully"
EMISSARY = (
    'time="2026-11-26T01:02:03.123Z" level=info msg="sub-process exited" argo=true error="exit status 1"'
)


def run_with(uploaded: Cluster, workloads: Workloads, name: str, work: Work, state: str = "FAILED") -> str:
    """Id of a run in which the task `name` has come to `work`, and no other has begun."""
    uploaded.datum("submit", "--name", "mine")
    (run,) = uploaded.api.runs.values()
    key = task_keys(uploaded.api, run)[name]
    show_nodes(run, state, [])
    phase = {"FAILED": "Failed", "RUNNING": "Running"}[state]
    workloads.workflows[run.run_id] = workflow(run.run_id, {key: work}, phase)
    for number in range(len(work.tries)):
        own = [f"try {number} line {line}" for line in range(30)]
        workloads.logs[pod_name(key, number)] = [*own, "ValueError: found 3", LAUNCHER, EMISSARY, ""]
    return str(run.run_id)


def adapt_key(uploaded: Cluster) -> str:
    (run,) = uploaded.api.runs.values()
    return task_keys(uploaded.api, run)[ADAPT]


FAILED_TWICE = Work("Failed", ("Failed", "Failed"), "Error (exit code 1)")


def test_the_last_lines_of_a_failed_task_are_printed(uploaded: Cluster, workloads: Workloads) -> None:
    run_id = run_with(uploaded, workloads, ADAPT, FAILED_TWICE)
    ended = uploaded.datum("runs", run_id)
    assert ended.status == 1
    lines = ended.err.splitlines()
    start = lines.index(f"{ADAPT} (try 2): Error (exit code 1)")
    shown = [f"  try 1 line {line}" for line in range(21, 30)]
    assert lines[start + 1 : start + 11] == [*shown, "  ValueError: found 3"]
    assert lines[start + 11] == f"whole logs: datum runs {run_id} --logs TASK"
    assert lines[-1].startswith("datum: run 'mine' failed after 1h02m: the task")


def test_a_failed_driver_says_what_failed_and_that_the_task_never_began(
    uploaded: Cluster, workloads: Workloads
) -> None:
    run_id = run_with(uploaded, workloads, ADAPT, Work("Failed", (), "main: Error (exit code 1)"))
    (driver,) = snapshot(workloads.workflows[run_id]).tries(adapt_key(uploaded))
    dump = ["I1126 05:00:31.1       1 main.go:180] input ComponentSpec:{", *['  "a": {', "  }"] * 300, "}"]
    stacks = ["goroutine 1 [running]:", "main.main()", *["\t/src/main.go:127 +0x1c5"] * 250]
    said = "KFP driver: driver.Container(pipelineName=datum) failed: store away"
    workloads.logs[driver.pod] = [
        *dump,
        f"F1126 05:00:33.123456       1 main.go:127] {said}",
        *stacks,
        "Error: exit status 1",
    ]
    lines = uploaded.datum("runs", run_id).err.splitlines()
    start = lines.index(f"{ADAPT}: failed in KFP's driver, before the task began (main: Error (exit code 1))")
    assert lines[start + 1 : start + 3] == [f"  {said}", f"whole logs: datum runs {run_id} --logs TASK"]
    shown = uploaded.datum("runs", run_id, "--logs", ADAPT).out.splitlines()
    assert shown[1] == f"{dump[0]} … }}" and said in shown[2] and shown[-1] == "Error: exit status 1"


def test_a_pod_that_never_ran_says_what_argo_says_of_it(uploaded: Cluster, workloads: Workloads) -> None:
    message = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'
    run_id = run_with(uploaded, workloads, ADAPT, Work("Failed", ("Error",), message))
    workloads.logs.clear()
    ended = uploaded.datum("runs", run_id)
    assert f"{ADAPT}: {message}" in ended.err.splitlines()
    assert "its log cannot be shown: its pod is gone, and KFP has kept no log of it" in ended.err


def test_logs_of_a_task_are_printed_with_all_its_tries(uploaded: Cluster, workloads: Workloads) -> None:
    run_id = run_with(uploaded, workloads, ADAPT, FAILED_TWICE)
    for name in ((), (ADAPT,), ("Seed 2 adapt",)):
        ended = uploaded.datum("runs", run_id, "--logs", *name)
        assert ended.status == 0
        lines = ended.out.splitlines()
        assert lines[0] == f"== {ADAPT}, try 1, failed" and lines[1] == "try 0 line 0"
        assert f"== {ADAPT}, try 2, failed: Error (exit code 1)" in lines and LAUNCHER in lines


def test_where_the_pod_is_gone_the_archived_log_is_printed(uploaded: Cluster, workloads: Workloads) -> None:
    run_id = run_with(uploaded, workloads, ADAPT, FAILED_TWICE)
    del workloads.logs[pod_name(adapt_key(uploaded), 0)]
    del workloads.logs[pod_name(adapt_key(uploaded), 1)]
    uploaded.api.archived_logs[pod_name(adapt_key(uploaded), 1)] = "from the archive\n"
    lines = uploaded.datum("runs", run_id, "--logs", ADAPT).out.splitlines()
    assert lines[1] == "(not to be had: its pod is gone, and KFP has kept no log of it)"
    assert lines[2:] == [f"== {ADAPT}, try 2, failed: Error (exit code 1)", "from the archive"]
    uploaded.api.archived_logs.clear()
    ended = uploaded.datum("runs", run_id, "--logs", ADAPT)
    assert ended.status == 2 and "KFP has kept no log of it; see http" in ended.err


def test_a_user_of_kfp_alone_reads_logs_through_it(uploaded: Cluster, workloads: Workloads) -> None:
    run_id = run_with(uploaded, workloads, ADAPT, FAILED_TWICE)
    workloads.faults["/api"] = 403
    uploaded.api.archived_logs[pod_name(adapt_key(uploaded), 1)] = "through KFP\n"
    ended = uploaded.datum("runs", run_id, "--logs", ADAPT)
    assert ended.status == 2, "without the Workflow nobody knows the pods"
    uploaded.api.manifests[run_id] = json.dumps(workloads.workflows[run_id])
    assert "through KFP" in uploaded.datum("runs", run_id, "--logs", ADAPT).out


def test_a_task_whose_container_has_not_started_has_no_log_yet(
    uploaded: Cluster, workloads: Workloads
) -> None:
    run_id = run_with(uploaded, workloads, ADAPT, Work("Running", ("Running",)), "RUNNING")
    workloads.starting[pod_name(adapt_key(uploaded), 0)] = 1
    ended = uploaded.datum("runs", run_id, "--logs", ADAPT)
    assert ended.status == 2 and "its container has not started yet; --follow waits for it" in ended.err


def test_a_task_is_followed_through_its_tries_to_its_end(uploaded: Cluster, workloads: Workloads) -> None:
    run_id = run_with(uploaded, workloads, ADAPT, Work("Running", ("Failed", "Running")), "RUNNING")
    key = adapt_key(uploaded)
    workloads.growing.add(pod_name(key, 1))
    # Argo says of a pod that it runs before Kubernetes does.
    workloads.starting[pod_name(key, 1)] = 2

    def finish() -> None:
        workloads.logs[pod_name(key, 1)].append("the end")
        (run,) = uploaded.api.runs.values()
        show_nodes(run, "SUCCEEDED", [])
        workloads.workflows[run_id] = workflow(run_id, {key: Work("Succeeded", ("Failed", "Succeeded"))})
        workloads.growing.clear()

    timer = threading.Timer(0.5, finish)
    timer.start()
    ended = uploaded.datum("runs", run_id, "--logs", ADAPT, "--follow")
    timer.join()
    assert ended.status == 0 and ended.out.count("==") == 2
    assert ended.out.splitlines()[-1] == "the end"
    assert ended.err.count("is waiting to start: PodInitializing; waiting") == 1


def test_a_task_is_followed_from_before_its_pod_is_there(uploaded: Cluster, workloads: Workloads) -> None:
    run_id = run_with(uploaded, workloads, ADAPT, Work("Running", ()), "RUNNING")
    key = adapt_key(uploaded)
    driver = snapshot(workloads.workflows[run_id]).task(f"{key}-driver")
    assert driver and driver.pod
    workloads.logs[driver.pod] = ["KFP's driver"]

    def finish() -> None:
        workloads.logs[pod_name(key)] = ["the task itself"]
        (run,) = uploaded.api.runs.values()
        show_nodes(run, "SUCCEEDED", [])
        workloads.workflows[run_id] = workflow(run_id, {key: Work()})

    timer = threading.Timer(0.5, finish)
    timer.start()
    ended = uploaded.datum("runs", run_id, "--logs", ADAPT, "--follow")
    timer.join()
    assert (ended.status, ended.out.count("==")) == (0, 1)
    assert ended.out.splitlines()[-1] == "the task itself"


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_a_log_that_breaks_off_does_not_pass_for_whole(
    uploaded: Cluster, workloads: Workloads, follow: tuple[str, ...]
) -> None:
    run_id = run_with(uploaded, workloads, ADAPT, Work("Failed", ("Failed",)))
    workloads.breaking.add(pod_name(adapt_key(uploaded)))
    ended = uploaded.datum("runs", run_id, "--logs", ADAPT, *follow)
    assert ended.status == 75 and "the connection to the log broke" in ended.err
    assert "try 0 line 29" in ended.out


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("ID", "--logs", "xyzzy"), "--logs xyzzy: no such task, expected one of 'check parameters'"),
        (("ID", "--logs", "adapt", "--follow"), "--follow: takes one task, found 'seed 1 · adapt', "),
        (("ID", "--follow"), "--follow: goes with --logs"),
        (("--logs",), "--logs: of which run?"),
        (("--retry",), "--retry: of which run?"),
        (("ID", "--retry", "--terminate"), "not allowed with argument"),
        (("ID", "--retry", "--output", "x"), "--output and --retry: give one of the two"),
    ],
)
def test_wrong_arguments_are_said_in_one_line(
    uploaded: Cluster, workloads: Workloads, arguments: tuple[str, ...], said: str
) -> None:
    run_id = run_with(uploaded, workloads, ADAPT, FAILED_TWICE)
    before = len(uploaded.api.posts())
    ended = uploaded.datum("runs", *(run_id if word == "ID" else word for word in arguments))
    assert ended.status == 2 and said in ended.err and len(ended.err.splitlines()) == 1
    assert len(uploaded.api.posts()) == before


def test_a_failed_run_is_tried_again_once_whatever_the_network_does(
    uploaded: Cluster, workloads: Workloads
) -> None:
    run_id = run_with(uploaded, workloads, ADAPT, FAILED_TWICE)
    uploaded.api.fail("POST .*:retry", "drop")
    ended = uploaded.datum("runs", run_id, "--retry")
    assert (ended.status, ended.out) == (0, f"mine: goes on; see datum runs {run_id}\n")
    assert uploaded.api.retried == [run_id]
    again = uploaded.datum("runs", run_id, "--retry")
    assert again.status == 2 and "found it running, expected one that has failed" in again.err


def test_a_run_at_work_is_terminated(uploaded: Cluster) -> None:
    uploaded.datum("submit", "--name", "mine")
    (run,) = uploaded.api.runs.values()
    uploaded.api.fail("POST .*:terminate", "drop")
    ended = uploaded.datum("runs", run.run_id, "--terminate")
    assert ended.status == 0 and run.state == "CANCELING" and "is being terminated" in ended.out
    show_nodes(run, "FAILED", [])
    again = uploaded.datum("runs", run.run_id, "--terminate")
    assert again.status == 2 and "found it failed, expected one that is at work" in again.err


@pytest.mark.parametrize("retries, status, tried", [("2", 0, 1), ("0", 1, 0)])
def test_submit_tries_a_failed_run_again(uploaded: Cluster, retries: str, status: int, tried: int) -> None:
    def on_look(run: V2beta1Run) -> None:
        show_nodes(run, "SUCCEEDED" if uploaded.api.retried else "FAILED", [])

    uploaded.api.on_look = on_look
    ended = uploaded.datum("submit", "--wait", "--retries", retries)
    assert (ended.status, len(uploaded.api.retried)) == (status, tried)
    if tried:
        assert "trying again, 2 of 2 tries left" in ended.err


def test_a_run_that_was_terminated_says_so_and_is_not_tried_again(
    uploaded: Cluster, workloads: Workloads
) -> None:
    def on_look(run: V2beta1Run) -> None:
        show_nodes(run, "FAILED", [])
        ended = workflow(run.run_id, {task_keys(uploaded.api, run)[ADAPT]: FAILED_TWICE}, "Failed")
        # As KFP's TerminateRun leaves it.
        workloads.workflows[run.run_id] = {**ended, "spec": {"activeDeadlineSeconds": 0}}

    uploaded.api.on_look = on_look
    ended = uploaded.datum("submit", "--wait", "--name", "mine", "--retries", "2")
    assert (ended.status, uploaded.api.retried) == (1, [])
    assert ended.err.splitlines()[-1] == (
        "datum: run 'mine' failed after 1h02m: somebody terminated it; --retry goes on with it"
    )


def test_tries_end_and_what_was_refused_is_not_tried_again(uploaded: Cluster, workloads: Workloads) -> None:
    name = ADAPT

    def on_look(run: V2beta1Run) -> None:
        show_nodes(run, "FAILED", [])
        work = {task_keys(uploaded.api, run)[name]: FAILED_TWICE}
        workloads.workflows[run.run_id] = workflow(run.run_id, work, "Failed")

    uploaded.api.on_look = on_look
    ended = uploaded.datum("submit", "--wait", "--retries", "2")
    assert (ended.status, len(uploaded.api.retried)) == (1, 2)
    name = "check parameters"
    ended = uploaded.datum("submit", "--wait", "--retries", "2")
    assert (ended.status, len(uploaded.api.retried)) == (2, 2)


def test_retries_without_somebody_who_waits_start_nothing(uploaded: Cluster) -> None:
    ended = uploaded.datum("submit", "--retries", "2")
    assert ended.status == 2 and "add --wait" in ended.err and uploaded.api.posts() == []
