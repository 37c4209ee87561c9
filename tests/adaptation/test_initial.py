"""Trainings that start from a trained network."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from datum.adaptation.adapt import adapt
from datum.config import AdaptationSettings
from datum.errors import InputError
from datum.outputs import sha256
from datum.segmentation.checkpoints import PACKAGED, PACKAGED_FOLDER
from datum.segmentation.mmcv_export import export_to_mmcv
from datum.segmentation.segmentor import (
    Segmentor,
    SegmentorConfig,
    build_segmentor,
    load_segmentor,
    save_segmentor,
)
from tests.adaptation.small_training import small_training


@pytest.fixture
def initial(tmp_path: Path) -> Path:
    """A folder as `datum adapt` writes it, and the same network as the references have it."""
    folder = tmp_path / "trained"
    folder.mkdir()
    save_segmentor(folder / "best.safetensors", _network(7), {})
    export_to_mmcv(checkpoint=folder, output=tmp_path / "trained.pth")
    return folder


def _network(seed: int) -> Segmentor:
    torch.manual_seed(seed)
    return build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=16))


def _records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "training.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["trained", "trained/best.safetensors", "trained.pth"])
def test_a_training_begins_with_the_network_that_is_named(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, initial: Path, name: str
) -> None:
    still = dataclasses.replace(
        settings,
        iterations=1,
        learning_rate=0.0,
        initial_segmentor=str(tmp_path / name),
        pretrained_encoder="",
    )
    adapt(**small_training(scenes, tmp_path / "out", still))
    before = _network(7).state_dict()
    after = load_segmentor(tmp_path / "out" / "last.safetensors").state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    # What a step changes without a learning rate.
    assert moved <= {key for key in before if "running_" in key or "num_batches" in key}
    assert "feature_distance" not in _records(tmp_path / "out")[0]
    file = tmp_path / "trained.pth" if name.endswith(".pth") else initial / "best.safetensors"
    inputs = json.loads((tmp_path / "out" / "provenance.json").read_text())["inputs"]
    assert inputs["initial_segmentor"] == sha256(file)
    assert inputs["named"]["initial_segmentor"] == str(file)


def test_the_feature_distance_is_that_to_the_pretrained_encoder(
    scenes: Path,
    settings: AdaptationSettings,
    tmp_path: Path,
    initial: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not to the network that the training starts from, from which there is none at first."""
    # Small crops have no cell that things fill.
    monkeypatch.setattr("datum.adaptation.feature_distance.THING_TRAIN_IDS", tuple(range(19)))
    distances = []
    for number in (7, 8):
        torch.save(_network(number).encoder.state_dict(), tmp_path / f"{number}.pth")
        once = dataclasses.replace(
            settings,
            iterations=1,
            initial_segmentor=str(initial),
            pretrained_encoder=str(tmp_path / f"{number}.pth"),
            feature_distance_min_ratio=0.0,
            drop_path_rate=0.0,
        )
        adapt(**small_training(scenes, tmp_path / f"out-{number}", once))
        distances.append(_records(tmp_path / f"out-{number}")[0]["feature_distance"])
    assert distances[0] == 0 and distances[1] > 0.001


def test_a_mask_token_is_of_the_training_and_not_of_the_network_that_it_begins_with(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    begun = tmp_path / "begun.safetensors"
    save_segmentor(begun, build_segmentor(SegmentorConfig(encoder="dinov2-s", head_channels=16)), {})
    for number, masks in enumerate((True, False)):
        once = dataclasses.replace(
            settings,
            iterations=1,
            # So that every pseudo-label counts.
            pseudo_threshold=0.0,
            warmup_iterations=0,
            masked_consistency=masks,
            masking="token",
            initial_segmentor=str(begun),
            pretrained_encoder="",
        )
        output = tmp_path / str(number)
        adapt(**small_training(scenes, output, once) | {"encoder": "dinov2-s", "validation": None})
        begun = output / "last.safetensors"
        trained = load_segmentor(begun)
        assert trained.config.mask_token is masks
        assert ("masked" in _records(output)[0]) is masks
        if masks:
            assert trained.encoder.mask_token.count_nonzero() == 384
        else:
            assert "encoder.mask_token" not in trained.state_dict()


@pytest.mark.parametrize(
    "change, encoder, said",
    [
        (
            {},
            "mit-b1",
            "encoder is mit-b0, expected mit-b1; name another network, or give --encoder mit-b0",
        ),
        (
            {"head_channels": 32},
            "mit-b0",
            "its head_channels is 16, expected 32; name another",
        ),
        (
            {"initial_segmentor": "missing"},
            "mit-b0",
            "no such file or folder, expected a file or",
        ),
    ],
)
def test_another_network_than_the_one_to_be_trained_is_refused(
    scenes: Path,
    settings: AdaptationSettings,
    tmp_path: Path,
    initial: Path,
    change: dict[str, Any],
    encoder: str,
    said: str,
) -> None:
    other = dataclasses.replace(settings, **{"initial_segmentor": str(initial)} | change)
    with pytest.raises(InputError) as raised:
        adapt(**small_training(scenes, tmp_path / "out", other) | {"encoder": encoder})
    assert said in str(raised.value) and str(raised.value).startswith("--initial-segmentor ")
    assert not list(tmp_path.glob("out*"))


def test_unfinished_work_that_began_with_another_network_is_not_gone_on_with(
    scenes: Path,
    settings: AdaptationSettings,
    tmp_path: Path,
    initial: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started = dataclasses.replace(settings, initial_segmentor=str(initial))
    arguments = small_training(scenes, tmp_path / "out", started)
    _interrupted(monkeypatch, lambda: adapt(**arguments))
    adapt(**arguments)
    assert "resuming at iteration 3" in capsys.readouterr().err
    before = sha256(tmp_path / "out" / "last.safetensors")
    save_segmentor(initial / "best.safetensors", _network(8), {})
    arguments |= {"output": tmp_path / "other"}
    (tmp_path / "out").rename(tmp_path / "kept")
    adapt(**arguments)
    assert sha256(tmp_path / "other" / "last.safetensors") != before


def _interrupted(monkeypatch: pytest.MonkeyPatch, train: Callable[[], None]) -> None:
    """Runs `train` to its second validation, where it fails."""
    with monkeypatch.context() as patch:
        patch.setattr("datum.adaptation.training.validate", _fail)
        with pytest.raises(RuntimeError, match="interrupted"):
            train()


def _fail(*_: Any) -> float:
    raise RuntimeError("interrupted")


@pytest.mark.parametrize("head_channels, starts", [(32, True), (16, False)])
def test_networks_of_the_packaged_ones_shape_start_from_it_and_others_do_without(
    scenes: Path,
    settings: AdaptationSettings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    head_channels: int,
    starts: bool,
) -> None:
    changes = {"initial_segmentor": PACKAGED, "pretrained_encoder": "random", "head_channels": head_channels}
    changed = dataclasses.replace(settings, iterations=1, **changes)
    adapt(**small_training(scenes, tmp_path / "out", changed) | {"encoder": "resnet-18-half"})
    inputs = json.loads((tmp_path / "out" / "provenance.json").read_text())["inputs"]
    packaged = sha256(PACKAGED_FOLDER / "last.safetensors")
    assert inputs.get("initial_segmentor") == (packaged if starts else None)
    assert ("decode head: random weights" in capsys.readouterr().err) != starts
