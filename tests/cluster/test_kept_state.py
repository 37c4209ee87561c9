"""`datum state` against a real store and a server that speaks KFP's API."""

import time
import uuid
from datetime import timedelta

import pytest

from datum.store import open_store
from tests.cluster.conftest import Cluster
from tests.cluster.kfp_api import show_nodes


@pytest.fixture
def place(s3_bucket: str) -> str:
    return f"s3://{s3_bucket}/datum/state"


def keep(place: str, run_id: str, *sizes: int) -> None:
    for number, size in enumerate(sizes):
        open_store(f"{place}/{run_id}").write_bytes(f"adaptation/{number}.safetensors", bytes(size))


def started(uploaded: Cluster, name: str, state: str, *arguments: str) -> str:
    uploaded.datum("submit", "--name", name, *arguments)
    run = list(uploaded.api.runs.values())[-1]
    show_nodes(run, state, [])
    return str(run.run_id)


def test_what_runs_keep_is_listed_by_size(uploaded: Cluster, place: str) -> None:
    small, large = started(uploaded, "small", "FAILED"), started(uploaded, "large", "RUNNING")
    keep(place, small, 10)
    keep(place, large, 3_000_000, 2_000_000)
    keep(place, "gone", 1)
    ended = uploaded.datum("state", "list", "--set", f"state={place}")
    assert ended.status == 0
    heading, *rows = ended.out.splitlines()
    assert heading.split()[:5] == ["RUN", "NAME", "STATE", "FILES", "SIZE"]
    assert [row.split()[0] for row in rows] == [large, small, "gone"]
    assert [row.split()[1:4] for row in rows[:2]] == [["large", "running", "2"], ["small", "failed", "1"]]
    assert "unknown to KFP" in rows[2] and rows[0].rstrip().endswith("s ago")


def test_only_the_named_run_loses_its_state(uploaded: Cluster, place: str, s3_bucket: str) -> None:
    run_id = started(uploaded, "mine", "FAILED")
    keep(place, run_id, 10, 20)
    keep(place, f"{run_id}-2", 10)
    open_store(f"s3://{s3_bucket}/datum").write_bytes("datasets/image.png", b"x")
    ended = uploaded.datum("state", "remove", run_id, "--set", f"state={place}")
    assert ended.status == 0 and ended.out.startswith(f"{run_id}: removed 2 files, ")
    assert open_store(f"s3://{s3_bucket}/datum").list() == [
        "datasets/image.png",
        f"state/{run_id}-2/adaptation/0.safetensors",
    ]


@pytest.mark.parametrize(
    "wrong, said",
    [
        ("..", "is no run's id"),
        (".", "is no run's id"),
        ("", "is no run's id"),
        ("a/b", "is no run's id"),
        ("#", "is no run's id"),
        ("absent", "keeps nothing"),
    ],
)
def test_nothing_else_can_be_named(uploaded: Cluster, place: str, wrong: str, said: str) -> None:
    keep(place, "run", 10)
    ended = uploaded.datum("state", "remove", "run", wrong, "--set", f"state={place}")
    assert ended.status == 2 and said in ended.err and len(ended.err.splitlines()) == 1
    assert len(open_store(place).list()) == 1


def test_what_a_run_at_work_needs_stays(uploaded: Cluster, place: str) -> None:
    failed, first = started(uploaded, "failed", "FAILED"), started(uploaded, "first", "FAILED")
    reader = started(uploaded, "reader", "RUNNING", "--param", f"run_resume_from={failed}, {first}")
    keep(place, failed, 10)
    keep(place, first, 10)
    keep(place, reader, 10)
    setting = ("--set", f"state={place}")
    for run_id, said in (
        (failed, f"run {reader}, which is at work, resumes from"),
        (first, f"run {reader}, which is at work, resumes from"),
        (reader, "is at work and needs"),
    ):
        ended = uploaded.datum("state", "remove", run_id, *setting)
        assert ended.status == 2 and said in ended.err
    assert len(open_store(place).list()) == 3


def test_of_all_that_is_kept_only_what_no_run_needs_is_removed_by_its_age(
    uploaded: Cluster, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 40 * 86_400)
    old, lost = started(uploaded, "old", "FAILED"), str(uuid.uuid4())
    new, at_work = started(uploaded, "new", "FAILED"), started(uploaded, "at work", "RUNNING")
    resumed = started(uploaded, "resumed", "FAILED")
    started(uploaded, "reader", "RUNNING", "--param", f"run_resume_from={resumed}")
    uploaded.api.runs[new].finished_at += timedelta(days=35)
    for name in (old, new, at_work, resumed, lost, "artifacts"):
        keep(place, name, 10)
    setting = ("--set", f"state={place}")
    ended = uploaded.datum("state", "remove", "--older-than", "45", *setting)
    assert (ended.status, ended.out) == (0, "") and "0 of 6 runs ended more than 45 days ago" in ended.err
    ended = uploaded.datum("state", "remove", "--older-than", "30", *setting)
    assert ended.status == 0 and "2 of 6 runs" in ended.err
    assert {line.partition(":")[0] for line in ended.out.splitlines()} == {old, lost}
    left = {key.partition("/")[0] for key in open_store(place).list()}
    assert left == {new, at_work, resumed, "artifacts"}


def test_wrong_arguments_remove_nothing(uploaded: Cluster, s3_bucket: str) -> None:
    for arguments, said in (
        (("remove",), "state remove: expected the ids of runs after it, or --older-than"),
        (("remove", "run", "--older-than", "3"), "expected the ids of runs after it, or --older-than"),
        (("remove", "--older-than", "0"), "expected a whole number from 1"),
        (("list", "--older-than", "3"), "state list: expected nothing after it"),
        (("list", "run"), "state list: expected nothing after it"),
        (("list", "--set", "state=/state"), "state: found '/state', expected s3://bucket/folder"),
    ):
        ended = uploaded.datum("state", *arguments)
        assert ended.status == 2 and said in ended.err
