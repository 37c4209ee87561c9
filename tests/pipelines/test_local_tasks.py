"""The tasks of a local run: their order, how many run at once, what is shown, and how they end together."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pipelines.local_tasks import Share, in_order_of_seeds, lines_of_task, share_of
from pipelines.reproduction import reproduction

GIB = 2**30

# What kfp 2.17's executor prints around the output of a task.
PRINTED = """
[KFP Executor 2026-11-23 07:45:28,030 INFO]: Looking for component `select_one_shot` in --component_module_path
[KFP Executor 2026-11-23 07:45:28,031 INFO]: Got executor_input:
{
    "inputs": {
        "parameterValues": {
            "seeds": [
                1.0
            ],
            "named": [],
            "template": "a {c} [",
            "position": 0
        }
    },
    "outputs": {
        "artifacts": {
            "one_shot": {
                "artifacts": [
                    {
                        "name": "one_shot",
                        "metadata": {}
                    }
                ]
            }
        },
        "outputFile": "/tmp/executor_output.json"
    }
}
personalize: 2/2 steps, 2.57/s, 0s left, loss 0.290
{"a task may print": "JSON too"}
[KFP Executor 2026-11-23 07:45:29,000 INFO]: Wrote executor output file to /tmp/executor_output.json.
datum: /nowhere: no such folder
"""  # noqa: E501 - as it is printed


def test_what_a_task_prints_is_shown_and_what_the_executor_prints_is_not() -> None:
    assert list(lines_of_task(iter((PRINTED + PRINTED).splitlines(keepends=True)))) == 2 * [
        "personalize: 2/2 steps, 2.57/s, 0s left, loss 0.290",
        '{"a task may print": "JSON too"}',
        "datum: /nowhere: no such folder",
    ]


def test_tasks_come_in_the_order_of_the_seeds_each_after_what_it_needs() -> None:
    tasks = reproduction(seeds=list(range(12, 0, -1)), baselines=True).pipeline_spec.root.dag.tasks
    order = in_order_of_seeds({name: list(task.dependent_tasks) for name, task in tasks.items()})
    assert sorted(order) == sorted(tasks)
    for name, task in tasks.items():
        assert all(order.index(needed) < order.index(name) for needed in task.dependent_tasks)
    names = [tasks[name].task_info.name for name in order]
    assert names[-1] == "report"
    seeds = [int(match[1]) for name in names if (match := re.match(r"seed (\d+) ", name))]
    assert seeds == sorted(seeds, reverse=True)


@pytest.mark.parametrize(
    "machine, share",
    [
        ({"processors": 2, "memory": 20 * GIB}, Share(at_once=2, threads=1)),
        ({"processors": 1, "memory": 20 * GIB}, Share(at_once=1, threads=1)),
        # More processors than there is to do: each training has several.
        ({"processors": 16, "memory": 64 * GIB}, Share(at_once=3, threads=5)),
        # Memory decides how many run at once, and never what they compute.
        ({"processors": 16, "memory": 7 * GIB}, Share(at_once=2, threads=5)),
        ({"processors": 16, "memory": GIB}, Share(at_once=1, threads=5)),
        ({"processors": 16, "memory": 64 * GIB, "gpu": True}, Share(at_once=1, threads=16)),
    ],
)
def test_a_machine_is_shared_by_processors_memory_and_what_there_is_to_do(
    machine: dict[str, int], share: Share
) -> None:
    assert share_of(**{"each": 3 * GIB, "most": 3, "gpu": False, **machine}) == share


PIPELINE = """
    import sys, json
    from kfp import dsl
    from datum.errors import exit_status
    from pipelines.local_tasks import Share, TaskFailedError, run_tasks

    @dsl.component(base_image="none", install_kfp_package=False)
    def work(number: int, journal: str, wait_for: int, fail: str) -> int:
        import os, time
        from pathlib import Path
        from components.task import failing_with_status
        from datum.errors import InputError
        from datum.telemetry import log

        def note(what):
            with Path(journal).open("a") as file:
                file.write(f"{what} {number}\\n")

        with failing_with_status():
            note("begins")
            log(f"threads {os.environ['OMP_NUM_THREADS']}")
            deadline = time.monotonic() + 60
            while wait_for and f"begins {wait_for}" not in Path(journal).read_text():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            if fail == "now":
                raise InputError("--number: found\\n13, expected another")
            if fail == "killed":
                os.kill(os.getpid(), 9)
            if fail == "wait":
                time.sleep(60)
            note("ends")
        return number

    @dsl.pipeline(name="test")
    def pipeline(journal: str):
        for number, (wait_for, fail) in enumerate(json.loads(sys.argv[2]), start=1):
            task = work(number=number, journal=journal, wait_for=wait_for, fail=fail)
            task.set_display_name(f"seed {number} · work")

    with exit_status():
        try:
            spec = pipeline.pipeline_spec
            run_tasks(spec, {"journal": sys.argv[1]}, Share(at_once=int(sys.argv[3]), threads=1))
        except TaskFailedError as error:
            print(f"datum: {error}", file=sys.stderr)
            sys.exit(error.status)
"""


def started(folder: Path, tasks: str, at_once: int) -> "subprocess.Popen[str]":
    """A process with a run of `tasks`, as JSON: for each the number of the one that it waits for, or 0, and
    how it ends. A component is read from a file."""
    (folder / "run.py").write_text(textwrap.dedent(PIPELINE))
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return subprocess.Popen(
        [sys.executable, str(folder / "run.py"), str(folder / "journal"), tasks, str(at_once)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def journal(folder: Path) -> list[str]:
    return (folder / "journal").read_text().splitlines()


def test_two_tasks_run_at_once_and_each_line_names_its_task(tmp_path: Path) -> None:
    # The first one ends only after the second one began.
    process = started(tmp_path, '[[2, ""], [0, ""], [0, ""]]', at_once=2)
    printed, _ = process.communicate(timeout=100)
    assert process.returncode == 0, printed
    assert {"[1/3] seed 1 · work", "[2/3] seed 2 · work"} <= set(printed.splitlines())
    assert {f"[seed {number} · work] threads 1" for number in (1, 2, 3)} <= set(printed.splitlines())
    assert len(printed.splitlines()) == 6


def test_one_at_a_time_they_run_in_their_order(tmp_path: Path) -> None:
    process = started(tmp_path, '[[0, ""], [0, ""], [0, ""]]', at_once=1)
    assert process.wait(100) == 0
    assert journal(tmp_path) == [f"{what} {number}" for number in (1, 2, 3) for what in ("begins", "ends")]


def test_a_failing_task_ends_the_others_and_its_reason_is_the_last_line(tmp_path: Path) -> None:
    process = started(tmp_path, '[[0, "wait"], [1, "now"], [0, ""]]', at_once=2)
    began = time.monotonic()
    printed, _ = process.communicate(timeout=100)
    assert process.returncode == 2, printed
    assert time.monotonic() - began < 50
    assert printed.splitlines()[-1] == r"datum: seed 2 · work: --number: found\n13, expected another"
    assert "[seed 1 · work] datum: stopped" in printed
    assert sorted(journal(tmp_path)) == ["begins 1", "begins 2"]


def test_of_a_task_that_the_system_killed_the_signal_is_said(tmp_path: Path) -> None:
    process = started(tmp_path, '[[0, "killed"]]', at_once=1)
    printed, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    assert re.search(r"^datum: seed 1 · work: was killed by SIGKILL; .*DATUM_PROCESSORS=1", printed, re.M)


def test_asked_to_stop_all_tasks_stop_and_the_run_ends_with_75(tmp_path: Path) -> None:
    process = started(tmp_path, '[[0, "wait"], [1, "wait"], [0, ""]]', at_once=2)
    while not (tmp_path / "journal").exists() or len(journal(tmp_path)) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 75, printed
    for number in (1, 2):
        assert f"[seed {number} · work] datum: stopped" in printed
    assert printed.splitlines()[-1].startswith("datum: stopped")
    assert "begins 3" not in journal(tmp_path)
