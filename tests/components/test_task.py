"""What a task leaves behind: its output's place, and its exit status."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kfp import dsl

from components.task import RUNNER, STOP_FILE, failing_with_status, located, task
from datum.errors import InputError, TemporaryFaultError
from datum.patience import PATIENCE


def test_on_a_cluster_the_output_is_built_at_the_artifact_itself(tmp_path: Path) -> None:
    with task(str(tmp_path / "artifact"), "", "seed-1/generated") as output:
        assert output == tmp_path / "artifact"


def test_in_a_workspace_the_output_keeps_its_place_and_the_artifact_leads_there(tmp_path: Path) -> None:
    artifact = tmp_path / "scratch" / "artifact"
    with task(str(artifact), str(tmp_path / "workspace"), "seed-1/generated") as output:
        assert output == tmp_path / "workspace" / "seed-1" / "generated"
        assert output.parent.is_dir()
        output.mkdir()
        (output / "manifest.jsonl").write_text("{}")
    assert located(str(artifact)) == tmp_path / "workspace" / "seed-1" / "generated"
    assert located(str(tmp_path / "of another kind")) == tmp_path / "of another kind"


def test_an_artifact_of_a_failed_task_leads_nowhere(tmp_path: Path) -> None:
    artifact = tmp_path / "scratch" / "artifact"
    with pytest.raises(SystemExit), task(str(artifact), str(tmp_path / "workspace"), "segmentor"):
        raise InputError("--source nowhere: no such folder")
    assert located(str(artifact)) == artifact and not artifact.exists()


@pytest.mark.parametrize(
    "error, status",
    [(InputError("the setting is wrong"), 2), (TemporaryFaultError("no store"), 75), (KeyError("ours"), 1)],
)
def test_a_failing_task_ends_with_its_exit_status(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, failing_with_status():
        raise error
    assert end.value.code == status
    assert ("Traceback" in capsys.readouterr().err) == (status == 1)


def test_a_task_ends_with_the_run_that_it_belongs_to(tmp_path: Path) -> None:
    task_of = (
        "import time; from components.task import failing_with_status\n"
        "with failing_with_status(): print('works', flush=True); time.sleep(60)"
    )
    for how, status in (("asked", 75), ("gone", 1)):
        with subprocess.Popen(["sleep", "60"]) as runner:
            environment = {**os.environ, RUNNER: str(runner.pid), STOP_FILE: str(tmp_path / "stop")}
            command = [sys.executable, "-c", task_of]
            with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout and process.stdout.readline() == "works\n"
                if how == "asked":
                    (tmp_path / "stop").touch()
                    assert process.wait(10) == status
                    (tmp_path / "stop").unlink()
                runner.kill()
                runner.wait()
                assert process.wait(10) == status


@dsl.component(base_image="none", install_kfp_package=False)
def fails_at_first(tries: str, fault: str) -> str:
    """Fails twice as `fault` says, with a process of its own still at work, and then does not."""
    import multiprocessing
    import os
    import time
    from pathlib import Path

    from components.task import failing_with_status
    from datum import errors

    with failing_with_status(), Path(tries).open("a+") as file:
        file.write(f"{os.getpid()}\n")
        file.seek(0)
        if len(file.readlines()) < 3:
            fork = multiprocessing.get_context("fork")
            at_work = fork.Event()
            fork.Process(target=lambda: (at_work.set(), time.sleep(60)), daemon=True).start()
            at_work.wait()
            raise getattr(errors, fault)("store out of reach")
    return "done"


def started(
    tmp_path: Path, fault: str = "TemporaryFaultError", patience: str | None = "600"
) -> subprocess.Popen[str]:
    """A task at work, by the command that KFP starts in a pod."""
    container = fails_at_first.component_spec.implementation.container
    place = "{{$}}"
    inputs = {"parameterValues": {"tries": str(tmp_path / "tries"), "fault": fault}}
    outputs = {"parameters": {"Output": {"outputFile": str(tmp_path / "Output")}}}
    given = json.dumps(
        {"inputs": inputs, "outputs": {**outputs, "outputFile": str(tmp_path / "executor.json")}}
    )
    words = [*container.command, *(given if word == place else word for word in container.args)]
    environment = {key: value for key, value in os.environ.items() if key != PATIENCE}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONSAFEPATH": "1"}
    if patience:
        environment[PATIENCE] = patience
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(words, env=environment, text=True, **pipes)


def test_a_task_begins_again_after_a_fault_that_passes_and_says_each_try(tmp_path: Path) -> None:
    process = started(tmp_path)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert json.loads((tmp_path / "executor.json").read_text())["parameterValues"] == {"Output": "done"}
    lines = [line for line in said.splitlines() if "store out of reach" in line]
    assert [line.partition(" (for")[0] for line in lines] == [
        "store out of reach; try 1 of this task, again in 2s",
        "store out of reach; try 2 of this task, again in 4s",
    ]
    # The launcher waits for this process: it stays the same one.
    assert len(set((tmp_path / "tries").read_text().split())) == 1


@pytest.mark.parametrize(
    "fault, patience, status",
    [("InputError", "600", 2), ("TemporaryFaultError", None, 75), ("TemporaryFaultError", "0.01", 75)],
)
def test_a_task_ends_at_once_where_waiting_is_in_vain_or_not_asked_for(
    fault: str, patience: str | None, status: int, tmp_path: Path
) -> None:
    process = started(tmp_path, fault, patience)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert len((tmp_path / "tries").read_text().split()) == 1 and "again in" not in said


def test_a_task_that_is_about_to_begin_again_stops_at_once_when_asked_to(tmp_path: Path) -> None:
    process = started(tmp_path)
    assert process.stdout
    for line in process.stdout:
        if "try 2 of this task" in line:
            break
    began = time.monotonic()
    os.kill(int((tmp_path / "tries").read_text().split()[0]), signal.SIGTERM)
    said = process.stdout.read()
    assert process.wait(10) == 75 and "stopped; the same command goes on" in said
    assert time.monotonic() - began < 2
