"""How a street looks: light, air, palette, texture and camera, all of it independent of what stands where."""

import dataclasses
import math

from datum.streetscenes.drawing.colors import Color
from datum.streetscenes.drawing.style import SOURCE_STYLE, Style


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """The appearance of a set of scenes. It never moves an object: labels depend on the seed alone."""

    sun_azimuth: float
    """Degrees from straight ahead, clockwise: 90 is a sun on the right, 180 one behind the camera."""
    sun_elevation: float
    """Degrees above the horizon, 5 to 85."""
    sun_color: Color
    """RGB, 0 to 1."""
    sun_strength: float
    """Light of the sun on a surface that faces it, 0 (night, overcast) to 1.2."""
    ambient_color: Color
    """RGB, 0 to 1: the light of the sky."""
    ambient_strength: float
    """Light that reaches every surface, 0.1 (night) to 0.9 (overcast noon)."""
    shadow_depth: float
    """How much the sun's shadow darkens the road, 0 (none) to 0.7."""
    sky_top: Color
    """RGB of the sky at the top of the picture, 0 to 1."""
    sky_horizon: Color
    """RGB of the sky at the horizon, 0 to 1."""
    cloud_cover: float
    """Share of the sky with clouds, 0 to 1."""
    cloud_color: Color
    """RGB of a cloud, 0 to 1."""
    haze_color: Color
    """RGB that distance fades to, 0 to 1."""
    visibility: float
    """Meters after which 63 % of the contrast is gone: 25 (thick fog) to 1000 (clear)."""
    facade_hue: float
    """Mean hue of façades, degrees on the color wheel, 0 to 360."""
    facade_hue_spread: float
    """Standard deviation of the façades' hue, degrees, 0 to 120."""
    facade_saturation: float
    """Mean saturation of façades, 0 to 0.6."""
    facade_brightness: float
    """Mean albedo of façades, 0.2 to 0.9."""
    foliage_hue: float
    """Hue of leaves and grass, degrees: 30 (autumn) to 130 (lush)."""
    foliage_saturation: float
    """Saturation of leaves and grass, 0 to 0.8."""
    asphalt_brightness: float
    """Albedo of the road, 0.12 (wet) to 0.5 (bleached)."""
    asphalt_warmth: float
    """Red minus blue of the road's albedo, -0.08 (bluish) to 0.08 (brownish)."""
    saturation: float
    """Factor on the colorfulness of everything, 0 (gray) to 1.4."""
    texture: float
    """Strength of surface texture (asphalt grain, brick, leaves), 0 (flat, rendered) to 1."""
    lit_windows: float
    """Share of windows with light behind them, 0 to 0.6."""
    lamps: float
    """Brightness of headlights, street lamps and their halos, 0 (day) to 1 (night)."""
    exposure: float
    """Factor on the picture's brightness, 0.5 to 1.6."""
    contrast: float
    """Contrast around mid-gray, 0.6 to 1.4."""
    gamma: float
    """Exponent of the tone curve, 0.7 (lifted shadows) to 1.4 (sunken)."""
    color_cast: Color
    """Factor on red, green and blue of the finished picture, 0.7 to 1.2."""
    blur: float
    """Standard deviation of the lens blur, as a share of 1/128 of the picture's height, 0 to 1."""
    noise: float
    """Standard deviation of the sensor noise, 8-bit levels, 0 to 16."""
    vignette: float
    """Darkening of the corners, 0 to 0.6."""
    style: Style = SOURCE_STYLE
    """What the things of the place are made of."""

    @property
    def lamps_on(self) -> bool:
        """Whether it is dark enough for lamps."""
        return self.lamps > 0.2

    def sun_direction(self) -> Color:
        """Unit vector toward the sun in x (right), y (up), z (ahead)."""
        azimuth, elevation = math.radians(self.sun_azimuth), math.radians(self.sun_elevation)
        flat = math.cos(elevation)
        return (math.sin(azimuth) * flat, math.sin(elevation), math.cos(azimuth) * flat)


SOURCE_DOMAIN = Domain(
    sun_azimuth=130.0,
    sun_elevation=48.0,
    sun_color=(1.0, 0.95, 0.82),
    sun_strength=0.75,
    ambient_color=(0.9, 0.96, 1.0),
    ambient_strength=0.55,
    shadow_depth=0.42,
    sky_top=(0.28, 0.52, 0.88),
    sky_horizon=(0.78, 0.88, 0.98),
    cloud_cover=0.4,
    cloud_color=(1.0, 1.0, 1.0),
    haze_color=(0.76, 0.84, 0.93),
    visibility=320.0,
    facade_hue=28.0,
    facade_hue_spread=12.0,
    facade_saturation=0.34,
    facade_brightness=0.66,
    foliage_hue=98.0,
    foliage_saturation=0.6,
    asphalt_brightness=0.4,
    asphalt_warmth=0.02,
    saturation=1.15,
    texture=0.45,
    lit_windows=0.0,
    lamps=0.0,
    exposure=1.0,
    contrast=1.08,
    gamma=1.0,
    color_cast=(1.0, 1.0, 1.0),
    blur=0.0,
    noise=0.0,
    vignette=0.0,
)
"""A clean, sunny computer game: plays GTA."""

TARGET_DOMAIN = Domain(
    sun_azimuth=250.0,
    sun_elevation=14.0,
    sun_color=(1.0, 0.72, 0.5),
    sun_strength=0.22,
    ambient_color=(0.86, 0.92, 1.0),
    ambient_strength=0.62,
    shadow_depth=0.12,
    sky_top=(0.48, 0.52, 0.58),
    sky_horizon=(0.86, 0.78, 0.68),
    cloud_cover=0.75,
    cloud_color=(0.66, 0.65, 0.68),
    haze_color=(0.62, 0.6, 0.58),
    visibility=105.0,
    facade_hue=18.0,
    facade_hue_spread=20.0,
    facade_saturation=0.2,
    facade_brightness=0.5,
    foliage_hue=72.0,
    foliage_saturation=0.32,
    asphalt_brightness=0.31,
    asphalt_warmth=-0.02,
    saturation=0.8,
    texture=0.9,
    lit_windows=0.12,
    lamps=0.45,
    exposure=1.3,
    contrast=0.95,
    gamma=0.95,
    color_cast=(0.94, 1.02, 0.95),
    blur=0.5,
    noise=5.0,
    vignette=0.3,
)
"""A camera behind a windshield on a hazy evening: plays Cityscapes."""
