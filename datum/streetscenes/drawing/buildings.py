"""Houses: façades in perspective with windows, doors, shops, cornices and roofs."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datum.streetscenes.drawing.camera import Pixel
from datum.streetscenes.drawing.canvas import TOWARDS_CAMERA, TOWARDS_LEFT, TOWARDS_RIGHT, UP, Canvas, Normal
from datum.streetscenes.drawing.domain import Color
from datum.streetscenes.drawing.elements import Building
from datum.streetscenes.drawing.streams import Stream

_GROUND_FLOOR = 3.6
_STOREY = 3.0


_FRAME = np.array((-0.14, 0.14, -0.16, 0.16))
# Takes (left, right, low, high) of a pane to the part of it that mirrors the sky.
_UPPER_PART = np.array(
    ((1.0, 0.2, 0.0, 0.0), (0.0, 0.8, 0.0, 0.0), (0.0, 0.0, 0.4, 0.0), (0.0, 0.0, 0.6, 1.0))
)
_LEFT_LEFT_RIGHT_RIGHT = np.array((0, 0, 1, 1))
_LOW_HIGH_HIGH_LOW = np.array((2, 3, 3, 2))


class Batch(NamedTuple):
    """Rectangles of one colour on a façade."""

    rectangles: npt.NDArray[np.float64]
    """Count x 4: left, right, low, high, in metres; they must not overlap."""
    albedo: Color
    light: Color | None = None
    """In place of the light that falls on the façade."""


class Facade:
    """A vertical plane: `along` runs over its length in metres, `up` over its height."""

    def __init__(
        self, canvas: Canvas, start: tuple[float, float], stop: tuple[float, float], normal: Normal
    ) -> None:
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

    def box(
        self, left: float, right: float, low: float, high: float, albedo: Color, label: str | None = None
    ) -> None:
        """Fill a rectangle of the plane."""
        corners = (self.at(left, low), self.at(left, high), self.at(right, high), self.at(right, low))
        self.canvas.polygon(corners, self.canvas.paint(albedo, self.light, self.depth), label)

    def batches(self, batches: Sequence[Batch]) -> None:
        """Fill batches of rectangles, one batch over the other."""
        rectangles = np.concatenate([batch.rectangles for batch in batches])
        camera, start, stop = self.canvas.camera, self.start, self.stop
        share = rectangles[:, _LEFT_LEFT_RIGHT_RIGHT] / self.length
        x = start[0] + share * (stop[0] - start[0])
        z = start[1] + share * (stop[1] - start[1])
        scale = camera.focal / z
        corners = np.empty((len(rectangles), 4, 2))
        corners[:, :, 0] = camera.center + (x + camera.bend * z * z) * scale
        corners[:, :, 1] = camera.horizon + (camera.eye - rectangles[:, _LOW_HIGH_HIGH_LOW]) * scale
        first = 0
        for batch in batches:
            last = first + len(batch.rectangles)
            if last > first:
                paint = self.canvas.paint(batch.albedo, batch.light or self.light, self.depth)
                self.canvas.polygons(corners[first:last], paint)
            first = last


def paint_building(canvas: Canvas, house: Building, looks: Stream) -> None:
    """Paint one house: the face along the street and the one towards the camera."""
    wall = _wall_color(canvas, looks)
    if house.side == 0:
        facade = Facade(canvas, (house.x, house.near), (house.x + house.breadth, house.near), TOWARDS_CAMERA)
        _paint_face(facade, house, wall, looks)
        return
    back = house.x + house.side * house.breadth
    normal = TOWARDS_LEFT if house.side > 0 else TOWARDS_RIGHT
    column, _ = canvas.camera.project(house.x, 0.0, house.near)
    if 0.0 < column < canvas.camera.width:
        front = Facade(canvas, (house.x, house.near), (back, house.near), TOWARDS_CAMERA)
        _paint_shell(front, house, wall, looks)
        if house.exposed:
            _paint_details(front, house, wall, looks)
    along = Facade(canvas, (house.x, house.near), (house.x, house.far), normal)
    _paint_face(along, house, wall, looks)


def _wall_color(canvas: Canvas, looks: Stream) -> Color:
    domain = canvas.domain
    swing = looks.unit() + looks.unit() + looks.unit() - 1.5
    hue = (domain.facade_hue + 2.0 * swing * domain.facade_hue_spread) % 360.0
    saturation = min(0.9, domain.facade_saturation * looks.uniform(0.2, 1.8))
    brightness = max(0.12, min(0.95, domain.facade_brightness * looks.uniform(0.7, 1.3)))
    return colorsys.hsv_to_rgb(hue / 360.0, saturation, brightness)


def _times(color: Color, factor: float) -> Color:
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def _paint_face(facade: Facade, house: Building, wall: Color, looks: Stream) -> None:
    _paint_shell(facade, house, wall, looks)
    _paint_details(facade, house, wall, looks)


def _paint_shell(facade: Facade, house: Building, wall: Color, looks: Stream) -> None:
    """Bare wall and roof."""
    if house.roof == "pitched":
        _paint_roof(facade, house.height, looks)
    facade.box(0.0, facade.length, 0.0, house.height, wall, "building")


def _paint_details(facade: Facade, house: Building, wall: Color, looks: Stream) -> None:
    """Cornice, windows, doors, shops: as much as the distance lets one see."""
    length, height, size = facade.length, house.height, facade.pixels_per_metre()
    if size * _STOREY < 5.0:
        return
    batches = _upper_windows(facade, house, wall, looks)
    if size > 4.0:
        band, shadow = [(0.0, length, height - 0.45, height)], [(0.0, length, height - 0.62, height - 0.45)]
        batches += [Batch(np.array(band), _times(wall, 1.25)), Batch(np.array(shadow), _times(wall, 0.6))]
    batches += _shop(facade, looks) if house.shop else _ground_floor(facade, wall, looks)
    facade.batches(batches)


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
    wall, sky = facade.light, canvas.light(UP)
    light = ((wall[0] + sky[0]) / 2, (wall[1] + sky[1]) / 2, (wall[2] + sky[2]) / 2)
    canvas.polygon(corners, canvas.paint(tiles, light, facade.depth), "building")
    if looks.chance(0.6):
        at = looks.uniform(0.25, 0.75) * length
        facade.box(at, at + 0.8, height + 1.0, height + rise + 1.0, _times(tiles, 1.15), "building")


def _upper_windows(facade: Facade, house: Building, wall: Color, looks: Stream) -> list[Batch]:
    """Rows of windows from the first floor up."""
    length, floors = facade.length, house.storeys - 1
    pitch = looks.uniform(2.0, 3.2)
    columns = max(1, int((length - 0.6) / pitch))
    wide, tall = pitch * looks.uniform(0.42, 0.62), looks.uniform(1.35, 1.9)
    bright = _times(wall, 1.3) if looks.chance(0.7) else (0.8, 0.8, 0.78)
    first = (length - columns * pitch) / 2 + (pitch - wide) / 2
    if floors == 0:
        return []
    rows = [_GROUND_FLOOR + 0.75 + _STOREY * i for i in range(floors)]
    panes = np.array(
        [
            (at, at + wide, low, low + tall)
            for at in (first + pitch * i for i in range(columns))
            for low in rows
        ]
    )
    batches = [Batch(panes + _FRAME, bright)] if facade.pixels_per_metre() > 5.0 else []
    return batches + _glass(facade, panes, looks)


def _glass(facade: Facade, panes: npt.NDArray[np.float64], looks: Stream) -> list[Batch]:
    """Dark panes that mirror the sky in their upper part; some have light behind them."""
    domain = facade.canvas.domain
    dice = looks.units(len(panes))
    dark, batches = panes, []
    if domain.lit_windows > 0.0:
        lit = np.array(dice) < domain.lit_windows
        dark = panes[~lit]
        batches.append(Batch(panes[lit], (1.0, 0.8, 0.45), (0.95, 0.95, 0.95)))
    batches.append(Batch(dark, (0.16, 0.19, 0.23)))
    if facade.pixels_per_metre() > 6.0:
        sky = domain.sky_horizon
        albedo = (0.42 * sky[0], 0.42 * sky[1], 0.42 * sky[2])
        batches.append(Batch(dark @ _UPPER_PART, albedo, (1.0, 1.0, 1.0)))
    return batches


def _shop(facade: Facade, looks: Stream) -> list[Batch]:
    """Shop windows under a coloured sign with lettering, and a door."""
    domain, length = facade.canvas.domain, facade.length
    color = colorsys.hsv_to_rgb(looks.unit(), looks.uniform(0.3, 0.75), looks.uniform(0.3, 0.7))
    letters, start = looks.integer(3, 7), looks.uniform(0.2, 0.4) * length
    goods_color = colorsys.hsv_to_rgb(looks.unit(), 0.35, 0.5)
    panes = max(1, int(length / 2.6))
    step = (length - 0.4) / panes
    door = step * looks.integer(0, panes - 1) + 0.5
    glass: Color = (0.9, 0.78, 0.55) if domain.lamps > 0.3 else (0.2, 0.22, 0.24)
    light = (0.85, 0.85, 0.85) if domain.lamps > 0.3 else None
    boxes = [(0.3 + step * i, 0.3 + step * (i + 0.88), 0.45, 2.65) for i in range(panes)]
    batches = [
        Batch(np.array([(0.15, length - 0.15, 2.75, 3.5)]), color),
        Batch(np.array(boxes), glass, light),
    ]
    if facade.pixels_per_metre() > 6.0:
        size = min(0.5, 0.5 * length / letters)
        text = [(start + size * i, start + size * (i + 0.6), 2.95, 3.3) for i in range(letters)]
        goods = [(b[0] + 0.2, b[1] - step * 0.3, 0.5, 1.3) for b in boxes]
        entrance = [(door, door + min(1.0, step * 0.6), 0.0, 2.3)]
        batches += [
            Batch(np.array(text), (0.92, 0.9, 0.82)),
            Batch(np.array(goods), goods_color),
            Batch(np.array(entrance), (0.22, 0.18, 0.15)),
        ]
    return batches


def _ground_floor(facade: Facade, wall: Color, looks: Stream) -> list[Batch]:
    """A base course, a door and windows beside it."""
    length = facade.length
    columns = max(1, int(length / 2.8))
    step = length / columns
    door = looks.integer(0, columns - 1)
    color = colorsys.hsv_to_rgb(looks.unit(), looks.uniform(0.2, 0.7), looks.uniform(0.2, 0.5))
    batches = []
    if facade.pixels_per_metre() > 4.0:
        ledge = [(0.0, length, _GROUND_FLOOR - 0.1, _GROUND_FLOOR + 0.1)]
        batches = [
            Batch(np.array([(0.0, length, 0.0, 0.6)]), _times(wall, 0.72)),
            Batch(np.array(ledge), _times(wall, 1.2)),
        ]
    panes = [(step * (i + 0.25), step * (i + 0.75), 1.0, 2.6) for i in range(columns) if i != door]
    if panes:
        batches += _glass(facade, np.array(panes), looks)
    entrance = [(step * (door + 0.28), step * (door + 0.28) + 1.1, 0.0, 2.3)]
    return [*batches, Batch(np.array(entrance), color)]
