"""A target that asks more: a town of its own style, at several hours and in several weathers.

What it is made of differs from the source class by class (`TOWN_STYLE`), so that a photograph shows only what
stands in it; hour, cast and contrast differ from scene to scene, and color jitter does not reach them.
`tests/benchmarks/target_gate.py` measures what that asks of a training. It is the demo's target.
"""

import dataclasses

from datum.streetscenes.drawing.domain import SOURCE_DOMAIN, Domain
from datum.streetscenes.drawing.streams import Stream
from datum.streetscenes.drawing.style import Style

TOWN_STYLE = Style(
    car_paints=(
        (0.9, 0.55, 0.1), (0.15, 0.5, 0.5), (0.85, 0.78, 0.55), (0.55, 0.7, 0.25), (0.75, 0.45, 0.5),
        (0.4, 0.2, 0.4),
    ),
    car_roof=(0.9, 0.88, 0.8), car_band=(0.08, 0.08, 0.09),
    bus_paints=((0.3, 0.6, 0.55), (0.45, 0.25, 0.5), (0.8, 0.72, 0.5)),
    bus_stripes=((0.95, 0.5, 0.15), (0.1, 0.3, 0.25)),
    tram_paints=((0.2, 0.5, 0.6), (0.9, 0.6, 0.3), (0.6, 0.7, 0.45)),
    tram_skirts=((0.45, 0.2, 0.3), (0.95, 0.9, 0.7)),
    cab_paints=((0.35, 0.5, 0.2), (0.6, 0.35, 0.5), (0.75, 0.7, 0.5)),
    tarpaulin=((0.85, 0.8, 0.65), (0.25, 0.4, 0.45)),
    dark_clothes=False, clothes_hues=(0.03, 0.2), clothes_brightness=(0.6, 0.95),
    clothes_band=(0.9, 0.92, 0.9),
    legwear=((0.6, 0.58, 0.5), (0.35, 0.25, 0.2), (0.45, 0.45, 0.3)),
    sign_rim=(0.1, 0.1, 0.12), sign_face=(0.95, 0.78, 0.15), sign_plate=(0.1, 0.45, 0.3),
    sign_priority=(0.9, 0.45, 0.1),
    steel=(0.16, 0.3, 0.24), pole_band=(0.85, 0.83, 0.75), lamplight=(0.75, 0.9, 1.0),
    light_housing=(0.75, 0.6, 0.12),
    wall_pattern="courses", wall_accent=(0.5, 0.24, 0.17), glass=(0.38, 0.46, 0.5),
    shutters=((0.2, 0.42, 0.35), (0.25, 0.35, 0.55), (0.55, 0.2, 0.18)),
    roofs=((0.35, 0.5, 0.45), (0.2, 0.24, 0.35)),
    road_tint=(1.06, 0.96, 0.9), paving_tint=(0.98, 0.74, 0.62),
    markings=((0.88, 0.7, 0.22), (0.85, 0.85, 0.82)),
    bark=(0.72, 0.7, 0.66),
    garden_walls=((0.75, 0.72, 0.66), (0.7, 0.62, 0.42)),
    fences=((0.85, 0.85, 0.82), (0.3, 0.5, 0.6)),
)  # fmt: skip
"""Brick and shutters, two-colored cars, yellow signs, rain clothes; nothing as in the source."""

_NOON = dataclasses.replace(
    SOURCE_DOMAIN, style=TOWN_STYLE, sun_azimuth=215.0, facade_hue=40.0, facade_hue_spread=16.0,
    facade_saturation=0.22, facade_brightness=0.66, foliage_hue=34.0, foliage_saturation=0.6,
    asphalt_brightness=0.36, cloud_cover=0.15, texture=0.6, saturation=1.0, exposure=0.9, contrast=0.7,
    color_cast=(0.78, 1.07, 0.78), blur=0.35, noise=2.5, vignette=0.2,
)  # fmt: skip
_OVERCAST = dataclasses.replace(
    _NOON, sun_strength=0.05, ambient_strength=0.85, shadow_depth=0.0, cloud_cover=0.0,
    sky_top=(0.84, 0.86, 0.88), sky_horizon=(0.93, 0.93, 0.92), haze_color=(0.85, 0.86, 0.86),
    visibility=220.0, saturation=0.9, exposure=1.05, contrast=0.5, color_cast=(0.94, 1.0, 1.06),
)  # fmt: skip
_EVENING = dataclasses.replace(
    _NOON, sun_azimuth=250.0, sun_elevation=14.0, sun_color=(1.0, 0.75, 0.5), sun_strength=0.35,
    ambient_color=(0.98, 0.94, 1.0), ambient_strength=0.58, shadow_depth=0.15, sky_top=(0.55, 0.66, 0.85),
    sky_horizon=(0.97, 0.9, 0.75), cloud_color=(0.96, 0.9, 0.82), cloud_cover=0.2,
    haze_color=(0.8, 0.74, 0.66), visibility=220.0, lit_windows=0.1, lamps=0.3, saturation=0.6, exposure=1.0,
    contrast=0.75, color_cast=(1.12, 0.96, 0.66),
)  # fmt: skip
_DUSK = dataclasses.replace(
    _NOON, sun_strength=0.15, ambient_color=(0.9, 0.95, 1.0), ambient_strength=0.7, shadow_depth=0.0,
    cloud_cover=0.0, sky_top=(0.45, 0.58, 0.85), sky_horizon=(0.8, 0.84, 0.9), visibility=250.0,
    lit_windows=0.15, lamps=0.3, exposure=0.58, contrast=0.9, color_cast=(0.74, 0.9, 1.2),
)  # fmt: skip
TOWN_HOURS = (_NOON, _OVERCAST, _EVENING, _DUSK)
"""All equally likely."""

_HOUR = 5  # purpose of a random stream, beside those of a scene


def town_domain(seed: int) -> Domain:
    """The hour and weather that the scene of `seed` is seen at."""
    return Stream.from_seed(seed, _HOUR).choice(TOWN_HOURS)
