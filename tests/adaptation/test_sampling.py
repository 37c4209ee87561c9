"""Rare class sampling and crops."""

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datum.adaptation.inputs import find_source
from datum.adaptation.sampling import CropRules, TrainingSamples, batches, draw_crop
from datum.errors import InputError
from datum.rare_classes import class_probabilities
from tests.adaptation.small_training import RULES

MakeSource = Callable[[list[np.ndarray]], Path]


def test_class_probabilities_follow_the_formula() -> None:
    pixels = {0: 6000, 11: 3000, 17: 1000}
    weights = {c: math.exp((1 - n / 10_000) / 0.1) for c, n in pixels.items()}
    expected = {c: weight / sum(weights.values()) for c, weight in weights.items()}
    assert class_probabilities(pixels, 0.1) == pytest.approx(expected)


def test_a_small_temperature_does_not_overflow() -> None:
    found = class_probabilities({0: 999_999, 18: 1}, 0.001)
    assert found[18] == pytest.approx(1.0) and found[0] == pytest.approx(0.0)


def test_classes_are_drawn_as_often_as_their_probability(make_source: MakeSource) -> None:
    """Every image is of one class, so the labels tell which class was drawn."""
    shares = {0: 12, 5: 4, 13: 2, 18: 1}
    labels = [np.full((32, 32), c, np.uint8) for c, count in shares.items() for _ in range(count)]
    samples = _samples(make_source(labels), temperature=0.5)
    draws = 2000
    counts = Counter(int(samples[i][1][0, 0]) for i in range(draws))
    weights = {c: math.exp((1 - count / 19) / 0.5) for c, count in shares.items()}
    for c, weight in weights.items():
        assert counts[c] / draws == pytest.approx(weight / sum(weights.values()), abs=0.04)


def test_a_sample_is_a_function_of_seed_and_index_alone(make_source: MakeSource, tmp_path: Path) -> None:
    root = make_source(_random_labels(4))
    targets = [root / "images" / f"{i}.png" for i in range(4)]
    one, other = (_samples(root, targets=targets) for _ in range(2))
    for _ in range(3):
        one[5]  # what was drawn before must not matter
    for first, second in zip(one[7], other[7]):
        assert np.array_equal(first, second)
    assert not np.array_equal(one[7][0], one[8][0])
    assert not np.array_equal(one[7][0], _samples(root, targets=targets, seed=1)[7][0])


def test_batches_resume_where_they_are_told_to(make_source: MakeSource) -> None:
    samples = _samples(make_source(_random_labels(4)))
    read = functools.partial(batches, samples, last=5, batch_size=2, workers=0, device=torch.device("cpu"))
    whole, rest = list(read(first=0)), list(read(first=3))
    assert len(rest) == 2
    for expected, found in zip(whole[3:], rest):
        assert torch.equal(expected.source, found.source) and torch.equal(expected.labels, found.labels)


def test_batches_do_not_depend_on_the_number_of_workers(make_source: MakeSource) -> None:
    samples = _samples(make_source(_random_labels(4)))
    read = functools.partial(batches, samples, first=0, last=3, batch_size=2, device=torch.device("cpu"))
    for alone, shared in zip(read(workers=0), read(workers=2)):
        assert torch.equal(alone.source, shared.source) and torch.equal(alone.labels, shared.labels)


def test_only_images_with_enough_pixels_are_candidates_for_a_class(make_source: MakeSource) -> None:
    few, many = np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8)
    few[0, :10], many[0, :11] = 18, 18
    samples = _samples(make_source([few, many]), temperature=0.001)
    assert samples.probabilities[samples.classes.index(18)] == pytest.approx(1.0)
    # Images are drawn at twice their size here; a crop holds part of the class or all of it.
    assert max(int((samples[i][1] == 18).sum()) for i in range(40)) == 44


def test_crops_are_drawn_again_until_they_hold_the_sampled_class(make_source: MakeSource) -> None:
    """A crop of a 64 x 64 image meets the corner with the class in about one draw out of four."""
    label = np.zeros((64, 64), np.uint8)
    label[:16, :16] = 18
    samples = _samples(make_source([label]), temperature=0.001)
    hits = sum(int((samples[i][1] == 18).sum()) > 5 for i in range(60))
    assert hits >= 54  # with one draw alone it would be about 15


def test_a_crop_is_not_filled_by_one_class_where_that_can_be_avoided() -> None:
    label = np.zeros((64, 64), np.uint8)
    label[:, 32:] = 1
    rng = np.random.default_rng(0)
    shares = [np.bincount(label[draw_crop(label, 16, 0.75, rng)].ravel()).max() / 256 for _ in range(100)]
    assert np.mean(np.array(shares) < 0.75) > 0.8
    free = [np.bincount(label[draw_crop(label, 16, 1.0, rng)].ravel()).max() / 256 for _ in range(100)]
    assert np.mean(np.array(free) < 0.75) < 0.3


def test_images_smaller_than_the_crop_are_padded_with_void_and_the_mean_color(
    make_source: MakeSource,
) -> None:
    rules = CropRules(
        size=32,
        class_max_ratio=1.0,
        rare_min_pixels=10,
        rare_min_crop_pixels=5,
        source_scale=(20, 16),
        target_scale=None,
    )
    samples = _samples(make_source([np.zeros((16, 20), np.uint8)]), rules=rules)
    (batch,) = batches(samples, first=0, last=1, batch_size=1, workers=0, device=torch.device("cpu"))
    image, labels = batch.source[0], batch.labels[0]
    assert image.shape == (3, 32, 32) and labels.shape == (32, 32) and batch.classes == [0, 255]
    assert (labels[:16, :20] == 0).all() and (labels[16:] == 255).all() and (labels[:, 20:] == 255).all()
    assert (image[:, 16:] == 0).all() and (image[:, :, 20:] == 0).all() and (image[:, :16, :20] != 0).all()


def test_image_label_and_flip_stay_together(make_source: MakeSource) -> None:
    """The image is painted by its label, so they must agree in every crop."""
    root = make_source(_random_labels(2))
    for number in range(2):
        with Image.open(root / "labels" / f"{number}_labelTrainIds.png") as label:
            gray = np.asarray(label) * 10
        Image.fromarray(np.stack([gray] * 3, axis=-1)).save(root / "images" / f"{number}.png")
    samples = _samples(root)
    for index in range(10):
        image, labels = samples[index]
        assert np.array_equal(image[:, :, 0], labels * 10)


def test_a_threshold_that_no_image_reaches_is_refused(make_source: MakeSource) -> None:
    with pytest.raises(InputError, match=r"rare_class_min_pixels: no class has more than 10 pixels"):
        _samples(make_source([np.full((3, 3), 4, np.uint8)]))


def test_without_rare_class_sampling_every_image_is_as_likely_as_any_other(make_source: MakeSource) -> None:
    """A class of ten pixels, which rare class sampling would look for, in one image out of four; the others
    hold too little of any class for it."""
    labels = [np.full((32, 32), c, np.uint8) for c in (0, 1, 2, 18)]
    labels[3][2:] = 255
    samples = _samples(make_source(labels), temperature=None)
    draws = Counter(int(samples[i][1][0, 0]) for i in range(800))
    assert draws.keys() - {255} == {0, 1, 2, 18}
    assert all(draws[c] / 800 == pytest.approx(0.25, abs=0.05) for c in (0, 1, 2))


def test_colors_of_source_images_alone_are_distorted(make_source: MakeSource) -> None:
    root = make_source(_random_labels(4))
    targets = [root / "images" / f"{i}.png" for i in range(4)]
    plain = _samples(root, targets=targets)
    distorted = _samples(root, targets=targets, rules=dataclasses.replace(RULES, distorted=True))
    changed = 0
    for index in range(20):
        image, labels, _ = plain[index]
        other, same, target = distorted[index]
        assert np.array_equal(labels, same)
        changed += not np.array_equal(image, other)
        assert any(_occurs(target, file) for file in targets)
    assert changed > 15


def test_target_images_are_enlarged_by_the_factor_where_they_have_no_scale(make_source: MakeSource) -> None:
    root = make_source([np.zeros((64, 64), np.uint8)])
    rules = dataclasses.replace(RULES, size=128, target_factor=2)
    target = _samples(root, targets=[root / "images" / "0.png"], rules=rules)[0][2]
    assert (target != 0).all()


def _occurs(crop: np.ndarray, file: Path) -> bool:
    """Whether `crop`, or its mirror image, is found in the image of `file` as it is."""
    with Image.open(file) as image:
        whole = np.asarray(image)
    places = np.lib.stride_tricks.sliding_window_view(whole, crop.shape)
    return any((places == wanted).all(axis=(-3, -2, -1)).any() for wanted in (crop, crop[:, ::-1]))


def _samples(
    root: Path,
    *,
    targets: list[Path] | None = None,
    rules: CropRules = RULES,
    temperature: float | None = 0.5,
    seed: int = 0,
) -> TrainingSamples:
    source = find_source("gta-to-cityscapes", root)
    return TrainingSamples(
        source=source, target=targets or [], rules=rules, temperature=temperature, seed=seed
    )


def _random_labels(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 19, (64, 64), dtype=np.uint8) for i in range(count)]
