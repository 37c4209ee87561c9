"""Domains look different from each other and are described by what they look like."""

import dataclasses

import numpy as np

from datum.streetscenes.drawing import (
    SOURCE_DOMAIN,
    TARGET_DOMAIN,
    Domain,
    domain_description,
    draw_scene,
    random_domain,
)
from datum.streetscenes.drawing.style import SOURCE_STYLE

WORDS = {"faded", "foggy", "hazy", "night", "dusk", "overcast", "sunny"}


def _mean_color(domain: Domain) -> np.ndarray:
    images = [draw_scene(seed, domain, height=64, width=64).image for seed in range(8)]
    return np.mean(images, axis=(0, 1, 2))


def _colorfulness(domain: Domain) -> float:
    images = np.array([draw_scene(seed, domain, height=64, width=64).image for seed in range(8)], dtype=float)
    return float(np.mean(images.max(axis=3) - images.min(axis=3)))


def test_source_and_target_differ_in_brightness_and_color() -> None:
    assert np.abs(_mean_color(SOURCE_DOMAIN) - _mean_color(TARGET_DOMAIN)).max() > 15
    assert _colorfulness(SOURCE_DOMAIN) > 1.5 * _colorfulness(TARGET_DOMAIN)


def test_neither_domain_is_black_or_blown_out() -> None:
    for domain in (SOURCE_DOMAIN, TARGET_DOMAIN):
        mean = _mean_color(domain).mean()
        assert 60 < mean < 190


def test_random_domains_are_repeatable_and_varied() -> None:
    first = [random_domain(np.random.default_rng(seed)) for seed in range(30)]
    again = [random_domain(np.random.default_rng(seed)) for seed in range(30)]
    assert first == again
    assert len(set(first)) == 30
    brightness = [draw_scene(0, domain, height=32, width=32).image.mean() for domain in first]
    assert np.std(brightness) > 20


def test_random_places_are_of_every_make_and_now_and_then_of_the_sources() -> None:
    styles = [random_domain(np.random.default_rng(seed)).style for seed in range(100)]
    assert styles == [random_domain(np.random.default_rng(seed)).style for seed in range(100)]
    as_source = styles.count(SOURCE_STYLE)
    assert 10 < as_source < 50
    assert len(set(styles)) == 101 - as_source
    for field in dataclasses.fields(SOURCE_STYLE):
        assert len({getattr(style, field.name) for style in styles}) > 1, field.name


def test_descriptions_use_a_small_vocabulary_of_which_all_words_occur() -> None:
    used: set[str] = set()
    for seed in range(200):
        words = domain_description(random_domain(np.random.default_rng(seed))).split()
        assert 1 <= len(words) <= 2
        used |= set(words)
    assert used == WORDS


def test_descriptions_follow_the_parameters() -> None:
    assert domain_description(SOURCE_DOMAIN) == "sunny"
    assert domain_description(TARGET_DOMAIN) == "hazy dusk"
    assert (
        domain_description(dataclasses.replace(SOURCE_DOMAIN, visibility=30.0, sun_strength=0.0)) == "foggy"
    )
    assert domain_description(dataclasses.replace(TARGET_DOMAIN, lamps=1.0)) == "night"
