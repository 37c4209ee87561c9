"""Networks of ours for the references' `tools/test.py`: their names, and not a bit changed on the way."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from datum.cli import main
from datum.labels import CLASSES
from datum.segmentation.checkpoints import open_checkpoint
from datum.segmentation.mmcv_export import export_to_mmcv
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor, save_segmentor
from datum.torch_files import read_torch_file
from tests.segmentation.reference import golden, shapes_of


def _any_finite(shape: tuple[int, ...], seed: int) -> Tensor:
    """Any bits that are a finite float32: also -0, subnormal numbers, and the largest."""
    bits = np.random.default_rng(seed).integers(0, 2**32, math.prod(shape), dtype=np.uint32)
    bits[(bits >> 23) & 0xFF == 0xFF] &= 0x807FFFFF
    return torch.from_numpy(bits.view(np.float32).reshape(shape).copy())


def _same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        first[key].shape == second[key].shape
        and first[key].dtype == second[key].dtype
        and first[key].numpy().tobytes() == second[key].numpy().tobytes()
        for key in first
    )


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    encoder=st.sampled_from(["mit-b0", "resnet-18-half"]),
    two=st.booleans(),
    width=st.integers(1, 24),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_bit_changes_on_the_way_to_mmcv_and_back(
    tmp_path_factory: pytest.TempPathFactory, encoder: str, two: bool, width: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("export")
    segmentor = build_segmentor(SegmentorConfig(encoder=encoder, head_channels=width, multi_resolution=two))
    ours = {
        key: _any_finite(tuple(old.shape), seed + number) if old.is_floating_point() else old + number
        for number, (key, old) in enumerate(segmentor.state_dict().items())
    }
    segmentor.load_state_dict(ours)
    save_segmentor(folder / "last.safetensors", segmentor, {})

    export_to_mmcv(checkpoint=folder, output=folder / "a" / "theirs.pth")
    back = open_checkpoint(folder / "a" / "theirs.pth").segmentor
    found = back.config
    assert (found.encoder, found.head_channels, found.multi_resolution) == (encoder, width, two)
    assert _same_bits(back.state_dict(), ours)

    theirs = read_torch_file(folder / "a" / "theirs.pth")["state_dict"]
    torch.save(
        {"state_dict": {f"model.{key}": tensor for key, tensor in theirs.items()}}, folder / "training.pth"
    )
    export_to_mmcv(checkpoint=folder / "training.pth", output=folder / "again.pth")
    assert _same_bits(read_torch_file(folder / "again.pth")["state_dict"], theirs)


@pytest.mark.parametrize("encoder, name", [("mit-b0", "network"), ("resnet-101", "resnet-101")])
def test_the_names_and_shapes_are_all_those_of_daformers_own_network(
    tmp_path: Path, encoder: str, name: str
) -> None:
    """So that its class loads them with strict=True."""
    segmentor = build_segmentor(SegmentorConfig(encoder=encoder))
    save_segmentor(tmp_path / "best.safetensors", segmentor, {})
    main(["export", str(tmp_path), "--format", "mmcv", "--output", str(tmp_path / "iter_40000.pth")])
    content = torch.load(tmp_path / "iter_40000.pth", weights_only=True)
    state = content["state_dict"]
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == shapes_of(golden(__file__, name))
    # No part drags the tensor along that it was cut from.
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in state.values())
    assert content["meta"]["CLASSES"] == [c.name for c in CLASSES]
    assert content["meta"]["PALETTE"][0] == [128, 64, 128]
    back = open_checkpoint(tmp_path / "iter_40000.pth").segmentor
    assert back.config == segmentor.config
    assert _same_bits(back.state_dict(), segmentor.state_dict())


def test_an_export_is_made_once_is_reproducible_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segmentor = build_segmentor(SegmentorConfig(encoder="resnet-18-half", head_channels=8))
    save_segmentor(tmp_path / "best.safetensors", segmentor, {})
    command = ["export", str(tmp_path / "best.safetensors"), "--output"]
    main([*command, str(tmp_path / "a.pth")])
    main([*command, str(tmp_path / "b.pth")])
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
    main([*command, str(tmp_path / "a.pth")])
    assert "a.pth: already complete" in capsys.readouterr().err
    (tmp_path / "c.pth").write_bytes(b"somebody's")
    with pytest.raises(SystemExit) as ended:
        main([*command, str(tmp_path / "c.pth")])
    assert ended.value.code == 2
    assert "c.pth: is there and holds something else; remove it" in capsys.readouterr().err
    assert (tmp_path / "c.pth").read_bytes() == b"somebody's"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.pth", "b.pth", "best.safetensors", "c.pth"]
