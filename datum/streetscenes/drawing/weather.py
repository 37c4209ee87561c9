"""Domains of all kinds, and words for them."""

import dataclasses

import numpy as np

from datum.streetscenes.drawing.colors import Color
from datum.streetscenes.drawing.domain import SOURCE_DOMAIN, TARGET_DOMAIN, Domain
from datum.streetscenes.drawing.places import random_style

_SUNNY = dataclasses.replace(SOURCE_DOMAIN, texture=0.7)
_OVERCAST = dataclasses.replace(
    SOURCE_DOMAIN, sun_strength=0.08, ambient_strength=0.82, shadow_depth=0.0, cloud_cover=0.95,
    sky_top=(0.66, 0.69, 0.73), sky_horizon=(0.84, 0.86, 0.88), cloud_color=(0.8, 0.81, 0.83),
    haze_color=(0.78, 0.8, 0.82), visibility=180.0, saturation=0.85, texture=0.8,
)  # fmt: skip
_FOGGY = dataclasses.replace(
    _OVERCAST, cloud_cover=0.0, visibility=32.0, sky_top=(0.74, 0.76, 0.78), sky_horizon=(0.76, 0.77, 0.78),
    haze_color=(0.76, 0.77, 0.78), saturation=0.75, contrast=0.9,
)  # fmt: skip
_NIGHT = dataclasses.replace(
    TARGET_DOMAIN, sun_strength=0.0, ambient_color=(0.7, 0.8, 1.0), ambient_strength=0.42, shadow_depth=0.0,
    sky_top=(0.03, 0.04, 0.1), sky_horizon=(0.14, 0.14, 0.2), cloud_cover=0.3, cloud_color=(0.12, 0.12, 0.17),
    haze_color=(0.14, 0.14, 0.18), visibility=120.0, lit_windows=0.4, lamps=0.95,
    color_cast=(1.0, 0.98, 1.05), exposure=1.4, gamma=0.85,
)  # fmt: skip
_FADED = dataclasses.replace(
    SOURCE_DOMAIN, saturation=0.2, color_cast=(1.08, 0.98, 0.8), contrast=0.85, noise=5.0, vignette=0.3,
)  # fmt: skip
_RENDERED = dataclasses.replace(
    SOURCE_DOMAIN, texture=0.05, saturation=1.3, cloud_cover=0.15, visibility=900.0
)

_WEATHERS = (SOURCE_DOMAIN, TARGET_DOMAIN, _SUNNY, _SUNNY, _OVERCAST, _FOGGY, _NIGHT, _FADED, _RENDERED)

_RANGES: dict[str, tuple[float, float]] = {
    "ambient_strength": (0.4, 0.95),
    "sun_strength": (0.0, 1.1),
    "shadow_depth": (0.0, 0.65),
    "cloud_cover": (0.0, 1.0),
    "visibility": (25.0, 1000.0),
    "facade_saturation": (0.02, 0.6),
    "facade_brightness": (0.3, 0.85),
    "foliage_saturation": (0.1, 0.75),
    "asphalt_brightness": (0.14, 0.48),
    "asphalt_warmth": (-0.08, 0.08),
    "saturation": (0.1, 1.4),
    "texture": (0.0, 1.0),
    "lit_windows": (0.0, 0.6),
    "lamps": (0.0, 1.0),
    "exposure": (0.5, 1.5),
    "contrast": (0.5, 1.3),
    "gamma": (0.8, 1.25),
    "blur": (0.0, 0.8),
    "noise": (0.0, 12.0),
    "vignette": (0.0, 0.5),
}
_MOVED, _MOVED_BY_CAMERAS = 0.16, {"exposure": 0.2, "contrast": 0.25}
# Standard deviations of the logarithms of numbers; cameras differ more than weathers do.
_CAST = 0.12  # the same of each channel of the color cast
_ADDED_NOISE = 4.0  # levels: half of the random domains get up to this much sensor noise


def random_domain(rng: np.random.Generator) -> Domain:
    """A domain at random: one of the weathers, with every number and color moved, at a random place and
    through a random camera."""
    base = _WEATHERS[int(rng.integers(len(_WEATHERS)))]
    changes: dict[str, object] = {}
    for name, (low, high) in _RANGES.items():
        value = getattr(base, name) * float(np.exp(rng.normal(0.0, _MOVED_BY_CAMERAS.get(name, _MOVED))))
        changes[name] = min(high, max(low, value)) if getattr(base, name) else 0.0
    for field in ("sun_color", "ambient_color", "sky_top", "sky_horizon", "cloud_color", "haze_color"):
        changes[field] = _moved(getattr(base, field), 0.05, rng)
    changes["color_cast"] = _moved(base.color_cast, _CAST, rng, most=1.3)
    changes["sun_azimuth"] = float(rng.uniform(0.0, 360.0))
    changes["sun_elevation"] = min(80.0, max(6.0, base.sun_elevation * float(rng.uniform(0.5, 1.5))))
    changes["facade_hue"] = float(rng.choice([12.0, 24.0, 32.0, 45.0, 210.0]))
    changes["facade_hue_spread"] = float(rng.uniform(5.0, 28.0))
    changes["foliage_hue"] = float(rng.uniform(40.0, 125.0))
    if rng.random() < 0.5:
        changes["noise"] = float(rng.uniform(0.0, _ADDED_NOISE))
        changes["blur"] = float(rng.uniform(0.0, 0.6))
    return dataclasses.replace(base, style=random_style(rng), **changes)  # type: ignore[arg-type]


def _moved(color: Color, deviation: float, rng: np.random.Generator, most: float = 1.0) -> Color:
    moved = np.clip(np.array(color) * np.exp(rng.normal(0.0, deviation, 3)), 0.0, most)
    return (float(moved[0]), float(moved[1]), float(moved[2]))


def domain_description(domain: Domain) -> str:
    """One or two of: faded, foggy, hazy; night, dusk, overcast, sunny."""
    words = []
    if domain.saturation < 0.4:
        words.append("faded")
    elif domain.visibility < 60.0:
        words.append("foggy")
    elif domain.visibility < 110.0 and domain.lamps < 0.7:
        words.append("hazy")
    if domain.lamps > 0.7:
        words.append("night")
    elif domain.lamps_on:
        words.append("dusk")
    elif domain.sun_strength > 0.35:
        words.append("sunny")
    elif not words:
        words.append("overcast")
    return " ".join(words)
