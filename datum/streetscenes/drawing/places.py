"""Places at random: what things are made of, with no two places alike."""

import colorsys
import dataclasses

import numpy as np

from datum.streetscenes.drawing.colors import Color
from datum.streetscenes.drawing.style import SOURCE_STYLE, Paints, Style

_LIKE_THE_SOURCE = 0.25  # share of the places that are, whole
_USUAL = 0.4  # share of the things of any other place that are as in the source
_MOST_PAINTS = 6


def random_style(rng: np.random.Generator) -> Style:
    """A style at random, or now and then the source's. Each kind of thing keeps the source's look or has
    colors of its own, from the whole of hue, saturation and brightness, and details that it may lack."""
    if rng.random() < _LIKE_THE_SOURCE:
        return SOURCE_STYLE
    changes: dict[str, object] = {}
    for kind in (_cars, _large_vehicles, _clothes, _signs, _poles, _facades, _ground, _greenery):
        if rng.random() >= _USUAL:
            changes |= kind(rng)
    return dataclasses.replace(SOURCE_STYLE, **changes)  # type: ignore[arg-type]


def _cars(rng: np.random.Generator) -> dict[str, object]:
    return {
        "car_paints": _paints(rng),
        "car_roof": _detail(rng, 0.5),
        "car_band": _detail(rng),
    }


def _large_vehicles(rng: np.random.Generator) -> dict[str, object]:
    paints = {
        name: _paints(rng)
        for name in ("bus_paints", "bus_stripes", "tram_paints", "tram_skirts", "cab_paints")
    }
    return paints | {"tarpaulin": (_color(rng), _color(rng)) if rng.random() < 0.5 else None}


def _clothes(rng: np.random.Generator) -> dict[str, object]:
    hue, brightness = float(rng.uniform(0.0, 0.8)), float(rng.uniform(0.2, 0.7))
    return {
        "dark_clothes": bool(rng.random() < 0.4),
        "clothes_hues": (hue, hue + float(rng.uniform(0.1, 1.0))),
        "clothes_brightness": (brightness, min(0.95, brightness + float(rng.uniform(0.1, 0.4)))),
        "clothes_band": _detail(rng),
        "legwear": _paints(rng),
    }


def _signs(rng: np.random.Generator) -> dict[str, object]:
    return {name: _color(rng) for name in ("sign_rim", "sign_face", "sign_plate", "sign_priority")}


def _poles(rng: np.random.Generator) -> dict[str, object]:
    return {
        "pole_band": _detail(rng),
        **{name: _color(rng) for name in ("steel", "lamplight", "light_housing")},
    }


def _facades(rng: np.random.Generator) -> dict[str, object]:
    return {
        "wall_pattern": str(rng.choice(["plain", "courses", "timber"])),
        "shutters": _paints(rng) if rng.random() < 0.5 else (),
        "roofs": _paints(rng),
    } | {name: _color(rng) for name in ("wall_accent", "glass")}


def _ground(rng: np.random.Generator) -> dict[str, object]:
    return {
        "road_tint": _tint(rng),
        "paving_tint": _tint(rng),
        "markings": (_color(rng, dimmest=0.6), _color(rng, dimmest=0.6)),
    }


def _greenery(rng: np.random.Generator) -> dict[str, object]:
    return {"bark": _color(rng), "garden_walls": _paints(rng), "fences": _paints(rng)}


def _paints(rng: np.random.Generator) -> Paints:
    return tuple(_color(rng) for _ in range(int(rng.integers(2, _MOST_PAINTS + 1))))


def _detail(rng: np.random.Generator, share: float = 0.4) -> Color | None:
    """The color of something that a share of the places has."""
    return _color(rng) if rng.random() < share else None


def _color(rng: np.random.Generator, dimmest: float = 0.1) -> Color:
    """Any hue; pale colors are as common as strong ones."""
    hue, saturation, value = rng.uniform((0.0, 0.0, dimmest), (1.0, 1.0, 0.95)).tolist()
    return colorsys.hsv_to_rgb(hue, saturation, value)


def _tint(rng: np.random.Generator) -> Color:
    red, green, blue = rng.uniform(0.75, 1.1, 3).tolist()
    return (red, green, blue)
