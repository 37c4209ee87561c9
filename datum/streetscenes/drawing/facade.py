"""An upright plane in perspective, painted in meters: the face of a house, a wall, a fence."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datum.streetscenes.drawing.camera import Pixel
from datum.streetscenes.drawing.canvas import Canvas, Normal
from datum.streetscenes.drawing.colors import Color

Box = tuple[float, float, float, float]
"""Left, right, low and high edge of a rectangle, meters."""

_LEFT_LEFT_RIGHT_RIGHT = np.array((0, 0, 1, 1))
_LOW_HIGH_HIGH_LOW = np.array((2, 3, 3, 2))


class Panels(NamedTuple):
    """Rectangles of one color on a façade."""

    boxes: Sequence[Box] | npt.NDArray[np.float64]
    """`Box`es, or float64[boxes, 4]; they must not overlap."""
    albedo: Color
    light: Color | None = None
    """In place of the light that falls on the façade."""


class Facade:
    """A vertical plane: `along` runs over its length in meters, `up` over its height."""

    def __init__(
        self, canvas: Canvas, start: tuple[float, float], stop: tuple[float, float], normal: Normal
    ) -> None:
        """From `start` to `stop`, both x and z."""
        self.canvas = canvas
        self.start, self.stop = start, stop
        self.length = abs(stop[0] - start[0]) + abs(stop[1] - start[1])
        self.light = canvas.light(normal)
        self.depth = max(1.0, 0.5 * (start[1] + stop[1]))
        self.pixels_per_meter = canvas.camera.scale(self.depth)

    def at(self, along: float, up: float) -> Pixel:
        """Pixel of a point of the plane, meters."""
        share = along / self.length
        x = self.start[0] + share * (self.stop[0] - self.start[0])
        z = self.start[1] + share * (self.stop[1] - self.start[1])
        return self.canvas.camera.project(x, up, z)

    def box(
        self, left: float, right: float, low: float, high: float, albedo: Color, label: str | None = None
    ) -> None:
        """Fill a rectangle of the plane."""
        corners = (self.at(left, low), self.at(left, high), self.at(right, high), self.at(right, low))
        self.canvas.polygon(corners, self.canvas.paint(albedo, self.light, self.depth), label)

    def fill(self, layers: Sequence[Panels]) -> None:
        """Fill layers of rectangles, one layer over the other."""
        boxes = np.concatenate([np.reshape(panels.boxes, (-1, 4)) for panels in layers])
        camera, start, stop = self.canvas.camera, self.start, self.stop
        share = boxes[:, _LEFT_LEFT_RIGHT_RIGHT] / self.length
        x = start[0] + share * (stop[0] - start[0])
        z = start[1] + share * (stop[1] - start[1])
        scale = camera.focal / z
        corners = np.empty((len(boxes), 4, 2))
        corners[:, :, 0] = camera.center + (x + camera.bend * z * z) * scale
        corners[:, :, 1] = camera.horizon + (camera.eye - boxes[:, _LOW_HIGH_HIGH_LOW]) * scale
        first = 0
        for panels in layers:
            last = first + len(panels.boxes)
            if last > first:
                paint = self.canvas.paint(panels.albedo, panels.light or self.light, self.depth)
                self.canvas.polygons(corners[first:last], paint)
            first = last
