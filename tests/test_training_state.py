"""Training state survives crashes, damage and restarts."""

import dataclasses
import errno
import hashlib
import json
import pickle
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from datum.errors import TemporaryFaultError
from datum.patience import persevere
from datum.provenance import Provenance
from datum.store import FolderStore, Store, open_store
from datum.training_state import TrainingState, state_place

NEWEST = "state-000000002"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    if request.param == "folder":
        return open_store(tmp_path_factory.mktemp("state"))
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/state")


def _state(value: float) -> dict:
    return {"weights": {"layer": torch.full((3,), value)}, "names": ["a"], "loss": value}


def _save(store: Store, *steps: int, **seldom: Any) -> None:
    with TrainingState(store) as states:
        for step in steps:
            states.save(step, _state(step), seldom=seldom)
            states.wait()


def _loaded_step(store: Store, fits: Callable[[dict], bool] = lambda state: True) -> int | None:
    loaded = TrainingState(store).load_latest(fits)
    return loaded[0] if loaded else None


def test_the_newest_state_comes_back_and_only_two_are_kept(store: Store) -> None:
    assert _loaded_step(store) is None
    _save(store, 1, 2, 30)
    loaded = TrainingState(store).load_latest()
    assert loaded is not None
    step, state = loaded
    assert step == 30
    assert torch.equal(state["weights"]["layer"], torch.full((3,), 30.0))
    assert len(store.list()) == 4


def test_a_state_is_of_the_moment_it_was_saved_at(tmp_path: Path) -> None:
    weights, history = torch.zeros(3), [{"loss": 1.0}]
    with TrainingState(FolderStore(tmp_path)) as states:
        states.save(1, {"weights": weights, "history": history})
        weights += 1
        history.append({"loss": 2.0})
    loaded = TrainingState(FolderStore(tmp_path)).load_latest()
    assert loaded is not None
    assert torch.equal(loaded[1]["weights"], torch.zeros(3)) and loaded[1]["history"] == [{"loss": 1.0}]


def test_what_changes_seldom_is_stored_once_and_comes_back_with_every_state(store: Store) -> None:
    best = {"weights": torch.ones(1000), "miou": 40.0}
    with TrainingState(store) as states:
        for step in (1, 2, 3):
            states.save(step, _state(step), seldom={"best": best})
            states.wait()
    assert [key for key in store.list() if "best" in key] == ["state-000000001-best.pt"]
    resumed = TrainingState(store)
    loaded = resumed.load_latest()
    assert loaded is not None and loaded[0] == 3 and loaded[1]["best"]["miou"] == 40.0
    with resumed as states:
        states.save(4, _state(4), seldom={"best": loaded[1]["best"]})
        states.wait()
        assert [key for key in store.list() if "best" in key] == ["state-000000001-best.pt"]
        for step in (5, 6):
            states.save(step, _state(step), seldom={"best": {"miou": 41.0}})
            states.wait()
    assert [key for key in store.list() if "best" in key] == [
        "state-000000005-best.pt",
        "state-000000006-best.pt",
    ]


@pytest.mark.parametrize("where", [0.1, 0.5, 0.99])
def test_a_state_with_a_flipped_bit_falls_back_to_the_one_before(
    store: Store, where: float, capsys: pytest.CaptureFixture[str]
) -> None:
    _save(store, 1, 2)
    data = bytearray(store.read_bytes(f"{NEWEST}.pt"))
    data[int(len(data) * where)] ^= 1
    store.write_bytes(f"{NEWEST}.pt", bytes(data))
    assert _loaded_step(store) == 1
    assert f"training state {NEWEST} is damaged" in capsys.readouterr().err


def _code() -> bytes:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path("executed").touch, ())

    return pickle.dumps(Evil())


def _bomb(folder: Path) -> bytes:
    torch.save(torch.zeros(2**20), folder / "plain.pt")
    bomb = zipfile.ZipFile(folder / "bomb.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(folder / "plain.pt") as plain, bomb:
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    return (folder / "bomb.pt").read_bytes()


def _huge(folder: Path) -> bytes:
    torch.save({"weights": torch.zeros(1).expand(10**6, 10**6)}, folder / "huge.pt")
    return (folder / "huge.pt").read_bytes()


@pytest.mark.parametrize("content", ["nothing", "text", "code", "truncated", "bomb", "huge"])
def test_a_state_that_is_no_state_falls_back_to_the_one_before_and_runs_nothing(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record agrees with it: whoever writes into the store can write both."""
    monkeypatch.chdir(tmp_path)
    store = FolderStore(tmp_path / "state")
    _save(store, 1, 2)
    whole = store.read_bytes(f"{NEWEST}.pt")
    data = {
        "nothing": b"",
        "text": b"no state",
        "code": _code(),
        "truncated": whole[: len(whole) // 2],
        "bomb": _bomb(tmp_path),
        "huge": _huge(tmp_path),
    }[content]
    store.write_bytes(f"{NEWEST}.pt", data)
    file = {"key": f"{NEWEST}.pt", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    record = {"step": 2, "files": {"changing": file}}
    store.write_bytes(f"{NEWEST}.json", json.dumps(record).encode())
    assert _loaded_step(store) == 1
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"[1, 2]",
        b'{"step": 2}',
        b'{"files": {}}',
        b'{"files": [1]}',
        b'{"files": {"changing": {"key": "state-000000002.pt", "sha256": 1, "bytes": "many"}}}',
        b'{"files": {"changing": {"key": "../../secret.pt", "sha256": "", "bytes": 1}}}',
        b" " * 10**6,
    ],
)
def test_a_record_that_is_none_falls_back_to_the_state_before(tmp_path: Path, record: bytes) -> None:
    store = FolderStore(tmp_path)
    _save(store, 1, 2)
    store.write_bytes(f"{NEWEST}.json", record)
    assert _loaded_step(store) == 1
    _save(store, 3, 4)
    assert store.list() == [f"state-00000000{step}.{kind}" for step in (3, 4) for kind in ("json", "pt")]


def test_a_state_that_does_not_fit_the_training_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FolderStore(tmp_path)
    _save(store, 1, 2)
    assert _loaded_step(store, fits=lambda state: state["loss"] < 2) == 1
    assert _loaded_step(store, fits=lambda state: state["no such part"]) is None
    assert "state-000000002 does not fit this training" in capsys.readouterr().err


def test_a_crash_between_file_and_record_leaves_the_state_before_in_force(store: Store) -> None:
    _save(store, 1)
    store.write_bytes("state-000000002.pt", b"written, but not recorded")
    assert _loaded_step(store) == 1


def test_a_state_passes_through_the_scratch_folder_and_leaves_nothing_there(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "in-transit.pt").write_bytes(b"left by a killed process")
    with TrainingState(store, scratch=tmp_path) as states:
        states.save(1, _state(1))
    assert list(tmp_path.iterdir()) == []
    loaded = TrainingState(store, scratch=tmp_path / "not yet there").load_latest()
    assert loaded is not None
    assert torch.equal(loaded[1]["weights"]["layer"], torch.full((3,), 1.0))


def test_a_store_that_refuses_ends_the_training_at_its_next_step(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder is needed")
    states = TrainingState(FolderStore(tmp_path / "state"))
    states.save(1, _state(1))
    with pytest.raises(OSError):
        states.wait()
    with pytest.raises(OSError):
        states.check()


def test_a_full_disk_is_raised_as_one(tmp_path: Path) -> None:
    """PyTorch's own error speaks of an unexpected position in the file."""
    (tmp_path / "in-transit.pt").symlink_to("/dev/full")
    states = TrainingState(FolderStore(tmp_path / "state"), scratch=tmp_path)
    states.save(1, {"weights": torch.zeros(2**20)})
    with pytest.raises(OSError) as raised:
        states.wait()
    assert raised.value.errno == errno.ENOSPC


class AwayStore(FolderStore):
    """A folder that is out of reach until told otherwise, and waits as a store in the network does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.back, self.tried = threading.Event(), threading.Event()

    def put(self, file: Path, key: str, digest: str = "") -> None:
        persevere("store", lambda: self._put(file, key, digest))

    def _put(self, file: Path, key: str, digest: str) -> None:
        self.tried.set()
        if not self.back.is_set():
            raise TemporaryFaultError("the store does not answer")
        super().put(file, key, digest)


def test_a_training_goes_on_while_the_store_is_away_and_its_newest_state_is_stored_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = AwayStore(tmp_path)
    states = TrainingState(store)
    states.save(1, _state(1))
    assert store.tried.wait(10)
    for step in (2, 3, 4):
        states.save(step, _state(step))
        states.check()
    assert store.list() == []
    store.back.set()
    states.wait()
    # The first was on its way; of those that waited the newest has replaced the others.
    assert [key for key in store.list() if key.endswith(".json")] == [
        "state-000000001.json",
        "state-000000004.json",
    ]
    assert "the store does not answer; try 1, again in" in capsys.readouterr().err


def test_a_store_that_stays_away_ends_the_training_with_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATUM_PATIENCE", "0")
    states = TrainingState(AwayStore(tmp_path))
    states.save(1, _state(1))
    with pytest.raises(TemporaryFaultError, match="the store does not answer"):
        states.wait()


def test_an_error_of_the_training_is_not_hidden_by_one_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder is needed")
    states = TrainingState(FolderStore(tmp_path / "state"))
    with pytest.raises(TemporaryFaultError, match="the training's own"), states:
        states.save(1, _state(1))
        raise TemporaryFaultError("the training's own")


def test_a_training_has_a_place_of_its_own(tmp_path: Path) -> None:
    provenance = Provenance(stage="adapt", settings={"iterations": 5}, seed=1)
    assert (
        state_place(f"{tmp_path.as_uri()}/", provenance) == f"{tmp_path.as_uri()}/adapt-{provenance.digest()}"
    )
    assert provenance.digest() != dataclasses.replace(provenance, seed=2).digest()
