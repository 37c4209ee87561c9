"""The metrics: what stages report through what they call anyway, and README's table of them."""

import time
from pathlib import Path

import pytest

from datum.errors import TemporaryFaultError
from datum.formats.training_log import TrainingLog
from datum.instruments import INSTRUMENTS, Instrument, StepClock, forget, readings, with_metrics
from datum.patience import persevere
from datum.store import open_store
from datum.telemetry import Progress
from datum.training_state import TrainingState


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    forget()


def values(name: str) -> dict[str, float]:
    """The values of a metric by those of its own label."""
    return dict(next((found for one, found in readings() if one.name == name), {}))


def test_the_table_in_readme_is_the_one_of_now() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert with_metrics(readme) == readme, "run `python -m datum.instruments README.md`"
    assert all(f"| `{name}` |" in readme for name in INSTRUMENTS)


def test_a_line_of_the_training_log_is_what_the_metrics_say(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path)
    log.append({"iteration": 50, "source": 1.5, "mixed": 0.25, "confident_share": 0.5, "seconds": 9.0})
    log.append({"iteration": 50, "miou": 42.0, "images_per_second": 3.0, "learning_rate": 6e-5})
    assert values("datum_loss") == {"source": 1.5, "mixed": 0.25}
    assert values("datum_confident_pseudo_labels_ratio") == {"": 0.5}
    assert values("datum_validation_miou") == {"": 42.0}
    assert values("datum_images_per_second") == {"": 3.0}


def test_progress_says_how_far_the_work_is_and_when_it_moved_last() -> None:
    progress = Progress("adapt", 40, unit="iterations", done=10)
    assert values("datum_work_done") == {"iterations": 10}
    progress.advance(2)
    assert values("datum_work_done") == {"iterations": 12}
    assert values("datum_work_planned") == {"iterations": 40}
    assert time.time() - values("datum_progress_timestamp_seconds")[""] < 5


@pytest.mark.parametrize("kind", ["folder", "S3"])
def test_bytes_are_counted_both_ways_and_a_saved_state_says_when(
    kind: str, tmp_path: Path, s3_bucket: str
) -> None:
    store = open_store(tmp_path / "store" if kind == "folder" else f"s3://{s3_bucket}/state")
    sent = values("datum_store_bytes_total")["sent"]
    store.write_bytes("a", b"x" * 1000)
    (tmp_path / "file").write_bytes(b"y" * 10 * 2**20)  # goes in parts
    store.put(tmp_path / "file", "b")
    assert values("datum_store_bytes_total")["sent"] - sent >= 1000 + 10 * 2**20
    assert values("datum_store_bytes_total")["sent"] - sent < 1000 + 10 * 2**20 + 5000
    store.get("b", tmp_path / "back")
    assert store.read_bytes("a") == b"x" * 1000
    assert values("datum_store_bytes_total")["received"] == 1000 + 10 * 2**20
    with TrainingState(store, tmp_path / "scratch") as states:
        began = values("datum_state_saved_timestamp_seconds")[""]
        time.sleep(0.05)
        states.save(1, {"iteration": 1})
        states.wait()
        assert values("datum_state_saved_timestamp_seconds")[""] > began


def test_a_fault_that_is_waited_out_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datum.patience.LONGEST_PAUSE", 0.01)
    faults = [TemporaryFaultError("away"), TemporaryFaultError("away")]

    def attempt() -> str:
        if faults:
            raise faults.pop()
        return "there"

    assert persevere("store", attempt, of="store") == "there"
    assert values("datum_retries_total") == {"store": 2, "download": 0, "registry": 0, "task": 0}


def test_the_parts_of_a_step_add_up_to_its_time() -> None:
    clock, started = StepClock(), time.monotonic()
    time.sleep(0.02)
    clock.part("loading")
    time.sleep(0.05)
    clock.part("computing")
    passed = time.monotonic() - started
    parts = values("datum_step_seconds_total")
    assert parts["loading"] >= 0.02 and parts["computing"] >= 0.05 and parts["saving"] == 0
    assert sum(parts.values()) == pytest.approx(passed, abs=0.01)


def test_names_follow_prometheus_conventions() -> None:
    def is_named_well(one: Instrument) -> bool:
        return one.name.startswith("datum_") and (one.kind == "counter") == one.name.endswith("_total")

    assert all(map(is_named_well, INSTRUMENTS.values()))
