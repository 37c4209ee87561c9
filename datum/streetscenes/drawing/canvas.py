"""What a scene is painted on: picture and label map together, so that they cannot disagree."""

import colorsys
import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from datum.labels import LABEL_ID
from datum.streetscenes.drawing.camera import Camera, Pixel
from datum.streetscenes.drawing.colors import Color, scaled
from datum.streetscenes.drawing.domain import Domain

Normal = tuple[float, float, float]
"""Outward direction of a surface in x, y, z, length 1."""
Paint = tuple[float, float, float]
"""RGB as it is written into the picture, 0 to 255."""

Picture = npt.NDArray[np.uint8]
"""RGB, uint8[height, width, 3]."""

UP: Normal = (0.0, 1.0, 0.0)
TOWARD_CAMERA: Normal = (0.0, 0.0, -1.0)
TOWARD_LEFT: Normal = (-1.0, 0.0, 0.0)
TOWARD_RIGHT: Normal = (1.0, 0.0, 0.0)

_SHIFT = 4  # fractional bits of the coordinates that OpenCV gets
_ONE = 1 << _SHIFT


class Canvas:
    """A picture and its label ids, uint8[height, width]."""

    def __init__(self, camera: Camera, domain: Domain) -> None:
        self.camera = camera
        self.domain = domain
        self.image: Picture = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
        self.label_ids: npt.NDArray[np.uint8] = np.zeros((camera.height, camera.width), dtype=np.uint8)
        self.glows: list[tuple[float, float, float, Color]] = []
        """Column, row, radius in pixels and color of every lamp that is on."""
        self.crown_colors: dict[tuple[int, float], npt.NDArray[np.uint8]] = {}
        """Colors of tree crowns by band of depth and brightness."""
        self._haze = tuple(255.0 * c for c in domain.haze_color)
        self._lights: dict[Normal, Color] = {}

    def light(self, normal: Normal) -> Color:
        """RGB light (1 is full) that falls on a surface."""
        found = self._lights.get(normal)
        if found is None:
            domain = self.domain
            x, y, z = domain.sun_direction()
            sun = domain.sun_strength * max(0.0, normal[0] * x + normal[1] * y + normal[2] * z)
            ambient = domain.ambient_strength * (0.8 + 0.2 * normal[1])
            a, s = domain.ambient_color, domain.sun_color
            found = (ambient * a[0] + sun * s[0], ambient * a[1] + sun * s[1], ambient * a[2] + sun * s[2])
            self._lights[normal] = found
        return found

    def paint(self, albedo: Color, light: Color, z: float) -> Paint:
        """What a surface of this color (RGB, 0 to 1) looks like in this light, z meters away."""
        clear = math.exp(-z / self.domain.visibility)
        red, green, blue = albedo[0] * light[0], albedo[1] * light[1], albedo[2] * light[2]
        gray = 0.3 * red + 0.59 * green + 0.11 * blue
        saturation = self.domain.saturation
        haze, veil, gain = self._haze, 1.0 - clear, 255.0 * clear
        return (
            haze[0] * veil + gain * (gray + saturation * (red - gray)),
            haze[1] * veil + gain * (gray + saturation * (green - gray)),
            haze[2] * veil + gain * (gray + saturation * (blue - gray)),
        )

    def shade(self, albedo: Color, normal: Normal, z: float) -> Paint:
        """What a surface of this color looks like that faces along `normal`, z meters away."""
        return self.paint(albedo, self.light(normal), z)

    def foliage(self, brightness: float) -> Color:
        """The domain's green for leaves and grass; 1 is its ordinary brightness."""
        hue, saturation = self.domain.foliage_hue / 360.0, self.domain.foliage_saturation
        return scaled(colorsys.hsv_to_rgb(hue, saturation, 0.46), brightness)

    def polygon(self, points: Sequence[Pixel], paint: Paint, label: str | None = None) -> None:
        """Fill a polygon given by (column, row) pixels; without a label the label map stays as it is."""
        corners = _fixed(points)
        cv2.fillPoly(self.image, [corners], paint, cv2.LINE_AA, _SHIFT)
        if label is not None:
            cv2.fillPoly(self.label_ids, [corners], LABEL_ID[label], cv2.LINE_8, _SHIFT)

    def polygons(self, points: npt.NDArray[np.float64], paint: Paint) -> None:
        """Fill polygons that do not overlap with one paint; labels stay.

        `points` are pixels, float64[polygons, corners, 2].
        """
        corners = (points * _ONE).astype(np.int32, order="C")
        cv2.fillPoly(self.image, list(corners), paint, cv2.LINE_AA, _SHIFT)

    def box(
        self, left: float, right: float, top: float, bottom: float, paint: Paint, label: str | None = None
    ) -> None:
        """Fill an upright rectangle given in pixels."""
        self.polygon(((left, top), (right, top), (right, bottom), (left, bottom)), paint, label)

    def post(
        self, foot: Pixel, top: Pixel, half_foot: float, half_top: float, paint: Paint, label: str
    ) -> None:
        """Fill an upright shape by the pixels of its ends and half its width at each, in pixels."""
        corners = (
            (foot[0] - half_foot, foot[1]),
            (top[0] - half_top, top[1]),
            (top[0] + half_top, top[1]),
            (foot[0] + half_foot, foot[1]),
        )
        self.polygon(corners, paint, label)

    def ground(
        self, left: float, right: float, near: float, far: float, paint: Paint, label: str | None = None
    ) -> None:
        """Fill a rectangle of the ground, given in meters."""
        project = self.camera.project
        corners = (
            project(left, 0.0, near),
            project(left, 0.0, far),
            project(right, 0.0, far),
            project(right, 0.0, near),
        )
        self.polygon(corners, paint, label)

    def ellipse(
        self, center: Pixel, radius_x: float, radius_y: float, paint: Paint, label: str | None = None
    ) -> None:
        """Fill an upright ellipse; radii in pixels."""
        middle = (int(center[0] * _ONE), int(center[1] * _ONE))
        axes = (max(1, int(radius_x * _ONE)), max(1, int(radius_y * _ONE)))
        cv2.ellipse(self.image, middle, axes, 0, 0, 360, paint, -1, cv2.LINE_AA, _SHIFT)
        if label is not None:
            cv2.ellipse(self.label_ids, middle, axes, 0, 0, 360, LABEL_ID[label], -1, cv2.LINE_8, _SHIFT)

    def line(self, points: Sequence[Pixel], thickness: float, paint: Paint, label: str | None = None) -> None:
        """Draw a line through pixels, `thickness` pixels wide and never under one."""
        corners = _fixed(points)
        wide = max(1, round(thickness))
        cv2.polylines(self.image, [corners], False, paint, wide, cv2.LINE_AA, _SHIFT)
        if label is not None:
            cv2.polylines(self.label_ids, [corners], False, LABEL_ID[label], wide, cv2.LINE_8, _SHIFT)

    def glow(self, center: Pixel, radius: float, color: Color) -> None:
        """Remember a lamp, to be drawn with its halo once the scene is painted; radius in pixels."""
        self.glows.append((center[0], center[1], radius, color))


def _fixed(points: Sequence[Pixel]) -> npt.NDArray[np.int32]:
    return np.array([(int(u * _ONE), int(v * _ONE)) for u, v in points], dtype=np.int32)
