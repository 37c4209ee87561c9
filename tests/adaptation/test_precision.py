"""Trainings in TF32 and bfloat16 beside one in float32."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from datum.adaptation.adapt import adapt
from datum.config import AdaptationSettings
from datum.segmentation.segmentor import load_segmentor
from tests.adaptation.small_training import small_training


@pytest.fixture
def settings(settings: AdaptationSettings) -> AdaptationSettings:
    return dataclasses.replace(settings, iterations=4, log_every=1, validate_every=4, pictures=0)


def _trained(
    scenes: Path, folder: Path, settings: AdaptationSettings, method: str
) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Records of the losses, and the last network's weights."""
    adapt(**small_training(scenes, folder, settings) | {"method": method})
    records = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    network = load_segmentor(folder / "last.safetensors")
    return [record for record in records if "source" in record], network.state_dict()


@pytest.mark.parametrize("method", ["daformer", "hrda"])
def test_a_training_in_bfloat16_goes_nearly_as_in_float32(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, method: str
) -> None:
    exact, weights = _trained(scenes, tmp_path / "exact", settings, method)
    rough = dataclasses.replace(settings, mixed_precision="bf16")
    found, rough_weights = _trained(scenes, tmp_path / "rough", rough, method)
    # bfloat16 has 8 bits: a product is off by up to 0.4 %, and errors add up over the layers.
    assert [r["source"] for r in found] == pytest.approx([r["source"] for r in exact], rel=0.02)
    assert [r["source"] for r in found] != [r["source"] for r in exact]
    assert {name: tensor.dtype for name, tensor in rough_weights.items()} == {
        name: tensor.dtype for name, tensor in weights.items()
    }


def test_tf32_is_for_matrix_products_of_a_gpu_alone(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    _, weights = _trained(scenes, tmp_path / "exact", settings, "daformer")
    assert not torch.backends.cuda.matmul.allow_tf32
    tf32 = dataclasses.replace(settings, mixed_precision="tf32")
    _, found = _trained(scenes, tmp_path / "tf32", tf32, "daformer")
    assert torch.backends.cuda.matmul.allow_tf32
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())
