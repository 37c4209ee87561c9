"""`datum curves`: what trainings logged, as a page, in the terminal, and in the stores of other tools."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from datum.cli import main
from datum.reporting.curves import curves
from tests.reporting.test_report import Page

LINES = [
    {"iteration": i, "seconds": 2.0 * i, "source": 2 - i / 100, "mixed": 0.5, "confident_share": i / 100}
    for i in range(10, 101, 10)
]
VALIDATED = [
    {"iteration": 50, "seconds": 101.0, "miou": 20.0},
    {"iteration": 100, "seconds": 202.0, "miou": 30.5},
]


def log(folder: Path, lines: list[dict[str, float]], more: str = "") -> None:
    folder.mkdir(parents=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "training.jsonl").write_text(text + more)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished training, one at work whose log ends in the middle of a line, and a baseline's."""
    log(tmp_path / "run" / "seed-1" / "segmentor", LINES + VALIDATED)
    log(tmp_path / "run" / "seed-2" / "segmentor.partial", LINES[:4], '{"iteration": 50, "sou')
    log(tmp_path / "run" / "source-only" / "seed-1" / "segmentor", [{"iteration": 10, "source": 1.25}])
    return tmp_path / "run"


def test_all_trainings_of_a_run_are_drawn_and_their_last_figures_told(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["curves", str(run)])
    printed = capsys.readouterr().out.splitlines()
    cells = {line.split("  ")[0]: line.split()[-3:] for line in printed[:-2]}
    assert cells["training"] == ["seed-1", "seed-2", "source-only/seed-1"]
    assert cells["iteration"] == ["100", "40", "10"]
    assert cells["Loss on labeled source images"] == ["1", "1.6", "1.25"]
    assert cells["Target pixels with a confident pseudo-label, percent"] == ["100", "40", "-"]
    assert cells["Validation mIoU over 19 classes, percent"] == ["30.5", "-", "-"]
    assert printed[-1] == str(run / "curves.html")
    page = Page(run / "curves.html")
    assert page.open == [] and {"script", "link", "img"}.isdisjoint(tag for tag, _ in page.elements)
    lines = [a["class"] for tag, a in page.elements if tag == "polyline"]
    assert lines.count("line seed-0") == 4 and lines.count("line seed-2") == 1


@pytest.mark.parametrize(("place", "name"), [("", "segmentor"), ("..", "seed-1")])
def test_one_training_is_named_by_its_folder(place: str, name: str, run: Path) -> None:
    folder = run / "seed-1" / "segmentor" / place
    assert curves(run=folder, output=run / "one.html").splitlines()[0].split() == ["training", name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "RUN missing: no such folder"),
        (["empty"], "RUN empty: holds no training.jsonl with a line"),
        (["run", "--output", "nowhere/curves.html"], "--output nowhere/curves.html: expected a file in"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    arguments: list[str],
    message: str,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(run.parent)
    (run.parent / "empty").mkdir()
    with pytest.raises(SystemExit) as end:
        main(["curves", *arguments])
    said = capsys.readouterr().err
    assert end.value.code == 2 and message in said and said.count("\n") == 1
    assert not list(run.rglob("*.html"))


@pytest.mark.parametrize(
    ("option", "library", "extra"),
    [("--tensorboard", "torch.utils.tensorboard", "tensorboard"), ("--mlflow", "mlflow", "mlflow")],
)
def test_a_library_that_is_not_installed_is_one_line_that_says_how_to_get_it(
    option: str,
    library: str,
    extra: str,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SystemExit) as end:
        main(["curves", str(run), option, str(run / "there")])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1
    assert f"{option}: the library {extra} is not installed" in said and f"datum[{extra}]" in said
    assert not (run / "curves.html").exists() and not (run / "there").exists()


def _installed(library: str) -> Any:
    missing = importlib.util.find_spec(library) is None
    return pytest.mark.skipif(missing, reason=f"{library} is not installed in this environment")


@_installed("tensorboard")
def test_tensorboard_reads_what_was_logged(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["curves", str(run), "--tensorboard", str(run / "events")])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "events" / "seed-1"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("training/miou")] == [(50, 20.0), (100, 30.5)]
    assert [e.step for e in events.Scalars("training/source")] == list(range(10, 101, 10))
    assert sorted(p.name for p in (run / "events" / "source-only").iterdir()) == ["seed-1"]
    with pytest.raises(SystemExit) as end:
        main(["curves", str(run), "--tensorboard", str(run / "events")])
    assert end.value.code == 2 and "holds something already" in capsys.readouterr().err


@_installed("mlflow")
def test_mlflow_has_a_run_for_each_training(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # its file store is for trials such as this
    uri = (run / "mlruns").as_uri()
    main(["curves", str(run), "--mlflow", uri])
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("datum")
    found = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(found) == {"seed-1", "seed-2", "source-only/seed-1"}
    history = client.get_metric_history(found["seed-1"].info.run_id, "miou")
    assert [(point.step, point.value) for point in history] == [(50, 20.0), (100, 30.5)]
    assert found["seed-1"].data.metrics["source"] == 1.0
