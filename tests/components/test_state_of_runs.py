"""What a run keeps in the store, publishes there and removes: its own, and never another's."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.task import RUN_ID, own_state, publish_report, remove_state
from datum.errors import InputError
from datum.kept_folder import get_folder
from datum.store import open_store
from tests.transfer.folders import content_of


@pytest.fixture(autouse=True)
def run_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datum.store.succession._predecessors", {})
    monkeypatch.setenv(RUN_ID, "run-2")


@pytest.fixture(params=["folder", "s3"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place with the state of three runs and a data set beside it."""
    root = str(tmp_path) if request.param == "folder" else f"s3://{request.getfixturevalue('s3_bucket')}"
    for key in ("datasets/a", "state/run-1/adapt-1/x", "state/run-2/adapt-1/y", "state/run-20/adapt-1/z"):
        open_store(root).write_bytes(key, key.encode())
    return f"{root}/state"


def test_state_is_kept_by_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_state("s3://bucket/state/", "") == "s3://bucket/state/run-2"
    assert own_state("s3://bucket/state", "run-1") == "s3://bucket/state/run-2"
    assert own_state("", "run-1") is None
    monkeypatch.delenv(RUN_ID)
    assert own_state("s3://bucket/state", "") is None


def test_a_run_that_goes_on_reads_the_earlier_ones_state_and_writes_to_its_own(state: str) -> None:
    place = own_state(state, "run-1")
    store = open_store(f"{place}/adapt-1")
    assert store.list() == ["x", "y"]
    assert store.read_bytes("x") == b"state/run-1/adapt-1/x"
    store.write_bytes("x", b"newer")
    store.delete("x")
    store.write_bytes("x", b"newest")
    assert store.read_bytes("x") == b"newest"
    assert open_store(f"{state}/run-1").read_bytes("adapt-1/x") == b"state/run-1/adapt-1/x"
    assert open_store(f"{state}/run-20/adapt-1").list() == ["z"]


def test_of_several_earlier_runs_the_first_that_has_a_file_gives_it(state: str) -> None:
    for key in ("run-1/adapt-1/z", "run-0/adapt-1/x", "run-0/adapt-1/w"):
        open_store(state).write_bytes(key, key.encode())
    place = own_state(state, "run-20, run-1,run-0")
    store = open_store(f"{place}/adapt-1")
    assert store.list() == ["w", "x", "y", "z"]
    assert [store.read_bytes(key).decode().removeprefix("state/") for key in store.list()] == [
        "run-0/adapt-1/w",
        "run-1/adapt-1/x",
        "run-2/adapt-1/y",
        "run-20/adapt-1/z",
    ]


@pytest.mark.parametrize("resume_from", ["", "run-1", "run-2", "run-3,run-1"])
def test_a_run_removes_its_own_state_alone(
    state: str, resume_from: str, capsys: pytest.CaptureFixture[str]
) -> None:
    remove_state(state, resume_from)
    root = open_store(state.removesuffix("/state"))
    assert root.list() == ["datasets/a", "state/run-1/adapt-1/x", "state/run-20/adapt-1/z"]
    said = capsys.readouterr().err
    assert "run-2: removed 1 files of state" in said
    assert ("run-1: the state of that run stays" in said) == ("run-1" in resume_from)


@pytest.mark.parametrize(
    "name", ["#", "?", "..", ".", "../datasets", "a/b", "run-1#", "run-1,", "run-1,..", "%2e%2e", "", " "]
)
def test_no_id_leads_out_of_a_runs_place(state: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_store(state.removesuffix("/state")).list()
    if name:
        with pytest.raises(InputError, match="is no run's id"):
            remove_state(state, name)
    monkeypatch.setenv(RUN_ID, name)
    if name:
        with pytest.raises(InputError, match="is no run's id"):
            remove_state(state, "")
    else:
        remove_state(state, "")
    assert open_store(state.removesuffix("/state")).list() == before


@pytest.mark.parametrize("place", ["s3://bucket#", "s3://bucket/?", "s3://bucket/..", "file:///a/%2e%2e/b"])
def test_a_place_that_could_be_another_is_refused(s3_environment: str, place: str) -> None:
    with pytest.raises(InputError, match=r"expected s3://|name a place without"):
        own_state(place, "")


def a_report(folder: Path, text: bytes) -> Path:
    files = {"report.json": b'{"by": "%s"}' % text, "report.html": text, "median_checkpoint/best": text}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def published(reports: str, back: Path) -> dict[str, bytes]:
    get_folder(open_store(f"{reports}/run-2"), "", back)
    return content_of(back)


def test_a_report_comes_back_as_it_was_published_and_a_later_one_replaces_it(
    state: str, tmp_path: Path
) -> None:
    reports = state.replace("/state", "/reports")
    for text in (b"first", b"second"):
        report = a_report(tmp_path / text.decode(), text)
        publish_report(report, reports)
        assert published(reports, tmp_path / f"back-{text.decode()}") == content_of(report)


def test_of_two_that_publish_at_once_one_wins_and_the_other_says_so(state: str, tmp_path: Path) -> None:
    reports, start = state.replace("/state", "/reports"), threading.Barrier(2)

    def publish(text: bytes) -> str:
        report = a_report(tmp_path / text.decode(), text)
        start.wait()
        try:
            publish_report(report, reports)
        except InputError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(publish, (b"one", b"other")))
    assert "" in said and all("another process has published its report" in text for text in said if text)
