"""Captions say what is to be seen, in the words of DATUM's prompts."""

import re

import numpy as np

from datum.labels import LABEL_ID
from datum.streetscenes.drawing import SOURCE_DOMAIN, Scene, caption, draw_scene

NAMES = {
    "traffic lights": "traffic light",
    "traffic signs": "traffic sign",
    "persons": "person",
    "riders": "rider",
    "cars": "car",
    "trucks": "truck",
    "trains": "train",
    "buses": "bus",
    "motorcycles": "motorcycle",
    "bicycles": "bicycle",
}
PLURAL = "|".join(NAMES)
PATTERN = re.compile(
    rf"a photo of (?:a (?:(?P<scene_word>[a-z ]+?) )?urban scene(?: with (?P<listed>.+))?"
    rf"|(?:(?P<word>[a-z ]+?) )?(?P<named>{PLURAL}))"
)


def _named(text: str) -> list[str]:
    match = PATTERN.fullmatch(text)
    assert match is not None, text
    listed = match["listed"]
    plurals = re.split(r", | and ", listed) if listed else [match["named"]] if match["named"] else []
    return [NAMES[plural] for plural in plurals]


def _captions() -> list[tuple[Scene, str]]:
    rng = np.random.default_rng(1)
    scenes = [draw_scene(seed, SOURCE_DOMAIN) for seed in range(25)]
    return [(scene, caption(scene, rng)) for scene in scenes for _ in range(12)]


def test_captions_name_only_visible_classes() -> None:
    for scene, text in _captions():
        for name in _named(text):
            assert np.mean(scene.label_ids == LABEL_ID[name]) >= 0.002, text


def test_captions_have_the_form_of_the_prompts() -> None:
    texts = [text for _, text in _captions()]
    assert "a photo of cars" in texts
    assert "a photo of a urban scene" in texts
    assert any(text.startswith("a photo of a urban scene with ") for text in texts)


def test_a_third_of_the_captions_has_a_made_up_word_and_a_third_the_weather() -> None:
    words = []
    for _, text in _captions():
        match = PATTERN.fullmatch(text)
        assert match is not None
        words.append(match["word"] or match["scene_word"] or "")
    assert 0.2 < np.mean([word == "sunny" for word in words]) < 0.5
    assert 0.2 < np.mean([re.fullmatch("[a-z]{2,4}", word) is not None for word in words]) < 0.4


def test_a_scene_without_anything_to_name_is_an_urban_scene() -> None:
    empty = np.full((8, 8), LABEL_ID["road"], dtype=np.uint8)
    scene = Scene(image=np.zeros((8, 8, 3), np.uint8), label_ids=empty, seed=0, domain=SOURCE_DOMAIN)
    rng = np.random.default_rng(0)
    assert all(_named(caption(scene, rng)) == [] for _ in range(30))


def test_emphasized_classes_are_what_captions_mostly_name() -> None:
    rng = np.random.default_rng(2)
    for name in ("car", "bus", "train", "person"):
        texts = [caption(draw_scene(seed, SOURCE_DOMAIN, emphasis=name), rng) for seed in range(20)]
        single = [_named(text)[0] for text in texts if _named(text) and "urban scene" not in text]
        assert single.count(name) > 0.4 * len(single)
