"""What a task leaves behind: its output's place, and its exit status."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.task import RUNNER, STATUS_FILE, STOP, failing_with_status, located, task
from datum.errors import InputError, TemporaryFaultError


@pytest.fixture
def status_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(STATUS_FILE, str(tmp_path / "status"))
    return tmp_path / "status"


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


def test_an_artifact_of_a_failed_task_leads_nowhere(tmp_path: Path, status_file: Path) -> None:
    artifact = tmp_path / "scratch" / "artifact"
    with pytest.raises(SystemExit), task(str(artifact), str(tmp_path / "workspace"), "segmentor"):
        raise InputError("--source nowhere: no such folder")
    assert located(str(artifact)) == artifact and not artifact.exists()


@pytest.mark.parametrize(
    "error, status",
    [(InputError("the setting is wrong"), 2), (TemporaryFaultError("no store"), 75), (KeyError("ours"), 1)],
)
def test_a_failing_task_leaves_its_exit_status(
    error: Exception, status: int, status_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, failing_with_status():
        raise error
    assert end.value.code == status
    assert status_file.read_text() == str(status)
    assert ("Traceback" in capsys.readouterr().err) == (status == 1)


def test_a_task_that_ends_well_leaves_no_status(status_file: Path) -> None:
    with failing_with_status():
        pass
    assert not status_file.exists()


def test_without_a_status_file_the_exit_status_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(STATUS_FILE, raising=False)
    with pytest.raises(SystemExit) as end, failing_with_status():
        raise InputError("wrong")
    assert end.value.code == 2
    assert not list(tmp_path.iterdir())


def test_a_task_ends_with_the_run_that_it_belongs_to(tmp_path: Path) -> None:
    task_of = (
        "import time; from components.task import failing_with_status\n"
        "with failing_with_status(): print('works', flush=True); time.sleep(60)"
    )
    for how, status in (("asked", 75), ("gone", 1)):
        with subprocess.Popen(["sleep", "60"]) as runner:
            environment = {**os.environ, RUNNER: str(runner.pid), STATUS_FILE: str(tmp_path / "status")}
            command = [sys.executable, "-c", task_of]
            with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout and process.stdout.readline() == "works\n"
                if how == "asked":
                    (tmp_path / STOP).touch()
                    assert process.wait(10) == status
                    assert (tmp_path / "status").read_text() == "75"
                    (tmp_path / STOP).unlink()
                runner.kill()
                runner.wait()
                assert process.wait(10) == status
