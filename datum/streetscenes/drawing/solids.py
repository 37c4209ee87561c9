"""Solids made of a side outline that is extruded across a vehicle's width."""

import math
from collections.abc import Sequence

from datum.streetscenes.drawing.camera import Pixel
from datum.streetscenes.drawing.canvas import UP, Canvas, Normal
from datum.streetscenes.drawing.colors import Color

Point = tuple[float, float, float]
"""In a vehicle's axes: length ahead of its middle, width to its right, height; meters."""
Outline = Sequence[tuple[float, float, float]]
"""Corners of a side view from the front bumper over the roof to the rear: length (ahead of the middle),
height and half width there, meters."""

_CIRCLE = tuple((math.cos(math.pi * i / 5), math.sin(math.pi * i / 5)) for i in range(10))


class Pose:
    """Where a vehicle stands, with its own axes: length ahead, width to its right, height."""

    def __init__(self, canvas: Canvas, x: float, z: float, heading: float) -> None:
        self.canvas = canvas
        self.x, self.z = x, z
        self.pixels_per_meter = canvas.camera.scale(z)
        self._project = canvas.camera.project
        self.sin, self.cos = math.sin(heading), math.cos(heading)
        # The camera in the vehicle's axes.
        bent = x + canvas.camera.bend * z * z
        self.eye_length = -(bent * self.sin + z * self.cos)
        self.eye_width = -(bent * self.cos - z * self.sin)

    def at(self, length: float, width: float, height: float) -> Pixel:
        """Pixel of a point in the vehicle's axes."""
        return self._project(
            self.x + length * self.sin + width * self.cos,
            height,
            self.z + length * self.cos - width * self.sin,
        )

    def normal(self, length: float, width: float, up: float) -> Normal:
        """A direction in the vehicle's axes (unit length), in the street's."""
        return (
            round(length * self.sin + width * self.cos, 3),
            round(up, 3),
            round(length * self.cos - width * self.sin, 3),
        )

    def side_in_view(self, half_width: float) -> int:
        """-1 or 1 for the side that faces the camera, 0 when neither does."""
        if abs(self.eye_width) <= half_width:
            return 0
        return 1 if self.eye_width > 0 else -1

    def fill(self, points: Sequence[Point], albedo: Color, normal: Normal, label: str | None = None) -> None:
        """Fill a polygon of points in the vehicle's axes."""
        self.canvas.polygon([self.at(*p) for p in points], self.canvas.shade(albedo, normal, self.z), label)

    def side_box(
        self, side: int, half_width: float, back: float, front: float, low: float, high: float, albedo: Color
    ) -> None:
        """Fill a rectangle on the side that faces the camera."""
        width = side * half_width
        corners = ((back, width, low), (back, width, high), (front, width, high), (front, width, low))
        self.fill(corners, albedo, self.normal(0.0, side, 0.0))

    def end_box(
        self, length: float, left: float, right: float, low: float, high: float, albedo: Color,
        glow: float = 0.0, label: str | None = None,
    ) -> None:  # fmt: skip
        """Fill a rectangle on the front or rear; it is lit by `glow` at least, whatever light falls on it."""
        left, right = sorted((left, right))
        corners = [self.at(length, left, low), self.at(length, left, high)]
        corners += [self.at(length, right, high), self.at(length, right, low)]
        light = self.canvas.light(self.normal(math.copysign(1.0, length), 0.0, 0.0))
        light = (max(glow, light[0]), max(glow, light[1]), max(glow, light[2]))
        self.canvas.polygon(corners, self.canvas.paint(albedo, light, self.z), label)

    def wheel(self, length: float, side: int, half_width: float, radius: float, hub: Color) -> None:
        """A wheel on the side that faces the camera."""
        rings = ((1.0, (0.06, 0.06, 0.065)), (0.58, hub))
        for scale, albedo in rings if self.pixels_per_meter > 6.0 else rings[:1]:
            size = scale * radius
            circle = [(length + size * c, side * half_width, radius + size * s) for c, s in _CIRCLE]
            self.fill(circle, albedo, self.normal(0.0, side, 0.0))

    def shadow(self, half_length: float, half_width: float) -> None:
        """The dark ground under the vehicle."""
        level = self.canvas.domain.asphalt_brightness * 0.3
        a, b = half_length + 0.1, half_width + 0.12
        self.fill(((-a, -b, 0.0), (-a, b, 0.0), (a, b, 0.0), (a, -b, 0.0)), (level, level, level), UP)

    def extruded(self, outline: Outline, paints: Sequence[Color], side_paint: Color, label: str) -> None:
        """Fill the strips across the width that face the camera, then the side that does.

        `paints` gives the color of each strip between neighboring corners of the outline.
        """
        left = [self.at(length, -width, height) for length, height, width in outline]
        right = [self.at(length, width, height) for length, height, width in outline]
        canvas, eye = self.canvas, self.canvas.camera.eye
        strips = range(len(outline) - 1)
        for index in strips if self.eye_length < 0 else reversed(strips):
            (l0, h0, _), (l1, h1, _) = outline[index], outline[index + 1]
            normal_l, normal_h = h1 - h0, l0 - l1
            if normal_l * (self.eye_length - l0) + normal_h * (eye - h0) <= 0.0:
                continue
            size = math.hypot(normal_l, normal_h)
            normal = self.normal(normal_l / size, 0.0, normal_h / size)
            corners = (left[index], left[index + 1], right[index + 1], right[index])
            canvas.polygon(corners, canvas.shade(paints[index], normal, self.z), label)
        side = self.side_in_view(max(width for _, _, width in outline))
        if side:
            paint = canvas.shade(side_paint, self.normal(0.0, side, 0.0), self.z)
            canvas.polygon(left if side < 0 else right, paint, label)
