"""The history of reproductions: what is appended, read, shown and refused."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from datum.cli import main
from datum.errors import InputError
from datum.formats.history import Reproduction, append_reproduction, read_history
from datum.reporting.remember import remember
from datum.reporting.report import report
from datum.store import open_store
from tests.reporting.test_drift import reproduction
from tests.reporting.test_report import Page, read_json, write_run


def filled(place: str, scores: list[float]) -> list[Reproduction]:
    runs = [reproduction(1_700_000_000 + 1000 * n, [score] * 3) for n, score in enumerate(scores)]
    for run in runs:
        append_reproduction(open_store(place), run)
    return runs


def as_it_is_read(run: Reproduction) -> Any:
    """With the lists that JSON has."""
    return json.loads(json.dumps(run, default=lambda one: vars(one)))


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_writers_at_once_lose_nothing(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind == "folder":
        place = str(tmp_path / "history")
    else:
        place = f"s3://{request.getfixturevalue('s3_bucket')}/reports/history"
    runs = [reproduction(n, [60.0 + n, 61.0]) for n in range(12)]

    def write(own: list[Reproduction]) -> None:
        for run in own:
            append_reproduction(open_store(place), run)

    writers = [threading.Thread(target=write, args=(runs[n::3],)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = read_history(open_store(place), place)
    assert [as_it_is_read(run) for run in found] == [as_it_is_read(run) for run in runs]


def test_a_run_that_is_reported_again_stands_there_once(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"seed-{s}", seed=s, miou=20 + s) for s in (1, 2, 3)]
    history = str(tmp_path / "history")
    for _ in range(2):
        report(runs=runs, output=tmp_path / "report", history=history)
        remember(tmp_path / "report", history, run="", report="there")
    (found,) = read_history(open_store(history), history)
    assert (found.miou, found.report, [seed.seed for seed in found.seeds]) == (22.0, "there", [1, 2, 3])
    assert found.about["title"] == "DATUM + DAFormer"
    assert (
        found.seeds[0].iou["road"] == read_json(tmp_path / "report")["methods"][0]["seeds"][0]["iou"]["road"]
    )


def test_a_drop_is_flagged_in_page_figures_and_table_and_in_the_history(tmp_path: Path) -> None:
    history = str(tmp_path / "history")
    printed = ""
    for number in range(8):
        score = 30 if number < 7 else 20
        # Each with checkpoints of its own.
        run = write_run(tmp_path / f"{number}", seed=number, miou=score)
        output = tmp_path / f"report-{number}"
        printed = report(runs=[run], output=output, history=history, run_id=f"run-{number}")
        remember(output, history, run=f"run-{number}", report=str(output))
    drift = read_json(tmp_path / "report-7")["drift"]
    reason = "the median mIoU 20.00 is outside the band of 7 earlier runs, 27.50 to 32.50"
    assert drift == {
        "drifted": True,
        "reasons": [reason],
        "earlier_runs": 7,
        "band": [27.5, 32.5],
        "unread": "",
    }
    assert f"Drifted: {reason}." in printed
    assert f"Drifted: {reason}." in Page(tmp_path / "report-7" / "report.html").text
    assert read_history(open_store(history), history)[-1].reasons == [reason]
    before = read_json(tmp_path / "report-6")["drift"]
    assert (before["drifted"], before["earlier_runs"]) == (False, 6)
    assert "Inside the band of 6 earlier runs" in Page(tmp_path / "report-6" / "report.html").text


def damaged(history: Path) -> None:
    file = sorted(history.glob("*.json"))[0]
    file.write_text(file.read_text()[:100])


def test_a_damaged_history_costs_no_run_and_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "history"
    filled(str(history), [30.0])
    damaged(history)
    run = write_run(tmp_path / "run", seed=1, miou=30)
    printed = report(runs=[run], output=tmp_path / "report", history=str(history))
    remember(tmp_path / "report", str(history), run="", report="there")
    assert "The history of earlier runs could not be read" in printed
    assert ".json: is not JSON" in read_json(tmp_path / "report")["drift"]["unread"]
    assert "history: " in capsys.readouterr().err
    assert len(list(history.glob("*.json"))) == 2


def test_a_place_that_cannot_be_written_costs_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", seed=1, miou=30)
    (tmp_path / "file").write_text("")
    history = str(tmp_path / "file" / "history")
    report(runs=[run], output=tmp_path / "report", history=history)
    remember(tmp_path / "report", history, run="", report="there")
    assert "this run is not remembered" in capsys.readouterr().err


def test_a_report_that_is_made_by_itself_says_nothing_of_drift(tmp_path: Path) -> None:
    report(runs=[write_run(tmp_path / "run", seed=1, miou=30)], output=tmp_path / "report")
    assert read_json(tmp_path / "report")["drift"] is None
    assert "earlier runs" not in Page(tmp_path / "report" / "report.html").text


def test_the_command_prints_and_draws_each_series(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    history = tmp_path / "history"
    filled(str(history), [66.0, 66.5, 65.5, 66.0, 66.0, 66.0, 60.0])
    other = reproduction(
        5, [40.0], run="other", settings={"adaptation.iterations": 20}, reasons=["it <fell>"]
    )
    append_reproduction(open_store(history), other)
    main(["history", str(history), "--output", str(tmp_path / "page.html")])
    printed = capsys.readouterr().out
    first, second, page = printed.strip().split("\n\n")
    assert first.count("\n") == 2 and "other" in first and "it <fell>" in first
    lines = second.split("\n")
    assert len(lines) == 9 and lines[2].split()[3] == "66.00"
    strips = [line.split()[5] for line in lines[2:]]
    assert all(len(strip) == 40 for strip in strips)
    # The last stands below its band.
    assert strips[-1].index("o") < strips[-1].index("[") < strips[-1].index("]")
    assert page == str(tmp_path / "page.html")
    shown = Page(tmp_path / "page.html")
    assert shown.open == []
    assert "it <fell>" in shown.text and "63.50 to 68.50" in shown.text
    assert [tag for tag, _ in shown.elements].count("svg") == 2
    monkeypatch.setenv("DATUM_HISTORY", str(history))
    main(["history"])
    assert capsys.readouterr().out.strip() == printed.strip().removesuffix(f"\n\n{page}")
    monkeypatch.setenv("DATUM_HISTORY", str(tmp_path / "none"))
    main(["history"])
    assert "no reproduction has been remembered yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    "old, new",
    [
        ('"miou": 66.0,\n  "seeds"', '"miou": 166.0,\n  "seeds"'),
        ('"seed": 1', '"seed": "one"'),
        ('"reasons": []', '"reasons": [1]'),
        ('"about": {', '"about": [{'),
        ('"finished"', '"ended"'),
        ('"finished": 1', '"finished": 1e300, "x": 1'),
        ('"train": 60.0', '"train": NaN'),
    ],
)
def test_a_damaged_history_is_one_line(
    old: str, new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(str(tmp_path), [66.0])
    (file,) = tmp_path.glob("*.json")
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(SystemExit) as end:
        main(["history", str(tmp_path)])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1
    assert said.startswith(f"datum: {file}") and "remove the file" in said


@pytest.mark.parametrize("words", [["missing"], ["ftp://x"], ["--output", "."]])
def test_what_is_no_history_is_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["history", *words])
    assert end.value.code == 2


def test_what_later_releases_add_is_passed_over(tmp_path: Path) -> None:
    filled(str(tmp_path), [66.0])
    (file,) = tmp_path.glob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"cost": 3}))
    assert [run.miou for run in read_history(open_store(tmp_path), "place")] == [66.0]


def test_an_id_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run's id"):
        append_reproduction(open_store(tmp_path), reproduction(0, [66.0], run="../x"))
