"""How the things of a place are made: paints, clothes, signs, materials, independent of light and camera."""

import dataclasses
from typing import Literal

from datum.streetscenes.drawing.colors import Color

Paints = tuple[Color, ...]
"""Colors, all equally likely."""

_RED, _WHITE, _BLUE, _YELLOW = (0.82, 0.08, 0.1), (0.95, 0.95, 0.95), (0.1, 0.28, 0.75), (0.95, 0.75, 0.1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Style:
    """What a class of things looks like in a place. It changes no outline, so no label; the defaults are
    the source's. A color of `None` leaves a detail out."""

    car_paints: Paints = (
        (0.85, 0.85, 0.84), (0.62, 0.64, 0.66), (0.34, 0.35, 0.37), (0.1, 0.1, 0.11), (0.1, 0.18, 0.42),
        (0.6, 0.08, 0.08), (0.12, 0.3, 0.2), (0.75, 0.6, 0.15), (0.2, 0.4, 0.62), (0.45, 0.34, 0.24),
    )  # fmt: skip
    car_roof: Color | None = None
    """Roof in a color of its own."""
    car_band: Color | None = None
    """Checkered band along a car's side, and bar across its rear."""
    bus_paints: Paints = (
        (0.75, 0.12, 0.1), (0.85, 0.7, 0.2), (0.85, 0.85, 0.83), (0.15, 0.35, 0.6), (0.2, 0.5, 0.35),
    )  # fmt: skip
    bus_stripes: Paints = ((0.85, 0.85, 0.83), (0.2, 0.25, 0.4), (0.9, 0.75, 0.2))
    tram_paints: Paints = (
        (0.8, 0.1, 0.1), (0.92, 0.76, 0.15), (0.9, 0.88, 0.8), (0.1, 0.42, 0.3), (0.2, 0.35, 0.65),
    )  # fmt: skip
    tram_skirts: Paints = ((0.9, 0.88, 0.8), (0.25, 0.26, 0.28), (0.6, 0.1, 0.1))
    """Sides of trams below the windows."""
    cab_paints: Paints = (
        (0.85, 0.85, 0.84), (0.65, 0.1, 0.08), (0.12, 0.25, 0.5), (0.8, 0.55, 0.12), (0.2, 0.4, 0.3),
    )  # fmt: skip
    tarpaulin: tuple[Color, Color] | None = None
    """Upright stripes on the cargo of trucks."""
    dark_clothes: bool = True
    """Nearly half of the garments are dark or gray."""
    clothes_hues: tuple[float, float] = (0.0, 1.0)
    """Hues of the other garments, from and to, turns of the color wheel."""
    clothes_brightness: tuple[float, float] = (0.3, 0.85)
    """Their brightness, from and to."""
    clothes_band: Color | None = None
    """Reflecting band around the trunk."""
    legwear: Paints = ((0.16, 0.22, 0.38), (0.1, 0.1, 0.11), (0.3, 0.3, 0.32), (0.5, 0.43, 0.32))
    sign_rim: Color = _RED
    """Prohibition, warning and stop."""
    sign_face: Color = _WHITE
    sign_plate: Color = _BLUE
    """Information."""
    sign_priority: Color = _YELLOW
    steel: Color = (0.36, 0.38, 0.39)
    """Poles; those of signs are paler, those of traffic lights darker."""
    pole_band: Color | None = None
    """Rings around poles."""
    lamplight: Color = (1.0, 0.8, 0.5)
    """Halos of street lamps."""
    light_housing: Color = (0.1, 0.105, 0.1)
    """Boxes of traffic lights."""
    wall_pattern: Literal["plain", "courses", "timber"] = "plain"
    """Façades: plaster, bands of brick, or beams."""
    wall_accent: Color = (0.3, 0.2, 0.15)
    """Color of the bands or beams."""
    glass: Color = (0.16, 0.19, 0.23)
    """Window panes by day."""
    shutters: Paints = ()
    """Shutters beside upper windows; none where empty."""
    roofs: Paints = ((0.42, 0.22, 0.16), (0.3, 0.3, 0.33), (0.36, 0.26, 0.22), (0.25, 0.25, 0.28))
    road_tint: Color = (1.0, 1.0, 1.0)
    """Factor on the color of the asphalt."""
    paving_tint: Color = (1.03, 1.0, 0.94)
    """Factor on the gray of sidewalks."""
    markings: tuple[Color, Color] = ((0.82, 0.82, 0.78), (0.85, 0.68, 0.2))
    """Lines: the common color, and that of some center lines."""
    bark: Color = (0.3, 0.23, 0.17)
    garden_walls: Paints = ((0.5, 0.36, 0.28), (0.52, 0.5, 0.47), (0.6, 0.55, 0.46))
    fences: Paints = ((0.3, 0.33, 0.32), (0.44, 0.34, 0.24), (0.62, 0.62, 0.6), (0.2, 0.28, 0.22))


SOURCE_STYLE = Style()
"""That of the source."""
