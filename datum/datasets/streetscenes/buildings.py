"""Houses: façades in perspective with windows, doors, shops, cornices and roofs."""

from __future__ import annotations

import colorsys

import numpy as np
import numpy.typing as npt

from datum.datasets.streetscenes.camera import Pixel
from datum.datasets.streetscenes.canvas import TOWARDS_CAMERA, TOWARDS_LEFT, TOWARDS_RIGHT, UP, Canvas, Normal
from datum.datasets.streetscenes.domain import Color
from datum.datasets.streetscenes.elements import Building
from datum.datasets.streetscenes.streams import Stream

_GROUND_FLOOR = 3.6
_STOREY = 3.0


class Facade:
    """A vertical plane: `along` runs over its length in metres, `up` over its height."""

    def __init__(self, canvas: Canvas, start: tuple[float, float], stop: tuple[float, float], normal: Normal):
        self.canvas = canvas
        self.start, self.stop = start, stop
        self.length = abs(stop[0] - start[0]) + abs(stop[1] - start[1])
        self.light = canvas.light(normal)
        self.depth = max(1.0, 0.5 * (start[1] + stop[1]))

    def at(self, along: float, up: float) -> Pixel:
        """Pixel of a point of the plane, metres."""
        share = along / self.length
        x = self.start[0] + share * (self.stop[0] - self.start[0])
        z = self.start[1] + share * (self.stop[1] - self.start[1])
        return self.canvas.camera.project(x, up, z)

    def pixels_per_metre(self) -> float:
        """At the middle of the plane."""
        return self.canvas.camera.scale(self.depth)

    def box(self, left: float, right: float, low: float, high: float, albedo: Color, label: str | None = None):
        """Fill a rectangle of the plane."""
        corners = (self.at(left, low), self.at(left, high), self.at(right, high), self.at(right, low))
        self.canvas.polygon(corners, self.canvas.paint(albedo, self.light, self.depth), label)

    def boxes(self, rectangles: npt.NDArray[np.float64], albedo: Color, light: Color | None = None) -> None:
        """Fill rectangles (count x 4: left, right, low, high) that do not overlap."""
        if not len(rectangles):
            return
        camera = self.canvas.camera
        along = rectangles[:, [0, 0, 1, 1]] / self.length
        up = rectangles[:, [2, 3, 3, 2]]
        x = self.start[0] + along * (self.stop[0] - self.start[0])
        z = np.maximum(self.start[1] + along * (self.stop[1] - self.start[1]), 0.9)
        scale = camera.focal / z
        u = camera.center + (x + camera.bend * z * z) * scale
        v = camera.horizon + (camera.eye - up) * scale
        self.canvas.polygons(
            np.stack((u, v), axis=2), self.canvas.paint(albedo, light or self.light, self.depth)
        )


def paint_building(canvas: Canvas, house: Building, looks: Stream) -> None:
    """Paint one house: the face along the street and the one towards the camera."""
    wall = _wall_color(canvas, looks)
    if house.side == 0:
        facade = Facade(
            canvas, (house.x, house.near), (house.x + house.breadth, house.near), TOWARDS_CAMERA
        )
        _paint_face(facade, house, wall, looks, detailed=True)
        return
    back = house.x + house.side * house.breadth
    normal = TOWARDS_LEFT if house.side > 0 else TOWARDS_RIGHT
    front = Facade(canvas, (house.x, house.near), (back, house.near), TOWARDS_CAMERA)
    along = Facade(canvas, (house.x, house.near), (house.x, house.far), normal)
    if house.near > 1.5:
        _paint_face(front, house, wall, looks, detailed=house.near > 4.0)
    _paint_face(along, house, wall, looks, detailed=True)


def _wall_color(canvas: Canvas, looks: Stream) -> Color:
    domain = canvas.domain
    swing = looks.unit() + looks.unit() + looks.unit() - 1.5
    hue = (domain.facade_hue + 2.0 * swing * domain.facade_hue_spread) % 360.0
    saturation = min(0.9, domain.facade_saturation * looks.uniform(0.2, 1.8))
    brightness = max(0.12, min(0.95, domain.facade_brightness * looks.uniform(0.7, 1.3)))
    return colorsys.hsv_to_rgb(hue / 360.0, saturation, brightness)


def _times(color: Color, factor: float) -> Color:
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def _paint_face(facade: Facade, house: Building, wall: Color, looks: Stream, detailed: bool) -> None:
    length, height = facade.length, house.height
    if house.roof == "pitched":
        _paint_roof(facade, height, looks)
    facade.box(0.0, length, 0.0, height, wall, "building")
    if not detailed or facade.pixels_per_metre() * _STOREY < 2.5:
        return
    facade.box(0.0, length, height - 0.45, height, _times(wall, 1.25))
    facade.box(0.0, length, height - 0.62, height - 0.45, _times(wall, 0.6))
    _paint_windows(facade, house, wall, looks)
    if house.shop:
        _paint_shop(facade, looks)
    else:
        _paint_ground_floor(facade, wall, looks)


def _paint_roof(facade: Facade, height: float, looks: Stream) -> None:
    tiles = looks.choice(((0.42, 0.22, 0.16), (0.3, 0.3, 0.33), (0.36, 0.26, 0.22), (0.25, 0.25, 0.28)))
    length, rise, inset = facade.length, 2.2, min(1.2, 0.2 * facade.length)
    corners = (
        facade.at(-0.2, height),
        facade.at(inset, height + rise),
        facade.at(length - inset, height + rise),
        facade.at(length + 0.2, height),
    )
    canvas = facade.canvas
    light = tuple((a + b) / 2 for a, b in zip(facade.light, canvas.light(UP), strict=True))
    canvas.polygon(corners, canvas.paint(tiles, light, facade.depth), "building")  # type: ignore[arg-type]
    if looks.chance(0.6):
        at = looks.uniform(0.25, 0.75) * length
        facade.box(at, at + 0.8, height + 1.0, height + rise + 1.0, _times(tiles, 1.15), "building")


def _paint_windows(facade: Facade, house: Building, wall: Color, looks: Stream) -> None:
    length = facade.length
    pitch = looks.uniform(2.0, 3.2)
    columns = max(1, int((length - 0.6) / pitch))
    wide = pitch * looks.uniform(0.42, 0.62)
    tall = looks.uniform(1.35, 1.9)
    margin = (length - columns * pitch) / 2 + (pitch - wide) / 2
    left = np.repeat(margin + pitch * np.arange(columns), house.storeys - 1)
    low = np.tile(_GROUND_FLOOR + 0.75 + _STOREY * np.arange(house.storeys - 1), columns)
    keep = low + tall < house.height - 0.5
    left, low = left[keep], low[keep]
    panes = np.stack((left, left + wide, low, low + tall), axis=1)
    if facade.pixels_per_metre() > 4.0:
        frame = np.array((-0.14, 0.14, -0.16, 0.16))
        bright = _times(wall, 1.3) if looks.chance(0.7) else (0.8, 0.8, 0.78)
        facade.boxes(panes + frame, bright)
    _paint_glass(facade, panes, looks)


def _paint_glass(facade: Facade, panes: npt.NDArray[np.float64], looks: Stream) -> None:
    """Dark panes that mirror the sky in their upper part; some have light behind them."""
    domain = facade.canvas.domain
    dice = np.array([looks.unit() for _ in range(len(panes))])
    lit = dice < domain.lit_windows
    facade.boxes(panes[~lit], (0.16, 0.19, 0.23))
    if lit.any():
        facade.boxes(panes[lit], (1.0, 0.8, 0.45), (0.95, 0.95, 0.95))
    if facade.pixels_per_metre() > 5.0:
        mirror = panes[~lit].copy()
        mirror[:, 2] = mirror[:, 3] - 0.4 * (mirror[:, 3] - mirror[:, 2])
        mirror[:, 1] = mirror[:, 0] + 0.8 * (mirror[:, 1] - mirror[:, 0])
        sky = domain.sky_horizon
        facade.boxes(mirror, (0.42 * sky[0], 0.42 * sky[1], 0.42 * sky[2]), (1.0, 1.0, 1.0))


def _paint_shop(facade: Facade, looks: Stream) -> None:
    """Shop windows under a coloured sign, sometimes with an awning."""
    domain, length = facade.canvas.domain, facade.length
    color = colorsys.hsv_to_rgb(looks.unit(), looks.uniform(0.4, 0.85), looks.uniform(0.35, 0.75))
    facade.box(0.15, length - 0.15, 2.75, 3.5, color)
    if facade.pixels_per_metre() > 6.0:
        letters = looks.integer(3, 7)
        start = looks.uniform(0.2, 0.4) * length
        size = min(0.5, 0.5 * length / letters)
        boxes = [[start + size * i, start + size * (i + 0.6), 2.95, 3.3] for i in range(letters)]
        facade.boxes(np.array(boxes), (0.92, 0.9, 0.82))
    panes = max(1, int(length / 2.6))
    step = (length - 0.4) / panes
    boxes = [[0.3 + step * i, 0.3 + step * (i + 0.88), 0.45, 2.65] for i in range(panes)]
    lit = domain.lamps > 0.3
    facade.boxes(
        np.array(boxes), (0.9, 0.78, 0.55) if lit else (0.2, 0.22, 0.24), (0.85,) * 3 if lit else None
    )
    goods = [[b[0] + 0.2, b[1] - step * 0.3, 0.5, 1.3] for b in boxes]
    facade.boxes(np.array(goods), colorsys.hsv_to_rgb(looks.unit(), 0.35, 0.5))
    door = step * looks.integer(0, panes - 1) + 0.5
    facade.box(door, door + min(1.0, step * 0.6), 0.0, 2.3, (0.22, 0.18, 0.15))


def _paint_ground_floor(facade: Facade, wall: Color, looks: Stream) -> None:
    """A base course, a door and windows beside it."""
    length = facade.length
    facade.box(0.0, length, 0.0, 0.6, _times(wall, 0.72))
    facade.box(0.0, length, _GROUND_FLOOR - 0.1, _GROUND_FLOOR + 0.1, _times(wall, 1.2))
    columns = max(1, int(length / 2.8))
    step = length / columns
    door = looks.integer(0, columns - 1)
    panes = [
        [step * (i + 0.25), step * (i + 0.75), 1.0, 2.6] for i in range(columns) if i != door
    ]
    if panes:
        _paint_glass(facade, np.array(panes), looks)
    color = colorsys.hsv_to_rgb(looks.unit(), looks.uniform(0.2, 0.7), looks.uniform(0.2, 0.5))
    facade.box(step * (door + 0.28), step * (door + 0.28) + 1.1, 0.0, 2.3, color)
