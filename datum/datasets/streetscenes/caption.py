"""Captions in the words of DATUM's prompts."""

from __future__ import annotations

import numpy as np

from datum.datasets.streetscenes.scene import Scene, visible_classes
from datum.datasets.streetscenes.weather import domain_description

PLURALS: dict[str, str] = {
    "traffic light": "traffic lights",
    "traffic sign": "traffic signs",
    "person": "persons",
    "rider": "riders",
    "car": "cars",
    "truck": "trucks",
    "bus": "buses",
    "motorcycle": "motorcycles",
    "bicycle": "bicycles",
}
"""Classes that captions name, as DATUM's prompts do."""

_RARE_FIRST = ("motorcycle", "bicycle", "rider", "traffic light", "traffic sign", "truck", "bus", "person", "car")
_LEAST = {"traffic light": 0.002, "traffic sign": 0.002, "person": 0.006, "rider": 0.005, "bicycle": 0.004,
          "motorcycle": 0.004, "car": 0.01, "truck": 0.012, "bus": 0.012}  # fmt: skip
# Shares of the picture from which a person recognises the class at a glance.


def named_classes(scene: Scene) -> list[str]:
    """The classes that a caption of the scene may name, the rare ones first."""
    seen = [name for name in _RARE_FIRST if name in visible_classes(scene.label_ids, _LEAST[name])]
    return seen


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption like 'a photo of foggy cars' or 'a photo of a zrt urban scene with cars and riders'.

    The adjective is the domain's description, a made-up word of 2 to 4 letters, or nothing: so a model
    learns that unknown words leave the content as it is.
    """
    dice = rng.random()
    adjective = _made_up_word(rng) if dice < 0.3 else domain_description(scene.domain) if dice < 0.65 else ""
    before = f"{adjective} " if adjective else ""
    named = named_classes(scene)
    kind = rng.random()
    if not named or kind < 0.22:
        return f"a photo of a {before}urban scene"
    if kind < 0.45:
        some = [PLURALS[n] for n in named[: int(rng.integers(1, 4))]]
        listed = some[0] if len(some) == 1 else f"{', '.join(some[:-1])} and {some[-1]}"
        return f"a photo of a {before}urban scene with {listed}"
    return f"a photo of {before}{PLURALS[_pick(named, rng)]}"


def _pick(named: list[str], rng: np.random.Generator) -> str:
    """The rarest class mostly, any other sometimes."""
    return named[0] if rng.random() < 0.65 else named[int(rng.integers(len(named)))]


def _made_up_word(rng: np.random.Generator) -> str:
    letters = rng.integers(0, 26, size=int(rng.integers(2, 5)))
    return "".join(chr(ord("a") + int(letter)) for letter in letters)
