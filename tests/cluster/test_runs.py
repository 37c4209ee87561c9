"""`datum runs` against a server that speaks KFP's API, and a real store."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datum.store import open_store
from tests.cluster.conftest import Cluster
from tests.cluster.kfp_api import show_nodes
from tests.reporting.test_compare import matrices, reported


def test_runs_are_listed_from_the_latest(uploaded: Cluster) -> None:
    for name in ("first", "second", "third"):
        uploaded.datum("submit", "--name", name)
    first, second, _ = uploaded.api.runs.values()
    show_nodes(first, "SUCCEEDED", [])
    show_nodes(second, "FAILED", [])
    ended = uploaded.datum("runs")
    assert ended.status == 0
    heading, *rows = ended.out.splitlines()
    assert heading.split() == ["NAME", "STATE", "STARTED", "DURATION", "mIoU", "(median)", "ID", "URL"]
    states = [row.split()[:2] for row in rows]
    assert states == [["third", "pending"], ["second", "failed"], ["first", "succeeded"]]
    started = f"{first.created_at.astimezone():%Y-%m-%d %H:%M}"
    page = f"{uploaded.url}/#/runs/details/{first.run_id}"
    assert rows[2].split(maxsplit=2)[2] == f"{started}  1h02m     –{' ' * 14}{first.run_id}  {page}"


def test_a_run_at_work_shows_the_time_so_far(uploaded: Cluster) -> None:
    uploaded.datum("submit", "--name", "long")
    (run,) = uploaded.api.runs.values()
    show_nodes(run, "RUNNING", [])
    run.created_at = datetime.now(UTC) - timedelta(hours=30, minutes=20, seconds=10)
    assert "  30h20m  " in uploaded.datum("runs").out


def test_only_as_many_as_asked_for_and_only_of_the_experiment(uploaded: Cluster) -> None:
    for name in ("first", "second", "third"):
        uploaded.datum("submit", "--name", name)
    uploaded.datum("submit", "--name", "other", "--set", "experiment=elsewhere")
    rows = uploaded.datum("runs", "--limit", "2").out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["third", "second"]


@pytest.mark.parametrize("limit", ["0", "201", "many"])
def test_a_limit_that_kfp_does_not_take_is_refused(cluster: Cluster, limit: str) -> None:
    ended = cluster.datum("runs", "--limit", limit)
    assert (
        ended.status == 2 and f"--limit: found '{limit}', expected a whole number from 1 to 200" in ended.err
    )


def test_miou_comes_from_the_published_report(uploaded: Cluster, s3_bucket: str) -> None:
    for name in ("published", "silent"):
        uploaded.datum("submit", "--name", name)
    for run in uploaded.api.runs.values():
        show_nodes(run, "SUCCEEDED", [])
    published = next(iter(uploaded.api.runs))
    checkpoint = {"file": "median_checkpoint/last.safetensors", "sha256": "0" * 64, "miou": 58.249}
    report = {"median_checkpoint": checkpoint}
    open_store(f"s3://{s3_bucket}/r/{published}").write_bytes("report.json", json.dumps(report).encode())
    ended = uploaded.datum("runs", "--set", f"reports=s3://{s3_bucket}/r")
    silent, of_published = ended.out.splitlines()[1:]
    assert of_published.split()[5] == "58.2" and silent.split()[5] == "–"
    assert ended.err == ""


def test_without_the_store_one_line_says_why_no_miou_is_shown(uploaded: Cluster) -> None:
    uploaded.datum("submit", "--name", "first")
    show_nodes(next(iter(uploaded.api.runs.values())), "SUCCEEDED", [])
    ended = uploaded.datum("runs")
    assert ended.status == 0 and "first" in ended.out
    (line,) = ended.err.splitlines()
    assert line.startswith("mIoU is not shown: ") and "lacks S3_ENDPOINT" in line


def test_one_run_is_shown_until_it_ends(uploaded: Cluster) -> None:
    uploaded.datum("submit", "--name", "mine")
    (run,) = uploaded.api.runs.values()
    uploaded.api.on_look = lambda run: show_nodes(run, "SUCCEEDED", [])
    ended = uploaded.datum("runs", run.run_id)
    assert ended.status == 0 and ended.err.splitlines()[-1] == "mine: succeeded after 1h02m"


def test_the_beginning_of_an_id_names_a_run(uploaded: Cluster) -> None:
    uploaded.datum("submit", "--name", "mine")
    (run,) = uploaded.api.runs.values()
    uploaded.api.on_look = lambda run: show_nodes(run, "SUCCEEDED", [])
    assert "mine: succeeded" in uploaded.datum("runs", run.run_id[:8]).err


def test_the_beginning_of_an_id_names_a_run_to_compare(uploaded: Cluster, tmp_path: Path) -> None:
    uploaded.datum("submit", "--name", "first")
    (run_id,) = uploaded.api.runs
    reported(tmp_path / "first", {1: matrices(1, 0.8)}).rename(tmp_path / run_id)
    other = reported(tmp_path / "other", {1: matrices(2, 0.8)})
    words = ["compare", run_id[:8], str(other), "--output", str(tmp_path / "out")]
    ended = uploaded.datum(*words, "--set", f"reports=file://{tmp_path}")
    assert ended.status == 0, ended.err
    assert (tmp_path / "out" / "comparison.html").is_file()


def test_a_run_that_is_not_there_is_bad_input(uploaded: Cluster) -> None:
    ended = uploaded.datum("runs", "absent")
    assert (ended.status, ended.err) == (2, "datum: no run absent; `datum runs` lists them\n")
    ended = uploaded.datum("runs", "0" * 36)
    assert (ended.status, ended.err) == (2, f"datum: no run {'0' * 36}; `datum runs` lists them\n")
    assert "of which run?" in uploaded.datum("runs", "--output", "x").err


def test_a_run_whose_version_was_deleted_is_shown_without_its_tasks(uploaded: Cluster) -> None:
    uploaded.datum("submit", "--name", "mine")
    (run,) = uploaded.api.runs.values()
    uploaded.datum("upload", "--remove")
    uploaded.api.on_look = lambda run: show_nodes(run, "FAILED", [])
    ended = uploaded.datum("runs", run.run_id)
    assert ended.status == 1 and "run 'mine' failed after 1h02m; see " in ended.err


def test_a_multi_user_kfp_gets_the_namespace(uploaded: Cluster) -> None:
    uploaded.api.multi_user = True
    assert uploaded.datum("submit", "--set", "namespace=team").status == 0
    (experiment,) = uploaded.api.experiments.values()
    assert experiment.namespace == "team"
    assert uploaded.datum("schedule", "weekly", "--set", "namespace=team").status == 0
    assert "reproduction 20" in uploaded.datum("runs", "--set", "namespace=team").out
