"""ClassMix and the strong augmentation."""

import colorsys

import numpy as np
import pytest
import torch
from torch.nn import functional

from datum.adaptation.mixing import (
    class_mix_masks,
    color_jitter,
    gaussian_blur,
    shift_hsv,
    strong_augmentation,
)
from datum.segmentation.preprocess import denormalize, normalize


@pytest.mark.parametrize("classes", [[3], [0, 5], [0, 1, 255], [0, 2, 8, 11, 13, 18]])
def test_class_mix_pastes_half_of_the_classes_whole(classes: list[int]) -> None:
    labels = torch.tensor(classes).repeat(2, 16, 4)
    labels = labels[:, :, torch.randperm(labels.shape[2], generator=torch.Generator().manual_seed(0))]
    for seed in range(5):
        masks = class_mix_masks(labels, classes, np.random.default_rng(seed))
        assert masks.dtype == torch.bool and masks.shape == labels.shape
        for label, mask in zip(labels, masks):
            pasted = set(label[mask].tolist())
            assert len(pasted) == (len(classes) + 1) // 2
            assert pasted.isdisjoint(label[~mask].tolist())


def test_class_mix_draws_from_the_classes_of_the_whole_batch() -> None:
    labels = torch.stack([torch.full((4, 4), 0), torch.full((4, 4), 1)])
    masks = [class_mix_masks(labels, [0, 1], np.random.default_rng(seed)) for seed in range(40)]
    shares = [mask.float().mean((1, 2)) for mask in masks]
    assert {tuple(share.tolist()) for share in shares} == {(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)}


@pytest.mark.parametrize("factor", [0.0, 0.8, 1.0, 1.2, 3.0])
def test_saturation_is_that_of_hsv(factor: float) -> None:
    image = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    image[:, 0, 0], image[:, 0, 1] = 0.0, 0.5  # black and gray have none
    found = shift_hsv(image[None], _each(factor), _each(0.0))[0]
    for row in range(4):
        for column in range(4):
            hue, saturation, value = colorsys.rgb_to_hsv(*image[:, row, column].tolist())
            expected = colorsys.hsv_to_rgb(hue, min(saturation * factor, 1), value)
            assert found[:, row, column].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("turn", [-0.2, 0.0, 0.07, 0.5])
def test_hue_is_that_of_hsv(turn: float) -> None:
    image = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    image[:, 0, 0], image[:, 0, 1] = 0.0, 0.5
    found = shift_hsv(image[None], _each(1.0), _each(turn))[0]
    for row in range(4):
        for column in range(4):
            hue, saturation, value = colorsys.rgb_to_hsv(*image[:, row, column].tolist())
            expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
            assert found[:, row, column].tolist() == pytest.approx(expected, abs=1e-5)


def test_images_of_a_batch_are_jittered_each_by_its_own_draws() -> None:
    """Together as alone: in other orders, so that operations of one image meet places that another leaves
    empty."""
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(3)
    alone = torch.cat([color_jitter(image[None], 0.4, rng) for image in images])
    assert torch.allclose(color_jitter(images, 0.4, np.random.default_rng(3)), alone, atol=1e-6)


def test_color_jitter_stays_in_range_and_within_its_strength() -> None:
    # 0.5 with up to 0.2 added and a factor of 0.8 to 1.2, in either order
    values = color_jitter(torch.full((50, 3, 4, 4), 0.5), 0.2, np.random.default_rng(0))
    assert values.min() >= (0.5 - 0.2) * 0.8 - 1e-6 and values.max() <= (0.5 + 0.2) * 1.2 + 1e-6
    assert values.std() > 0.05
    images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    jittered = color_jitter(images, 0.5, np.random.default_rng(0))
    assert jittered.min() >= 0 and jittered.max() <= 1


def test_color_jitter_of_no_strength_changes_nothing() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(color_jitter(images, 0.0, np.random.default_rng(0)), images, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.15, 0.6, 1.15])
def test_blur_is_the_gaussian_of_the_reference_kernel(sigma: float) -> None:
    """The reference blurs a 128 x 128 image with a kernel of 13 pixels and mirrored borders."""
    image = torch.randn(3, 128, 128, generator=torch.Generator().manual_seed(0))
    weights = torch.exp(-0.5 * (torch.arange(-6, 7) / sigma) ** 2)
    kernel = torch.outer(weights, weights) / weights.sum() ** 2
    padded = functional.pad(image[None], (6, 6, 6, 6), mode="reflect")
    expected = functional.conv2d(padded, kernel.expand(3, 1, 13, 13), groups=3)[0]
    other = torch.zeros_like(image)
    found = gaussian_blur(torch.stack([other, image]), np.array([1.0, sigma]))
    assert torch.allclose(found[1], expected, atol=1e-4) and not found[0].any()


@pytest.mark.parametrize("jitter, blur", [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_augmentation_happens_with_its_probability(jitter: float, blur: float) -> None:
    images = normalize(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255)
    found = strong_augmentation(
        images,
        np.random.default_rng(0),
        jitter_strength=0.2,
        jitter_probability=jitter,
        blur_probability=blur,
    )
    assert torch.equal(found, images) == (jitter == blur == 0)
    if jitter:
        colors = denormalize(found)
        assert colors.min() > -0.01 and colors.max() < 255.01


def test_four_steps_in_five_jitter_by_default() -> None:
    images = torch.zeros(1, 3, 8, 8)
    changed = [
        not torch.equal(
            images,
            strong_augmentation(
                images,
                np.random.default_rng(seed),
                jitter_strength=0.2,
                jitter_probability=0.8,
                blur_probability=0.0,
            ),
        )
        for seed in range(300)
    ]
    assert np.mean(changed) == pytest.approx(0.8, abs=0.07)


def _each(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value)
