"""A network's file that is damaged, foreign or hostile is refused before anything is built from it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from datum.errors import InputError
from datum.segmentation.segmentor import METADATA_KEY, SegmentorConfig, build_segmentor, load_segmentor

CONFIG = SegmentorConfig(encoder="resnet-18-half", head_channels=8)
WEIGHT = "head.conv_seg.weight"
COUNTER = "encoder.bn1.num_batches_tracked"


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return build_segmentor(CONFIG).state_dict()


def _refusal(file: Path, tensors: dict[str, Tensor], header: Any) -> str:
    text = header if isinstance(header, str) else json.dumps(header)
    safetensors.torch.save_file(tensors, file, {METADATA_KEY: text})
    with pytest.raises(InputError) as raised:
        load_segmentor(file)
    said = str(raised.value)
    assert "\n" not in said and said.startswith(f"{file}: ") and len(said) < 600
    return said


@pytest.mark.parametrize(
    "header",
    [
        "",
        "no JSON",
        "[" * 100_000,
        "null",
        "[]",
        "{}",
        '{"config": 1, "metadata": {}}',
        '{"config": {"encoder": "mit-b0"}, "metadata": []}',
        '{"config": {"encoder": "mit-b0"}}',
    ],
)
def test_a_header_that_is_none_of_ours_is_refused(
    tmp_path: Path, tensors: dict[str, Tensor], header: str
) -> None:
    said = _refusal(tmp_path / "last.safetensors", tensors, header)
    assert "not a segmentation network of ours" in said


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": "mit-b9"},
        {"encoder": ["mit-b0"]},
        {"encoder": None},
        {"decode_head": "none"},
        {"head_channels": 2**62},
        {"head_channels": 10**400},
        {"head_channels": 1_000_000},
        {"head_channels": 0},
        {"head_channels": -8},
        {"head_channels": 8.5},
        {"head_channels": True},
        {"dropout": "much"},
        {"dropout": 2.0},
        {"dropout": float("nan")},
        {"drop_path_rate": -1},
        {"drop_path_rate": 10**400},
        {"mask_token": True},
        {"width": 3},
        {"encoder": "resnet-18"},
        {"encoder": "mit-b0"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_config_of_no_network_or_of_another_one_is_refused(
    tmp_path: Path, tensors: dict[str, Tensor], change: dict[str, Any]
) -> None:
    config = dataclasses.asdict(CONFIG) | change
    _refusal(tmp_path / "last.safetensors", tensors, {"config": config, "metadata": {}})


@pytest.mark.parametrize(
    "change, problem",
    [
        (lambda state: state.pop(WEIGHT), "lacks tensor"),
        (lambda state: state.update(extra=torch.zeros(1)), "has a foreign tensor 'extra'"),
        (lambda state: state.update({WEIGHT: torch.zeros(19, 9, 1, 1)}), "is F32 [19, 9, 1, 1], expected"),
        (lambda state: state.update({WEIGHT: state[WEIGHT].to(torch.int8)}), "is I8 [19, 8, 1, 1], expected"),
        (lambda state: state.update({WEIGHT: state[WEIGHT].double()}), "is F64 [19, 8, 1, 1], expected F32"),
        (lambda state: state.update({COUNTER: torch.tensor(1.0)}), "is F32 [], expected I64"),
        (lambda state: state.update({WEIGHT: state[WEIGHT] * float("nan")}), "not finite"),
        (lambda state: state.update({WEIGHT: torch.full((19, 8, 1, 1), float("inf"))}), "not finite"),
    ],
)
def test_tensors_that_are_not_the_networks_are_refused(
    tmp_path: Path,
    tensors: dict[str, Tensor],
    change: Callable[[dict[str, Tensor]], Any],
    problem: str,
) -> None:
    changed = dict(tensors)
    change(changed)
    header = {"config": dataclasses.asdict(CONFIG), "metadata": {}}
    assert problem in _refusal(tmp_path / "last.safetensors", changed, header)
