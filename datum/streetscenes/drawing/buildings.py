"""Houses: façades in perspective with windows, doors, shops, cornices and roofs."""

import colorsys

import numpy as np
import numpy.typing as npt

from datum.streetscenes.drawing.canvas import TOWARD_CAMERA, TOWARD_LEFT, TOWARD_RIGHT, UP, Canvas
from datum.streetscenes.drawing.colors import Color, scaled
from datum.streetscenes.drawing.elements import STORY, Building
from datum.streetscenes.drawing.facade import Facade, Panels
from datum.streetscenes.drawing.streams import Stream

_GROUND_FLOOR = 3.6
_FRAME = np.array((-0.14, 0.14, -0.16, 0.16))
_WINGS = np.array((-1.0, 1.0, 0.0, 0.0))
_UPPER_PART = np.array(
    ((1.0, 0.2, 0.0, 0.0), (0.0, 0.8, 0.0, 0.0), (0.0, 0.0, 0.4, 0.0), (0.0, 0.0, 0.6, 1.0))
)
# Takes (left, right, low, high) of a pane to the part of it that mirrors the sky.


def paint_building(canvas: Canvas, house: Building, looks: Stream) -> None:
    """Paint one house: the face toward the camera and the one along the street."""
    wall = _wall_color(canvas, looks)
    corner = (house.x, house.near)
    if house.side == 0:
        across = Facade(canvas, corner, (house.x + house.breadth, house.near), TOWARD_CAMERA)
        _paint_face(across, house, wall, looks)
        return
    column, _ = canvas.camera.project(house.x, 0.0, house.near)
    if 0.0 < column < canvas.camera.width:
        back = (house.x + house.side * house.breadth, house.near)
        front = Facade(canvas, corner, back, TOWARD_CAMERA)
        _paint_face(front, house, wall, looks, details=house.exposed)
    along = Facade(canvas, corner, (house.x, house.far), TOWARD_LEFT if house.side > 0 else TOWARD_RIGHT)
    _paint_face(along, house, wall, looks)


def _wall_color(canvas: Canvas, looks: Stream) -> Color:
    domain = canvas.domain
    swing = looks.unit() + looks.unit() + looks.unit() - 1.5
    hue = (domain.facade_hue + 2.0 * swing * domain.facade_hue_spread) % 360.0
    saturation = min(0.9, domain.facade_saturation * looks.uniform(0.2, 1.8))
    brightness = max(0.12, min(0.95, domain.facade_brightness * looks.uniform(0.7, 1.3)))
    return colorsys.hsv_to_rgb(hue / 360.0, saturation, brightness)


def _paint_face(facade: Facade, house: Building, wall: Color, looks: Stream, details: bool = True) -> None:
    """Roof and wall, with cornice, windows, doors and shops: as much as the distance lets one see."""
    length, height = facade.length, house.height
    if house.pitched:
        _paint_roof(facade, height, looks)
    facade.box(0.0, length, 0.0, height, wall, "building")
    if not details or facade.pixels_per_meter * STORY < 5.0:
        return
    layers = _wall_pattern(facade, house) + _upper_windows(facade, house, wall, looks)
    if facade.pixels_per_meter > 4.0:
        layers.append(Panels([(0.0, length, height - 0.45, height)], scaled(wall, 1.25)))
        layers.append(Panels([(0.0, length, height - 0.62, height - 0.45)], scaled(wall, 0.6)))
    layers += _shop(facade, looks) if house.shop else _ground_floor(facade, wall, looks)
    facade.fill(layers)


def _paint_roof(facade: Facade, height: float, looks: Stream) -> None:
    tiles = looks.choice(facade.canvas.domain.style.roofs)
    length, rise, inset = facade.length, 2.2, min(1.2, 0.2 * facade.length)
    outline = (
        (-0.2, height), (inset, height + rise), (length - inset, height + rise), (length + 0.2, height)
    )  # fmt: skip
    canvas = facade.canvas
    wall, sky = facade.light, canvas.light(UP)
    light = ((wall[0] + sky[0]) / 2, (wall[1] + sky[1]) / 2, (wall[2] + sky[2]) / 2)
    corners = [facade.at(*point) for point in outline]
    canvas.polygon(corners, canvas.paint(tiles, light, facade.depth), "building")
    if looks.chance(0.6):
        at = looks.uniform(0.25, 0.75) * length
        facade.box(at, at + 0.8, height + 1.0, height + rise + 1.0, scaled(tiles, 1.15), "building")


def _upper_windows(facade: Facade, house: Building, wall: Color, looks: Stream) -> list[Panels]:
    """Rows of windows from the first floor up."""
    pitch = looks.uniform(2.0, 3.2)
    columns = max(1, int((facade.length - 0.6) / pitch))
    wide, tall = pitch * looks.uniform(0.42, 0.62), looks.uniform(1.35, 1.9)
    bright = scaled(wall, 1.3) if looks.chance(0.7) else (0.8, 0.8, 0.78)
    if house.stories == 1:
        return []
    first = (facade.length - columns * pitch) / 2 + (pitch - wide) / 2
    rows = [_GROUND_FLOOR + 0.75 + STORY * i for i in range(house.stories - 1)]
    places = [first + pitch * i for i in range(columns)]
    panes = np.array([(at, at + wide, low, low + tall) for at in places for low in rows])
    frames = [Panels(panes + _FRAME, bright)] if facade.pixels_per_meter > 5.0 else []
    return frames + _shutters(facade, panes) + _glass(facade, panes, looks)


def _wall_pattern(facade: Facade, house: Building) -> list[Panels]:
    """Bands of brick, or a timber frame, where the place builds so."""
    style = facade.canvas.domain.style
    length, height = facade.length, house.height
    if style.wall_pattern == "plain":
        return []
    if style.wall_pattern == "courses":
        bands = [(0.0, length, up, up + 0.4) for up in np.arange(0.2, height - 0.6, 0.8)]
    else:
        bands = [(0.0, length, up - 0.15, up + 0.15) for up in np.arange(_GROUND_FLOOR, height, STORY)]
        bands += [(at - 0.12, at + 0.12, 0.0, height) for at in np.arange(0.2, length, 1.6)]
    return [Panels(bands, style.wall_accent)]


def _shutters(facade: Facade, panes: npt.NDArray[np.float64]) -> list[Panels]:
    """Wings on either side of each window, which is painted over them; a house has them in one color."""
    paints = facade.canvas.domain.style.shutters
    if not paints:
        return []
    wing = 0.3 * (panes[:, 1:2] - panes[:, :1])
    return [Panels(panes + wing * _WINGS, paints[int(facade.start[1]) % len(paints)])]


def _glass(facade: Facade, panes: npt.NDArray[np.float64], looks: Stream) -> list[Panels]:
    """Dark panes that mirror the sky in their upper part; some have light behind them."""
    domain = facade.canvas.domain
    dice = looks.units(len(panes))
    dark, layers = panes, []
    if domain.lit_windows > 0.0:
        lit = np.array(dice) < domain.lit_windows
        dark = panes[~lit]
        layers.append(Panels(panes[lit], (1.0, 0.8, 0.45), (0.95, 0.95, 0.95)))
    layers.append(Panels(dark, domain.style.glass))
    if facade.pixels_per_meter > 6.0:
        layers.append(Panels(dark @ _UPPER_PART, scaled(domain.sky_horizon, 0.42), (1.0, 1.0, 1.0)))
    return layers


def _shop(facade: Facade, looks: Stream) -> list[Panels]:
    """Shop windows under a colored sign with lettering, and a door."""
    lit, length = facade.canvas.domain.lamps > 0.3, facade.length
    color = colorsys.hsv_to_rgb(looks.unit(), looks.uniform(0.3, 0.75), looks.uniform(0.3, 0.7))
    letters, start = looks.integer(3, 7), looks.uniform(0.2, 0.4) * length
    goods_color = colorsys.hsv_to_rgb(looks.unit(), 0.35, 0.5)
    panes = max(1, int(length / 2.6))
    step = (length - 0.4) / panes
    door = step * looks.integer(0, panes - 1) + 0.5
    windows = [(0.3 + step * i, 0.3 + step * (i + 0.88), 0.45, 2.65) for i in range(panes)]
    layers = [
        Panels([(0.15, length - 0.15, 2.75, 3.5)], color),
        Panels(windows, (0.9, 0.78, 0.55), (0.85, 0.85, 0.85)) if lit else Panels(windows, (0.2, 0.22, 0.24)),
    ]
    if facade.pixels_per_meter > 6.0:
        size = min(0.5, 0.5 * length / letters)
        text = [(start + size * i, start + size * (i + 0.6), 2.95, 3.3) for i in range(letters)]
        goods = [(left + 0.2, right - step * 0.3, 0.5, 1.3) for left, right, _, _ in windows]
        layers += [
            Panels(text, (0.92, 0.9, 0.82)),
            Panels(goods, goods_color),
            Panels([(door, door + min(1.0, step * 0.6), 0.0, 2.3)], (0.22, 0.18, 0.15)),
        ]
    return layers


def _ground_floor(facade: Facade, wall: Color, looks: Stream) -> list[Panels]:
    """A base course, a door and windows beside it."""
    length = facade.length
    columns = max(1, int(length / 2.8))
    step = length / columns
    door = looks.integer(0, columns - 1)
    color = colorsys.hsv_to_rgb(looks.unit(), looks.uniform(0.2, 0.7), looks.uniform(0.2, 0.5))
    layers = []
    if facade.pixels_per_meter > 4.0:
        ledge = (0.0, length, _GROUND_FLOOR - 0.1, _GROUND_FLOOR + 0.1)
        layers = [Panels([(0.0, length, 0.0, 0.6)], scaled(wall, 0.72)), Panels([ledge], scaled(wall, 1.2))]
    panes = [(step * (i + 0.25), step * (i + 0.75), 1.0, 2.6) for i in range(columns) if i != door]
    if panes:
        layers += _glass(facade, np.array(panes), looks)
    return [*layers, Panels([(step * (door + 0.28), step * (door + 0.28) + 1.1, 0.0, 2.3)], color)]
