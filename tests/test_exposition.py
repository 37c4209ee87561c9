"""What Prometheus and a Pushgateway are shown of a command and of a task."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from components.task import TASK, failing_with_status
from datum import cli, instruments
from datum.errors import InputError
from datum.exposition import FOLDER, PORT, PUSHGATEWAY, RUN_NAME, TaskLabels, exposed
from datum.instruments import INSTRUMENTS, add, forget, put
from tests.prometheus_programs import free_port, lint, pushgateway, read

LABELS = TaskLabels(run="demo", seed="2", stage="adapt", task="seed 2 · adapt")


@pytest.fixture(autouse=True)
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    for name in (PORT, FOLDER, PUSHGATEWAY, RUN_NAME, TASK):
        monkeypatch.delenv(name, raising=False)


def shown(text: str) -> dict[tuple[str, str, str], float]:
    """(name, task, value of the own label) -> value."""
    own = {one.name: one.label for one in INSTRUMENTS.values()}
    return {
        (sample.name, sample.labels["task"], sample.labels.get(own.get(sample.name, ""), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in INSTRUMENTS
    }


@pytest.mark.parametrize(
    "name, seed, stage",
    [
        ("seed 2 · adapt", "2", "adapt"),
        ("seed 12 · source-only · evaluate", "12", "evaluate"),
        ("seed 3 · generate 2/4", "3", "generate"),
        ("ingest source", "", "ingest"),
        ("report", "", "report"),
    ],
)
def test_a_task_is_labeled_by_its_name_in_the_dag(name: str, seed: str, stage: str) -> None:
    assert TaskLabels.of_task(name, "r") == TaskLabels(run="r", seed=seed, stage=stage, task=name)


def test_every_metric_is_shown_at_the_port_with_the_labels_of_the_task_while_it_works() -> None:
    port = free_port()
    with exposed(LABELS, port=port):
        for one in INSTRUMENTS.values():
            put(one, 7, one.values[0] if one.values else "x" if one.label else "")
        text = read(f"http://127.0.0.1:{port}/metrics")
    assert {name for name, _, _ in shown(text)} == set(INSTRUMENTS)
    every = [line for line in text.splitlines() if not line.startswith("#")]
    assert all('run="demo",seed="2",stage="adapt",task="seed 2 · adapt"' in line for line in every)
    with pytest.raises(OSError):
        read(f"http://127.0.0.1:{port}/metrics")


def test_promtool_finds_nothing_to_say_of_the_metrics() -> None:
    port = free_port()
    with exposed(LABELS, port=port):
        for one in INSTRUMENTS.values():
            put(one, 7, one.values[0] if one.values else "x" if one.label else "")
        assert lint(read(f"http://127.0.0.1:{port}/metrics")) == ""


def test_one_port_shows_the_tasks_that_the_command_starts_beside_each_other() -> None:
    """Each in a process of its own, as `datum run` starts them."""
    task = (
        "import sys\n"
        "from components.task import failing_with_status\n"
        "from datum.telemetry import Progress\n"
        "with failing_with_status():\n"
        "    progress = Progress('adapt', 9, unit='iterations')\n"
        "    progress.advance(int(sys.argv[1]))\n"
    )
    port = free_port()
    with exposed(TaskLabels(run="demo", stage="run", task="run"), port=port):
        for seed in (1, 2):
            environment = {**os.environ, TASK: f"seed {seed} · adapt"}
            subprocess.run([sys.executable, "-c", task, str(seed)], env=environment, check=True)
        text = read(f"http://127.0.0.1:{port}/metrics")
    for seed in (1, 2):
        assert shown(text)["datum_work_done", f"seed {seed} · adapt", "iterations"] == seed
        # It has ended, and what it did is still shown.
        assert shown(text)["datum_task_running", f"seed {seed} · adapt", ""] == 0
        assert re.search(rf'datum_work_done{{run="demo",seed="{seed}",stage="adapt"', text)
    assert shown(text)["datum_task_running", "run", ""] == 1
    assert len(re.findall("^# TYPE datum_work_done gauge", text, re.MULTILINE)) == 1


def test_a_port_in_use_is_bad_input_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        words = ["run", "--output", str(tmp_path / "output"), "--metrics-port", str(port)]
        with pytest.raises(SystemExit) as end:
            cli.main(words)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--metrics-port {port}: cannot be listened on" in line and "name another" in line
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_what_is_no_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["run", "--output", "output", f"--metrics-port={port}"])
    assert end.value.code == 2 and "a whole number from 0 to 65535" in capsys.readouterr().err


def test_a_pod_serves_a_port_to_others_and_goes_on_without_where_it_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PORT, str(free_port()))
    monkeypatch.setenv(TASK, "seed 1 · generate 1/2")
    with failing_with_status():
        add(instruments.DRAWN, 3)
        text = read(f"http://127.0.0.1:{os.environ[PORT]}/metrics")
        assert shown(text)["datum_images_drawn_total", "seed 1 · generate 1/2", ""] == 3
        with failing_with_status():  # the port is in use by now
            pass
    assert "none are served" in capsys.readouterr().err


@pytest.mark.parametrize("fails", [False, True])
def test_the_last_values_of_a_task_outlive_it_in_a_pushgateway(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pushgateway(tmp_path) as url:
        monkeypatch.setenv(PUSHGATEWAY, url)
        monkeypatch.setenv(RUN_NAME, "run-1")
        names = ("seed 2 · generate 3/4", "seed 2 · adapt")
        for name in names:
            monkeypatch.setenv(TASK, name)
            try:
                with failing_with_status():
                    put(instruments.CONFIDENT, 0.5)
                    if fails:
                        raise InputError("the training diverged")
            except SystemExit as end:
                assert end.code == 2
        text = read(f"{url}/metrics")
        found = shown(text)
    for name in names:
        assert found["datum_task_failed", name, ""] == fails
        assert found["datum_task_running", name, ""] == 0
        assert found["datum_confident_pseudo_labels_ratio", name, ""] == 0.5
    assert 'run="run-1",seed="2",stage="adapt",task="seed 2 · adapt"' in text


def test_a_pushgateway_that_is_away_costs_one_line_and_not_the_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PUSHGATEWAY, f"http://127.0.0.1:{free_port()}")
    with failing_with_status():
        print("worked")
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("metrics: the Pushgateway 127.0.0.1 was not told the last values (URLError")
    assert printed.out == "worked\n"
