"""What a run is said to need of the store, before it begins."""

import re
from pathlib import Path
from typing import Any

import pytest

from components.check import check_run
from components.run_room import KEPT_STATES, bytes_of_model, bytes_of_scenes, room_of_run
from components.task import SCRATCH
from datum import training_state
from datum.config import DEMO, PAPER, load_settings
from datum.store import open_store
from tests.components.test_inside import installed

GTA = 57 * 10**9


def paper(**changes: Any) -> tuple[int, ...]:
    """GB of data, artifacts and state of a run of the paper's size."""
    settings = load_settings("paper", changes.pop("overrides", []))
    model = bytes_of_model("", settings)
    room = room_of_run(settings, **{"data": GTA, "model": model, "seeds": 3, **changes})
    return tuple(round(size / 10**9) for size in (room.datasets, room.artifacts, room.state))


def test_a_run_of_the_papers_size_needs_what_its_checkpoints_states_and_drawings_take() -> None:
    # A seed: five checkpoints of 5.5 GB; four of 4 GB and three optimizers of 8 GB to resume from; 1.6 GB
    # drawn; 0.7 GB of trained networks, 5.1 GB of states.
    assert paper() == (57, 89, 139)
    assert paper(seeds=1) == (57, 30, 46)
    assert paper(draws=False) == (57, 4, 31)
    assert paper(seeds=0) == (57, 0, 0)
    assert paper(overrides=["personalization.steps=200"]) == (57, 23, 20)
    assert paper(seeds=1, variants=7) == (57, 45, 93)


def test_the_demo_needs_little() -> None:
    room = room_of_run(DEMO, data=bytes_of_scenes(DEMO.datasets), model=bytes_of_model("", DEMO), seeds=3)
    assert 30e6 < room.datasets < 60e6 and room.artifacts < 400e6 and room.state < 1e9


def test_the_states_counted_are_those_that_are_kept() -> None:
    assert KEPT_STATES == training_state.KEPT_STATES


def test_a_model_in_the_store_counts_as_what_it_is_and_one_of_the_hub_as_stable_diffusion(
    s3_bucket: str, tmp_path: Path
) -> None:
    open_store(f"s3://{s3_bucket}/model").write_bytes("unet/model.safetensors", b"0" * 1000)
    assert bytes_of_model(f"s3://{s3_bucket}/model", PAPER) == 1000
    assert bytes_of_model("", PAPER) == bytes_of_model("owner/name", PAPER) == 5_500_000_000
    assert bytes_of_model("streetscenes", PAPER) == bytes_of_model("", DEMO) > 10_000_000


def test_the_first_task_says_what_the_run_needs_less_the_data_that_are_ingested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCRATCH, str(tmp_path))
    (tmp_path / "gta" / "images").mkdir(parents=True)
    (tmp_path / "gta" / "images" / "1.png").write_bytes(b"0" * 4_000_000)
    installation = installed(f"file://{tmp_path}", profile="paper")
    parameters: dict[str, Any] = {
        **{"benchmark": "gta-to-cityscapes", "method": "daformer", "encoder": "mit-b5"},
        **{"source": str(tmp_path / "gta"), "target": str(tmp_path / "gta"), "base_model": "owner/name"},
        **{"pretrained_encoder": "random", "resume_from": "", "title": "", "overrides": [], "variants": []},
        **{"seeds": [1, 2, 3], "named": [], "inputs": [], "installation": installation},
    }
    page = tmp_path / "findings.md"
    check_run(page=page, in_cluster=True, draws=True, **{**parameters, "seeds": []})
    rows = [line.split(" | ") for line in page.read_text(encoding="utf-8").splitlines()[2:]]
    assert [row[0] for row in rows[:6]] == [
        *("| parameters", "| room", "| datasets", "| state", "| reports", "| metadata store"),
    ]
    # A folder takes some bytes itself.
    assert re.match(r"the run needs up to 8(\.0\d)? MB of data, 0 kB of artifacts", rows[1][2])
    assert re.search(r"up to 8(\.0\d)? MB are needed", rows[2][2])
    installation["datasets"] = f"file://{tmp_path}/gta"
    parameters["source"] = parameters["target"] = f"file://{tmp_path}/gta/gta-0123456789abcdef"
    check_run(page=page, in_cluster=True, draws=True, **{**parameters, "seeds": []})
    assert "up to 0 kB of data" in page.read_text(encoding="utf-8")
    assert "room" in capsys.readouterr().err
