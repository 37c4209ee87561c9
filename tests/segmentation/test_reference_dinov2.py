"""DINOv2 with VFM-UDA's head against the code of both, and what its weights may come from.

`golden/dinov2-s.npz`: VFM-UDA's `VITLightweightHead` (github.com/tue-mps/vfm-uda) around DINOv2's own
ViT-S/14 (github.com/facebookresearch/dinov2) ran in evaluation mode and float64 on the weights of
`tests.segmentation.reference` and two images of 96x96 pixels. It holds the names and shapes of the network's
state; of the logits, brought to the images' size, every eighth pixel; of the features every 32nd channel; the
loss on the labels of `_labels`; and `get_feature_distance_loss` of its variant with the feature distance, at
weight 1, to the network with the weights of the variant "imagenet".
"""

import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor
from torch.nn import functional

from datum.adaptation.feature_distance import FeatureDistance
from datum.adaptation.optimizer import build_optimizer
from datum.adaptation.self_training import pixel_loss
from datum.config import AdaptationSettings
from datum.errors import InputError
from datum.segmentation.encoders import build_encoder, seen_size
from datum.segmentation.encoders.pretrained import load_pretrained
from datum.segmentation.inference import upsample
from datum.segmentation.segmentor import Segmentor, SegmentorConfig, build_segmentor
from datum.segmentation.unweighted import unweighted
from tests.segmentation.reference import golden, normal, reference_state, shapes_of, uniform

FOUND = golden(__file__, "dinov2-s")


def _reference(variant: str) -> Segmentor:
    """Our network in float32 with the weights of `reference_state`."""
    state = {
        re.sub(r"^(upscale|out)\.", r"head.\1.", name): tensor.float()
        for name, tensor in reference_state(shapes_of(FOUND), variant).items()
        if name != "encoder.mask_token"
    }
    segmentor = build_segmentor(SegmentorConfig(encoder="dinov2-s"))
    segmentor.load_state_dict(state)
    return segmentor.eval()


def _images() -> Tensor:
    return torch.from_numpy(normal("image", (2, 3, 96, 96))).float()


def test_the_network_has_vfm_udas_features_logits_and_loss() -> None:
    labels = torch.from_numpy((uniform("labels", (2, 96, 96)) * 19).astype(np.int64))
    segmentor = _reference("student")
    with torch.inference_mode():
        features = segmentor.encode(_images())
        logits = segmentor.decode(features)
    assert [tuple(maps.shape) for maps in features] == [(2, 384, 7, 7)] * 4
    assert logits.shape == (2, 19, 28, 28)
    np.testing.assert_allclose(features[-1][:, ::32], FOUND["features"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(upsample(logits, (96, 96))[:, :, ::8, ::8], FOUND["logits"], rtol=0, atol=1e-4)
    assert float(pixel_loss(logits, labels)) == pytest.approx(float(FOUND["loss"]), abs=1e-5)


def test_the_feature_distance_is_that_of_vfm_udas_variant_with_one() -> None:
    """Its cells are the patches of the images as the encoder sees them, labels resized with them."""
    blocks = (uniform("things", (2, 6, 6)) * 20).astype(np.int64)
    labels = torch.from_numpy(np.where(blocks == 19, 255, blocks).repeat(16, 1).repeat(16, 2))
    with torch.inference_mode():
        features = _reference("student").encode(_images())[-1]
        distance = FeatureDistance(_reference("imagenet"), min_ratio=0.75)(_images(), labels, features)
    assert float(distance) == pytest.approx(float(FOUND["distance"]), rel=1e-5)


@pytest.mark.parametrize(
    "encoder, parameters, head",
    [
        ("dinov2-s", 22_056_192, 454_176),
        ("dinov2-b", 86_579_712, 1_811_520),
        ("dinov2-l", 304_367_616, 3_218_176),
    ],
)
def test_the_network_has_timms_and_vfm_udas_parameters_all_of_which_decay(
    encoder: str, parameters: int, head: int
) -> None:
    segmentor = unweighted(lambda: Segmentor(SegmentorConfig(encoder=encoder)))
    assert sum(p.numel() for p in segmentor.encoder.parameters()) == parameters
    assert sum(p.numel() for p in segmentor.head.parameters()) == head
    groups = build_optimizer(segmentor, AdaptationSettings()).param_groups
    counted = [(len(group["params"]), group["weight_decay"]) for group in groups if group["params"]]
    assert counted == [(len(list(segmentor.encoder.parameters())), 0.01), (10, 0.01)]


@pytest.mark.parametrize(
    "size, seen", [((512, 512), (560, 560)), ((512, 1024), (560, 1120)), ((13, 26), (14, 28))]
)
def test_images_are_seen_a_tenth_larger_in_whole_patches(
    size: tuple[int, int], seen: tuple[int, int]
) -> None:
    assert seen_size("dinov2-b", size) == seen
    assert seen_size("mit-b5", size) == size
    assert seen == tuple(int((side * 1.1) // 14 * 14) for side in size)  # VFM-UDA's words


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_in_timms_layout_give_timms_features_at_the_size_they_were_learned_on(
    tmp_path: Path, suffix: str
) -> None:
    """As `vit_small_patch14_dinov2.lvd142m` on the hub, and as DINOv2's own file, with its mask token."""
    model = timm.create_model("vit_small_patch14_dinov2.lvd142m", pretrained=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    file = tmp_path / f"dinov2{suffix}"
    if suffix == ".pth":
        torch.save({**model.state_dict(), "mask_token": torch.zeros(1, 384)}, file)
    else:
        safetensors.torch.save_file(model.state_dict(), file)
    encoder = build_encoder("dinov2-s", 0.0)
    loaded = load_pretrained(encoder, "dinov2-s", file)
    assert (loaded.loaded, loaded.total) == (174, 174)
    images = torch.randn(1, 3, 471, 471)
    assert seen_size("dinov2-s", (471, 471)) == (518, 518)
    resized = functional.interpolate(images, (518, 518), mode="bilinear")
    encoder.eval()
    with torch.inference_mode():
        expected = model.forward_intermediates(resized, indices=4, norm=True, intermediates_only=True)
        found = encoder(images)
    assert torch.allclose(found[-1], expected[-1], atol=1e-4)


def test_a_mask_token_begins_as_zeros_beside_weights_of_any_layout(tmp_path: Path) -> None:
    """DINOv2's own files of these sizes hold one that was never trained."""
    weights = build_encoder("dinov2-s", 0.0).state_dict()
    torch.save({**weights, "mask_token": torch.ones(1, 384)}, tmp_path / "weights.pth")
    segmentor = build_segmentor(
        SegmentorConfig(encoder="dinov2-s", mask_token=True), tmp_path / "weights.pth"
    )
    found = segmentor.encoder.state_dict()
    assert torch.equal(found.pop("mask_token"), torch.zeros(1, 384))
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())


def test_nothing_is_known_of_hidden_patches_but_their_places() -> None:
    segmentor = build_segmentor(SegmentorConfig(encoder="dinov2-s", mask_token=True)).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        plain = segmentor.encode(images)[-1]
        none, every = (
            segmentor.encode(images, torch.full((2, 5, 5), hidden))[-1] for hidden in (False, True)
        )
    assert torch.equal(none, plain) and not torch.equal(plain[0], plain[1])
    assert torch.equal(every[0], every[1])


def test_weights_of_a_dinov2_of_another_size_are_refused_and_named(tmp_path: Path) -> None:
    torch.save(build_encoder("dinov2-s", 0.0).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"these are weights of dinov2-s; .* or choose the encoder dinov2-s"):
        load_pretrained(
            unweighted(lambda: build_encoder("dinov2-b", 0.0)), "dinov2-b", tmp_path / "weights.pth"
        )
