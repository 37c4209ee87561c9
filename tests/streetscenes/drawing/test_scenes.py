"""What draw_scene promises: exact labels, repeatable pictures, streets with everything in them."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from datum.labels import LABEL_ID
from datum.streetscenes.drawing import (
    EMPHASIZED,
    SOURCE_DOMAIN,
    TARGET_DOMAIN,
    Domain,
    draw_scene,
    random_domain,
    visible_classes,
)
from datum.streetscenes.drawing.town import TOWN_STYLE

UNASKED = {name: label_id for name, label_id in LABEL_ID.items() if name != "train"}
"""What scenes show that nothing is asked of."""


@pytest.mark.parametrize(
    ("height", "width"), [(16, 16), (64, 64), (128, 128), (96, 192), (200, 120), (640, 600)]
)
def test_a_scene_of_any_size_has_an_image_and_labels_of_that_size(height: int, width: int) -> None:
    scene = draw_scene(5, TARGET_DOMAIN, height=height, width=width)
    assert scene.image.shape == (height, width, 3)
    assert scene.label_ids.shape == (height, width)
    assert scene.image.dtype == scene.label_ids.dtype == np.uint8


@pytest.mark.parametrize("domain", [SOURCE_DOMAIN, TARGET_DOMAIN], ids=["source", "target"])
def test_the_same_seed_gives_the_same_scene(domain: Domain) -> None:
    first, again = (draw_scene(11, domain, height=64, width=96) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.label_ids, again.label_ids)


def test_a_scene_does_not_depend_on_the_scenes_drawn_before_it() -> None:
    fresh = draw_scene(3, TARGET_DOMAIN)
    for seed in range(4, 8):
        draw_scene(seed, SOURCE_DOMAIN)
    assert np.array_equal(draw_scene(3, TARGET_DOMAIN).image, fresh.image)


def test_the_same_seed_gives_the_same_labels_in_every_domain() -> None:
    rng = np.random.default_rng(0)
    for seed in range(25):
        expected = draw_scene(seed, SOURCE_DOMAIN).label_ids
        for domain in (TARGET_DOMAIN, random_domain(rng)):
            assert np.array_equal(draw_scene(seed, domain).label_ids, expected)


def test_emphasized_scenes_have_the_same_labels_in_every_domain() -> None:
    for seed, name in enumerate(EMPHASIZED):
        source = draw_scene(seed, SOURCE_DOMAIN, emphasis=name)
        target = draw_scene(seed, TARGET_DOMAIN, emphasis=name)
        assert np.array_equal(source.label_ids, target.label_ids)


def test_different_seeds_give_different_streets() -> None:
    maps = {draw_scene(seed, SOURCE_DOMAIN, height=64, width=64).label_ids.tobytes() for seed in range(30)}
    assert len(maps) == 30


def test_every_pixel_is_labeled_with_a_class_and_no_train_stands_where_none_is_asked_for() -> None:
    seen: set[int] = set()
    for seed in range(40):
        seen |= set(np.unique(draw_scene(seed, SOURCE_DOMAIN).label_ids).tolist())
    assert seen <= set(UNASKED.values())
    assert seen >= {
        UNASKED[n] for n in ("road", "sidewalk", "building", "sky", "vegetation", "car", "person")
    }


def test_the_classes_are_as_frequent_as_in_a_street() -> None:
    count = 150
    pixels = np.zeros(256)
    shown: Counter[str] = Counter()
    for seed in range(count):
        label_ids = draw_scene(seed, SOURCE_DOMAIN).label_ids
        pixels += np.bincount(label_ids.ravel(), minlength=256)
        shown.update(visible_classes(label_ids, min_fraction=0.001))
    share = {name: pixels[label_id] / pixels.sum() for name, label_id in UNASKED.items()}
    assert 0.25 < share["road"] < 0.4
    assert 0.12 < share["building"] < 0.3
    assert 0.12 < share["sky"] < 0.3
    assert 0.02 < share["sidewalk"] < 0.1
    least = {
        "person": 0.5, "car": 0.8, "pole": 0.8, "vegetation": 0.8, "traffic light": 0.3, "traffic sign": 0.3,
        "bicycle": 0.1, "rider": 0.1, "motorcycle": 0.1, "bus": 0.1, "truck": 0.1, "wall": 0.1, "fence": 0.1,
        "terrain": 0.2,
    }  # fmt: skip
    for name, expected in least.items():
        assert shown[name] / count >= expected, name


@pytest.mark.parametrize("name", EMPHASIZED)
def test_an_emphasized_class_is_plain_to_see(name: str) -> None:
    shares = [
        np.mean(draw_scene(seed, SOURCE_DOMAIN, emphasis=name).label_ids == LABEL_ID[name])
        for seed in range(20)
    ]
    assert np.median(shares) > 0.01
    assert min(shares) > 0.002


def test_a_train_is_drawn_in_the_colors_of_the_place() -> None:
    town = dataclasses.replace(SOURCE_DOMAIN, style=TOWN_STYLE)
    for seed in range(10):
        source, other = (draw_scene(seed, domain, emphasis="train") for domain in (SOURCE_DOMAIN, town))
        there = source.label_ids == LABEL_ID["train"]
        assert np.abs(source.image[there].astype(float) - other.image[there]).mean() > 5.0
        assert not np.any(draw_scene(seed, SOURCE_DOMAIN, emphasis="bus").label_ids == LABEL_ID["train"])


def test_an_unknown_emphasis_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"emphasis is 'fence', expected one of traffic light, .*bicycle"):
        draw_scene(0, SOURCE_DOMAIN, emphasis="fence")


def test_visible_classes_are_named_largest_first_and_small_ones_left_out() -> None:
    label_ids = np.full((10, 10), LABEL_ID["road"], dtype=np.uint8)
    label_ids[:3] = LABEL_ID["sky"]
    label_ids[9, 9] = LABEL_ID["person"]
    assert visible_classes(label_ids, min_fraction=0.01) == ["road", "sky", "person"]
    assert visible_classes(label_ids, min_fraction=0.02) == ["road", "sky"]


def test_a_layout_keeps_its_classes_when_it_is_drawn_larger() -> None:
    small = draw_scene(21, SOURCE_DOMAIN, height=64, width=64).label_ids
    large = draw_scene(21, SOURCE_DOMAIN, height=256, width=256).label_ids[2::4, 2::4]
    assert np.mean(small == large) > 0.85


def test_flat_objects_are_painted_where_they_are_labeled() -> None:
    """The sky of a clear domain without camera effects has no color of anything else in it."""
    clear = dataclasses.replace(
        SOURCE_DOMAIN,
        cloud_cover=0.0,
        texture=0.0,
        sky_top=(0.0, 0.0, 1.0),
        sky_horizon=(0.0, 0.0, 1.0),
        contrast=1.0,
    )
    for seed in range(10):
        scene = draw_scene(seed, clear)
        blue = np.all(scene.image == (0, 0, 255), axis=2)
        sky = scene.label_ids == LABEL_ID["sky"]
        assert np.count_nonzero(blue & ~sky) <= 2  # corners that antialiasing leaves empty
        # What remains is the antialiased rim of things before the sky, a pixel wide.
        assert np.mean(blue[sky]) > 0.8
