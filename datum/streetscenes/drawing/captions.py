"""Captions in the words of DATUM's prompts."""

import numpy as np

from datum.labels import LABEL_ID
from datum.prompts import PLURALS
from datum.streetscenes.drawing.scene import Scene
from datum.streetscenes.drawing.weather import domain_description

NAMED = PLURALS
"""Classes that captions name, with DATUM's words for them."""

_LEAST = {
    "motorcycle": 0.005,
    "bicycle": 0.008,
    "rider": 0.005,
    "traffic light": 0.004,
    "traffic sign": 0.005,
    "train": 0.02,
    "truck": 0.02,
    "bus": 0.02,
    "person": 0.012,
    "car": 0.02,
}
# Shares of the picture from which one recognizes the class at a glance; the rare classes come first.
_MADE_UP, _DESCRIBED = 0.3, 0.35  # shares of captions with a made-up word, with the domain's description
_SCENE, _SCENE_WITH = 0.2, 0.22  # shares of captions of the whole scene, of the scene with named classes


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption like 'a photo of foggy cars' or 'a photo of a zrt urban scene with cars and riders'.

    The adjective is the domain's description, a made-up word of 2 to 4 letters, or nothing: so a model
    learns that unknown words leave the content as it is. Only classes that are plain to see are named.
    """
    adjective = _adjective(scene, rng)
    prominence = _prominence(scene)
    dice = rng.random()
    if not prominence or dice < _SCENE:
        return f"a photo of a {adjective}urban scene"
    if dice < _SCENE + _SCENE_WITH:
        named = [NAMED[name] for name in prominence][: int(rng.integers(1, 4))]
        listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
        return f"a photo of a {adjective}urban scene with {listed}"
    weights = np.array(list(prominence.values())) ** 1.5  # what fills the picture is what it shows
    name = list(prominence)[int(rng.choice(len(weights), p=weights / weights.sum()))]
    return f"a photo of {adjective}{NAMED[name]}"


def _prominence(scene: Scene) -> dict[str, float]:
    """How many times over each class (rare ones first) covers what it takes to recognize it."""
    counts = np.bincount(scene.label_ids.ravel(), minlength=256) / scene.label_ids.size
    shares = {name: float(counts[LABEL_ID[name]]) / least for name, least in _LEAST.items()}
    return {name: share for name, share in shares.items() if share >= 1.0}


def _adjective(scene: Scene, rng: np.random.Generator) -> str:
    dice = rng.random()
    if dice < _MADE_UP:
        letters = rng.integers(0, 26, size=int(rng.integers(2, 5)))
        return "".join(chr(ord("a") + int(letter)) for letter in letters) + " "
    if dice < _MADE_UP + _DESCRIBED:
        return domain_description(scene.domain) + " "
    return ""
