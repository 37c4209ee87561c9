"""What HRDA and MIC change in a training: resolutions, margins, masks."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from datum.adaptation.adapt import adapt, crop_rules
from datum.adaptation.inputs import find_source
from datum.adaptation.masking import masked
from datum.adaptation.mixing import color_jitter, gaussian_blur, strong_augmentation
from datum.adaptation.optimizer import build_optimizer
from datum.adaptation.requirements import network_of, require_trainable
from datum.adaptation.sampling import CropRules, TrainingSamples, batches, in_margins
from datum.config import AdaptationSettings, load_settings
from datum.errors import InputError
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor, load_segmentor
from datum.segmentation.unweighted import unweighted
from tests.adaptation.scripted import ScriptedGenerator
from tests.adaptation.small_training import small_training


@pytest.mark.parametrize("benchmark, height", [("gta-to-cityscapes", 1440), ("synthia-to-cityscapes", 1520)])
@pytest.mark.parametrize("street", [(1024, 512), None])
def test_hrda_trains_on_its_published_sizes(
    benchmark: str, height: int, street: tuple[int, int] | None
) -> None:
    """`configs/hrda/gtaHR2csHR_hrda.py`; drawn images (no street scale) are doubled."""
    settings = load_settings("paper", ["run.method=hrda"])
    rules = crop_rules(settings.adaptation, benchmark, street)
    assert (rules.size, rules.rare_min_pixels, rules.rare_min_crop_pixels) == (1024, 3000, 6000)
    assert rules.source_scale == (2560, height) and rules.target_factor == 2
    assert rules.target_scale == ((2048, 1024) if street else None)
    assert (settings.evaluation.scale, settings.evaluation.slide_crop) == ((2048, 1024), 1024)
    config = network_of("mit-b5", settings.adaptation)
    assert config.multi_resolution and config.detail_crop == 512
    assert rules.target_margins is not None
    margins = in_margins((1024, 2048), rules.target_margins)
    assert not margins[30:784, 30:2018].any()
    assert margins.sum() == margins.size - 754 * 1988


def test_daformer_has_no_margins_of_the_image() -> None:
    assert crop_rules(AdaptationSettings(), "gta-to-cityscapes", None).target_margins is None


def test_margins_go_with_the_crop_and_the_flip_and_padding_is_one(
    make_source: Callable[[list[np.ndarray]], Path], tmp_path: Path
) -> None:
    """The target image says of each pixel where it comes from."""
    from PIL import Image

    rows, columns = np.mgrid[:40, :80].astype(np.uint8)
    Image.fromarray(np.stack([rows, columns, 0 * rows], axis=2)).save(tmp_path / "target.png")
    rules = CropRules(
        size=48,
        class_max_ratio=1.0,
        rare_min_pixels=0,
        rare_min_crop_pixels=0,
        source_scale=(80, 40),
        target_scale=None,
        target_margins=(0.1, 0.25, 0.05),
    )
    source = make_source([np.zeros((40, 80), np.uint8)])
    samples = TrainingSamples(
        source=find_source("gta-to-cityscapes", source),
        target=[tmp_path / "target.png"],
        rules=rules,
        temperature=1.0,
        seed=0,
    )
    for index in range(8):
        _, _, target, margin = samples[index]
        row, column = target[..., 0], target[..., 1]
        expected = (row < 4) | (row >= 30) | (column < 2) | (column >= 78)
        np.testing.assert_array_equal(margin.astype(bool), expected)
    batch = next(batches(samples, first=0, last=1, batch_size=2, workers=0, device=torch.device("cpu")))
    assert batch.ignored is not None and batch.ignored.shape == (2, 48, 48)
    assert batch.ignored[:, 40:].all() and not batch.ignored[:, 4:30].all()


def test_masked_consistency_hides_blocks_behind_the_mean_color() -> None:
    settings = AdaptationSettings(color_jitter_probability=0.0, blur_probability=0.0)
    images = torch.rand(8, 3, 64, 64) + 1
    found = masked(images, settings, np.random.default_rng(0))
    hidden = found.images
    assert found.hidden is None and found.seen is hidden
    blocks = hidden.unflatten(2, (16, 4)).unflatten(4, (16, 4))
    kept = (blocks != 0).all(dim=1).all(dim=2).all(dim=3)
    gone = (blocks == 0).all(dim=1).all(dim=2).all(dim=3)
    assert (kept ^ gone).all()
    assert gone.float().mean() == pytest.approx(0.7, abs=0.03)
    assert torch.equal(hidden[hidden != 0], images[hidden != 0])


def test_masked_consistency_by_tokens_hides_patches_of_whole_images() -> None:
    settings = AdaptationSettings(color_jitter_probability=0.0, blur_probability=0.0, masking="token")
    images = torch.rand(16, 3, 140, 140) + 1
    found = masked(images, settings, np.random.default_rng(0))
    # The encoder sees images a tenth larger, in patches of 14 pixels.
    assert found.hidden is not None and found.hidden.shape == (16, 11, 11)
    assert torch.equal(found.images, images)
    assert found.hidden.float().mean() == pytest.approx(0.7, abs=0.03)
    kept = functional.interpolate((~found.hidden[:, None]).float(), size=(140, 140))
    assert torch.equal(found.seen, images * kept)


def test_images_whose_tokens_are_hidden_are_augmented_one_by_one() -> None:
    settings = AdaptationSettings(color_jitter_probability=0.0, blur_probability=1.0, masking="token")
    images = torch.rand(1, 3, 32, 32).expand(2, -1, -1, -1)
    first, second = masked(images, settings, np.random.default_rng(0)).images
    assert not torch.equal(first, second)
    first, second = masked(
        images, dataclasses.replace(settings, masking="block"), np.random.default_rng(0)
    ).images
    both = (first != 0) & (second != 0)
    assert both.any() and torch.equal(first[both], second[both])


def test_images_that_are_treated_alike_share_order_and_blur_but_not_their_factors() -> None:
    images = torch.rand(3, 3, 32, 32)
    factors = [np.array([0.1, -0.1, 0.2, 0.05]) * sign for sign in (1, -1, 0.5)]
    order = np.array([2, 0, 3, 1])
    together = color_jitter(images, 0.2, ScriptedGenerator(uniform=factors, permutation=[order]), alike=True)
    for image, factor, found in zip(images, factors, together):
        alone = color_jitter(image[None], 0.2, ScriptedGenerator(uniform=[factor], permutation=[order]))
        torch.testing.assert_close(found, alone[0])
    blurred = strong_augmentation(
        images,
        ScriptedGenerator(random=(0.9, 0.1), uniform=[0.8]),
        jitter_strength=0.2,
        jitter_probability=0.0,
        blur_probability=0.5,
        alike=True,
    )
    torch.testing.assert_close(blurred, gaussian_blur(images, np.full(3, 0.8)))


def test_the_scale_attention_learns_as_fast_as_the_head() -> None:
    config = SegmentorConfig(encoder="mit-b0", head_channels=8, multi_resolution=True)
    segmentor = unweighted(lambda: build_segmentor(config))
    groups = build_optimizer(segmentor, AdaptationSettings()).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert set(rates) == {id(p) for p in segmentor.parameters()}
    assert {rates[id(p)] for p in segmentor.scale_attention.parameters()} == {6e-5 * 10}


@pytest.mark.parametrize(
    "encoder, crop, said",
    [
        ("mit-b0", 128, ""),
        ("mit-b5", 1024, ""),
        ("resnet-18-half", 128, ""),
        ("resnet-101", 128, ""),
        ("dinov2-s", 128, ""),
        ("dinov2-b", 1024, ""),
        ("mit-b0", 72, "a detail of half the crop needs a multiple of 16"),
        (
            "resnet-101",
            144,
            "a detail of half the crop needs a multiple of 32.*is a multiple of 32, from 128",
        ),
        ("dinov2-s", 140, "a detail of half the crop needs a multiple of 16.*is a multiple of 112, from 128"),
        ("mit-b0", 32, "multiple of 64, from 128"),
    ],
)
def test_a_crop_that_has_no_detail_of_whole_cells_is_refused_without_being_tried(
    settings: AdaptationSettings, encoder: str, crop: int, said: str
) -> None:
    settings = dataclasses.replace(settings, crop=crop, multi_resolution=True)
    if not said:
        assert require_trainable(network_of(encoder, settings), settings) > 0
        return
    with pytest.raises(InputError, match=rf"^adaptation.crop={crop} and .*{said}") as raised:
        require_trainable(network_of(encoder, settings), settings)
    assert "\n" not in str(raised.value)


def test_context_and_detail_keep_twice_what_one_crop_of_their_size_does() -> None:
    one = load_settings("paper", ["run.method=daformer"]).adaptation
    two = load_settings("paper", ["run.method=hrda"]).adaptation
    small, large = (require_trainable(network_of("mit-b5", s), s) for s in (one, two))
    # Context and detail are a 512 crop each.
    assert 1.9 * small < large < 2.3 * small


@pytest.mark.parametrize("method", ["source-only", "source-only-reference"])
def test_masked_consistency_needs_target_images(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, method: str
) -> None:
    settings = dataclasses.replace(settings, masked_consistency=True)
    arguments = small_training(scenes, tmp_path / "out", settings) | {"method": method, "target": None}
    with pytest.raises(
        InputError, match=rf"adaptation.masked_consistency=true: .* --method {method} has none"
    ):
        adapt(**arguments)
    assert not list(tmp_path.glob("out*"))


def test_tokens_are_hidden_from_dinov2_alone(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    settings = dataclasses.replace(settings, masked_consistency=True, masking="token")
    with pytest.raises(
        InputError, match=r"^adaptation\.masking=token: .* --encoder mit-b0 has not; take dinov2-s, -b or -l"
    ):
        adapt(**small_training(scenes, tmp_path / "out", settings))
    assert not list(tmp_path.glob("out*"))
    with pytest.raises(InputError, match=r"^adaptation\.masking=token: .* --method hrda sees two"):
        network_of("dinov2-s", dataclasses.replace(settings, multi_resolution=True))
    assert network_of("dinov2-s", settings).mask_token
    for change in ({"masking": "block"}, {"masked_consistency": False}):
        assert not network_of("dinov2-s", dataclasses.replace(settings, **change)).mask_token


def test_an_adapted_network_of_two_resolutions_is_one_in_its_file(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    settings = dataclasses.replace(settings, iterations=2, multi_resolution=True)
    arguments = small_training(scenes, tmp_path / "adapted", settings)
    adapt(**arguments | {"encoder": "resnet-18-half", "method": "hrda"})
    segmentor = load_segmentor(tmp_path / "adapted" / "best.safetensors")
    assert segmentor.config.multi_resolution and segmentor.config.detail_crop == 32
