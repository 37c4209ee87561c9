"""The town: other things than in the source, in other light from scene to scene, with the same labels."""

import dataclasses

import numpy as np
import pytest

from datum.labels import LABEL_ID
from datum.streetscenes.drawing import SOURCE_DOMAIN, Scene, draw_scene, town_domain
from datum.streetscenes.drawing.town import TOWN_HOURS, TOWN_STYLE


def test_a_scene_of_the_town_has_the_labels_that_it_has_in_the_source() -> None:
    for seed in range(25):
        expected = draw_scene(seed, SOURCE_DOMAIN).label_ids
        assert np.array_equal(draw_scene(seed, town_domain(seed)).label_ids, expected)


def test_the_hour_of_a_scene_is_its_seeds_and_all_hours_come_about_as_often() -> None:
    hours = [town_domain(seed) for seed in range(400)]
    assert hours == [town_domain(seed) for seed in range(400)]
    for hour in TOWN_HOURS:
        assert 0.7 < hours.count(hour) * len(TOWN_HOURS) / len(hours) < 1.3


Pairs = list[tuple[Scene, Scene]]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Scenes of the source, and the same in its light with the things of the town."""
    town = dataclasses.replace(SOURCE_DOMAIN, style=TOWN_STYLE)
    return [(draw_scene(seed, SOURCE_DOMAIN), draw_scene(seed, town)) for seed in range(40)]


def _change(pairs: Pairs, name: str) -> float:
    """Mean change of a class, in levels."""
    changes = []
    for source, town in pairs:
        there = source.label_ids == LABEL_ID[name]
        changes.append(np.abs(source.image[there].astype(float) - town.image[there]).ravel())
    return float(np.concatenate(changes).mean())


@pytest.mark.parametrize(
    "name",
    (
        "building",
        "car",
        "bus",
        "truck",
        "person",
        "rider",
        "traffic sign",
        "traffic light",
        "pole",
        "sidewalk",
    ),
)
def test_things_of_the_town_look_different_in_the_same_light(pairs: Pairs, name: str) -> None:
    assert _change(pairs, name) > 10.0


def test_the_sky_is_the_same_whatever_the_place_is_made_of(pairs: Pairs) -> None:
    assert _change(pairs, "sky") < 2.0
