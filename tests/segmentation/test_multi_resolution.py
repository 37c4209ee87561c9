"""The network of two resolutions, against HRDA's own code.

`golden/multi_resolution.npz`: HRDA's `HRDAEncoderDecoder` (`mit_b0`, a `DAFormerHead` of width 32, detail of
32 pixels) ran in float64 on weights and images of `tests.segmentation.reference`: in training on images of
64x64 pixels with the detail's box at (8, 24), and by windows on images of 72x96 pixels, in evaluation mode
and (as a teacher runs) in training mode. Once more by windows with `mit_b5`, a head of width 256 and detail
of 64 pixels, on 128x128; and with `ResNetV1c` and `DLV2Head`, in training on 128x128, the box at (24, 48),
which the context's cells of 16 pixels do not divide, and by windows on 144x128. HRDA's logits of the detail
added up in float64 then, which its code does in float32.
"""

import dataclasses
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.nn import functional

from datum.errors import InputError
from datum.segmentation.checkpoints import open_checkpoint
from datum.segmentation.mmcv_export import export_to_mmcv
from datum.segmentation.multi_resolution import draw_corner, forward_in_box
from datum.segmentation.segmentor import (
    Segmentor,
    SegmentorConfig,
    build_segmentor,
    load_segmentor,
    save_segmentor,
)
from datum.segmentation.unweighted import unweighted
from tests.segmentation.reference import (
    golden,
    normal,
    reference_segmentor,
    reference_state,
    shapes_of,
    to_ours,
    to_reference,
)

HRDA = golden(__file__, "multi_resolution")
SHAPES = shapes_of(HRDA)
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-4}
"""Logits reach 12; measured 9e-14 and 5e-5."""


def _network() -> Segmentor:
    return reference_segmentor(SHAPES, "student", head_channels=32, detail_crop=32)


def test_the_network_has_as_many_parameters_as_hrdas_own() -> None:
    config = SegmentorConfig(encoder="mit-b5", multi_resolution=True)
    segmentor = unweighted(lambda: Segmentor(config))
    assert sum(p.numel() for p in segmentor.parameters()) == 85_685_990
    assert sum(p.numel() for p in segmentor.scale_attention.parameters()) == 530_707


@pytest.mark.parametrize("dtype", ROUNDING)
def test_logits_in_training_are_those_of_hrdas_own_network(dtype: torch.dtype) -> None:
    segmentor = _network().train().to(dtype)
    images = torch.from_numpy(normal("source", (2, 3, 64, 64))).to(dtype)
    with torch.no_grad():
        found = forward_in_box(segmentor, images, torch.tensor([8, 24]))
    for ours, theirs in ((found.logits, "fused"), (found.detail, "detail")):
        np.testing.assert_allclose(ours.double(), HRDA[theirs], rtol=0, atol=ROUNDING[dtype])
    assert found.features[-1].shape == (2, 256, 1, 1)
    state = to_reference(segmentor.state_dict(), SHAPES)
    buffers = [name for name in HRDA if name.startswith("buffer/")]
    assert len(buffers) == 4
    for name in buffers:
        np.testing.assert_allclose(state[name.removeprefix("buffer/")], HRDA[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("training", [False, True])
def test_logits_by_windows_are_those_of_hrdas_own_network(dtype: torch.dtype, training: bool) -> None:
    """The last window of each row and column of windows is moved inwards."""
    segmentor = _network().train(training).to(dtype)
    images = torch.from_numpy(normal("image", (2, 3, 72, 96))).to(dtype)
    with torch.inference_mode():
        logits = segmentor(images)[:1].double()
    expected = HRDA["windows_training" if training else "windows"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=ROUNDING[dtype])


def test_logits_of_mit_b5_by_windows_are_those_of_hrdas_own_network() -> None:
    shapes = shapes_of({"shapes": HRDA["b5_shapes"]})
    segmentor = reference_segmentor(shapes, "b5", head_channels=256, encoder="mit-b5", detail_crop=64)
    images = torch.from_numpy(normal("image", (1, 3, 128, 128))).float()
    with torch.inference_mode():
        logits = segmentor.eval().float()(images)
    np.testing.assert_allclose(logits, HRDA["b5_windows"], rtol=0, atol=1e-4)


def test_logits_of_resnet_101_are_those_of_hrdas_own_network() -> None:
    shapes = shapes_of({"shapes": HRDA["r101_shapes"]})
    segmentor = reference_segmentor(
        shapes, "student", head_channels=256, encoder="resnet-101", detail_crop=64
    )
    training = torch.from_numpy(normal("source", (2, 3, 128, 128)))
    images = torch.from_numpy(normal("image", (1, 3, 144, 128))).float()
    with torch.inference_mode():
        in_box = forward_in_box(segmentor.train(), training, torch.tensor([24, 48])).logits[:1]
        # The statistics of so few cells amplify float32's rounding.
        np.testing.assert_allclose(in_box, HRDA["r101_fused"], rtol=0, atol=1e-10)
        segmentor.load_state_dict(to_ours(reference_state(shapes, "student")))
        by_windows = segmentor.eval().float()(images)
    np.testing.assert_allclose(by_windows, HRDA["r101_windows"], rtol=0, atol=1e-4)


def test_boxes_lie_at_multiples_of_eight_anywhere_in_the_crop() -> None:
    rng = np.random.default_rng(0)
    starts = set()
    for _ in range(3000):
        starts |= set(draw_corner(1024, rng).tolist())
    # The reference's `randint(0, (margin + 1) // 8) * 8` never draws 512.
    assert starts == set(range(0, 512, 8))


@pytest.mark.parametrize("height, width", [(64, 64), (65, 97), (40, 200), (100, 64)])
def test_images_of_any_size_get_logits_that_cover_them(height: int, width: int) -> None:
    config = SegmentorConfig(encoder="resnet-18-half", head_channels=8, multi_resolution=True, detail_crop=32)
    segmentor = build_segmentor(config).eval()
    with torch.inference_mode():
        logits = segmentor(torch.randn(1, 3, height, width))
    assert logits.shape == (1, 19, -(-height // 8) * 2, -(-width // 8) * 2)


def test_the_networks_file_keeps_both_resolutions(tmp_path: Path) -> None:
    segmentor = _network().float().eval()
    save_segmentor(tmp_path / "last.safetensors", segmentor, {})
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(load_segmentor(tmp_path / "last.safetensors")(images), segmentor(images))


@pytest.mark.parametrize("detail_crop", [-16, 0, 4, 36])
def test_a_file_with_a_detail_that_cannot_be_is_refused(tmp_path: Path, detail_crop: int) -> None:
    segmentor = _network().float()
    segmentor.config = dataclasses.replace(segmentor.config, detail_crop=detail_crop)
    save_segmentor(tmp_path / "last.safetensors", segmentor, {})
    with pytest.raises(InputError, match=rf"detail_crop {detail_crop}, expected a multiple of 8"):
        load_segmentor(tmp_path / "last.safetensors")


@pytest.mark.parametrize("name, encoder", [("shapes", "mit-b0"), ("r101_shapes", "resnet-101")])
def test_hrdas_own_checkpoints_are_read_and_written_to_the_last_bit(
    tmp_path: Path, name: str, encoder: str
) -> None:
    drawn = reference_state(shapes_of({"shapes": HRDA[name]}), "student")
    state = {key: t.float() if t.is_floating_point() else t for key, t in drawn.items()}
    torch.save({"state_dict": {f"model.{key}": t for key, t in state.items()}}, tmp_path / "iter_40000.pth")
    opened = open_checkpoint(tmp_path / "iter_40000.pth")
    assert f"{encoder} with the" in str(opened) and "head at two resolutions" in str(opened)
    assert opened.segmentor.config.detail_crop == 512
    ours, expected = opened.segmentor.state_dict(), to_ours(state)
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[key], tensor) for key, tensor in expected.items())
    export_to_mmcv(checkpoint=tmp_path / "iter_40000.pth", output=tmp_path / "again.pth")
    again = torch.load(tmp_path / "again.pth", weights_only=True)["state_dict"]
    assert again.keys() == state.keys()
    assert all(torch.equal(again[key], tensor) for key, tensor in state.items())


def test_logits_of_dinov2_are_resampled_to_cells_on_which_context_and_detail_meet() -> None:
    torch.manual_seed(0)
    config = SegmentorConfig(encoder="dinov2-s", multi_resolution=True, detail_crop=64)
    segmentor = build_segmentor(config).eval()
    images = torch.from_numpy(normal("image", (1, 3, 128, 128))).float()
    with torch.inference_mode():
        alone = segmentor.decode(segmentor.encode(images[..., 24:88, 8:72]))
        found = forward_in_box(segmentor, images, torch.tensor([24, 8]))
        by_windows = segmentor(images)
    # 64 pixels are 70 in five patches, each of four cells.
    assert alone.shape[2:] == (20, 20)
    assert found.detail.shape[2:] == (16, 16)
    assert found.logits.shape[2:] == by_windows.shape[2:] == (32, 32)
    averages = functional.interpolate(alone, size=(16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found.detail, averages)


def test_where_the_attention_is_all_dinov2s_logits_are_those_of_the_detail() -> None:
    config = SegmentorConfig(encoder="dinov2-s", multi_resolution=True, detail_crop=64)
    segmentor = build_segmentor(config).eval()
    images = torch.from_numpy(normal("image", (1, 3, 128, 128))).float()
    with torch.inference_mode(), patch.object(segmentor, "attend", everything_to_the_detail):
        found = forward_in_box(segmentor, images, torch.tensor([32, 64]))
    # At the edge of the box the attention, on the context's coarser cells, is resampled.
    torch.testing.assert_close(found.logits[..., 9:23, 17:31], found.detail[..., 1:15, 1:15])


def everything_to_the_detail(features: list[torch.Tensor]) -> torch.Tensor:
    batch, _, rows, columns = features[-1].shape
    return torch.full((batch, 19, 4 * rows, 4 * columns), 1e3)
