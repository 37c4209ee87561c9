"""Training state survives crashes, damage and restarts."""

import dataclasses
from pathlib import Path

import pytest
import torch

from datum.provenance import Provenance
from datum.store import Store, open_store
from datum.training_state import TrainingState, state_place


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    if request.param == "folder":
        return open_store(tmp_path_factory.mktemp("state"))
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/state")


def _state(value: float) -> dict:
    return {"weights": {"layer": torch.full((3,), value)}, "names": ["a"], "best": value}


def test_the_newest_state_comes_back_and_only_two_are_kept(store: Store) -> None:
    states = TrainingState(store)
    assert states.load_latest() is None
    for step in (1, 2, 30):
        states.save(step, _state(step))
    loaded = states.load_latest()
    assert loaded is not None
    step, state = loaded
    assert step == 30
    assert torch.equal(state["weights"]["layer"], torch.full((3,), 30.0))
    assert len(store.list()) == 4


def test_a_damaged_state_falls_back_to_the_one_before(store: Store) -> None:
    states = TrainingState(store)
    states.save(1, _state(1))
    states.save(2, _state(2))
    data = bytearray(store.read_bytes("state-000000002.pt"))
    data[len(data) // 2] ^= 1
    store.write_bytes("state-000000002.pt", bytes(data))
    loaded = states.load_latest()
    assert loaded is not None
    assert loaded[0] == 1


def test_a_crash_between_file_and_record_leaves_the_state_before_in_force(store: Store) -> None:
    states = TrainingState(store)
    states.save(1, _state(1))
    store.write_bytes("state-000000002.pt", b"written, but not recorded")
    loaded = states.load_latest()
    assert loaded is not None
    assert loaded[0] == 1


def test_a_state_passes_through_the_scratch_folder_and_leaves_nothing_there(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "in-transit.pt").write_bytes(b"left by a killed process")
    states = TrainingState(store, scratch=tmp_path)
    states.save(1, _state(1))
    assert list(tmp_path.iterdir()) == []
    loaded = TrainingState(store, scratch=tmp_path / "not yet there").load_latest()
    assert loaded is not None
    assert torch.equal(loaded[1]["weights"]["layer"], torch.full((3,), 1.0))


def test_a_state_that_would_run_code_is_not_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    import hashlib
    import json
    import pickle

    class Evil:
        def __reduce__(self) -> tuple:
            return (print, ("executed",))

    store = open_store(tmp_path_factory.mktemp("state"))
    data = pickle.dumps(Evil())
    store.write_bytes("state-000000001.pt", data)
    record = {"step": 1, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    store.write_bytes("state-000000001.json", json.dumps(record).encode())
    with pytest.raises(pickle.UnpicklingError):
        TrainingState(store).load_latest()


def test_a_training_has_a_place_of_its_own(tmp_path: Path) -> None:
    provenance = Provenance(stage="adapt", settings={"iterations": 5}, seed=1)
    assert (
        state_place(f"{tmp_path.as_uri()}/", provenance) == f"{tmp_path.as_uri()}/adapt-{provenance.digest()}"
    )
    assert provenance.digest() != dataclasses.replace(provenance, seed=2).digest()
