"""Bicycles and motorcycles, parked or ridden."""

import colorsys
import math
from collections.abc import Sequence

from datum.streetscenes.drawing.camera import Pixel
from datum.streetscenes.drawing.canvas import TOWARD_CAMERA, Canvas, Paint
from datum.streetscenes.drawing.colors import Color, scaled
from datum.streetscenes.drawing.elements import Cycle
from datum.streetscenes.drawing.people import HAIRS, SKINS, clothes, legwear, paint_head
from datum.streetscenes.drawing.solids import Pose
from datum.streetscenes.drawing.streams import Stream

_HELMETS: tuple[Color, ...] = (
    (0.85, 0.85, 0.83),
    (0.1, 0.1, 0.11),
    (0.65, 0.1, 0.1),
    (0.15, 0.3, 0.6),
    (0.4, 0.4, 0.42),
)
_TIRE: Color = (0.07, 0.07, 0.075)
_CIRCLE = tuple((math.cos(math.pi * i / 8), math.sin(math.pi * i / 8)) for i in range(17))


_Point = tuple[float, float, float]


class _Brush:
    """Draws in a cycle's own axes, meters. Its points name length ahead, height and width to the right."""

    def __init__(self, canvas: Canvas, pose: Pose, label: str) -> None:
        self.canvas, self.pose, self.label = canvas, pose, label
        self.scale = pose.pixels_per_meter

    def at(self, length: float, height: float, width: float) -> Pixel:
        return self.pose.at(length, width, height)

    def paint(self, color: Color) -> Paint:
        return self.canvas.shade(color, TOWARD_CAMERA, self.pose.z)

    def bar(self, points: Sequence[_Point], thick: float, color: Color) -> None:
        pixels = [self.at(*point) for point in points]
        self.canvas.line(pixels, thick * self.scale, self.paint(color), self.label)

    def patch(self, points: Sequence[_Point], color: Color) -> None:
        self.canvas.polygon([self.at(*point) for point in points], self.paint(color), self.label)


def paint_cycle(canvas: Canvas, cycle: Cycle, looks: Stream) -> None:
    """A bicycle or motorcycle, with its rider if it has one."""
    pose = Pose(canvas, cycle.x, cycle.z, cycle.heading)
    pose.shadow(0.8, 0.1)
    brush = _Brush(canvas, pose, cycle.kind)
    color = colorsys.hsv_to_rgb(looks.unit(), looks.uniform(0.3, 0.9), looks.uniform(0.2, 0.8))
    motor = cycle.kind == "motorcycle"
    if motor:
        _paint_motorcycle(brush, color)
    else:
        _paint_bicycle(brush, color)
    if cycle.ridden:
        _paint_rider(_Brush(canvas, pose, "rider"), motor, cycle.heading, looks)
        if math.cos(cycle.heading) < (0.3 if motor else 0.0):
            _paint_front(brush, motor, color)


def _wheel(brush: _Brush, length: float, radius: float, thick: float) -> None:
    circle = [(length + radius * c, radius + radius * s, 0.0) for c, s in _CIRCLE]
    brush.bar(circle, thick, _TIRE)
    # Seen from ahead or behind the circle collapses to its edge: the tire's width keeps it visible.
    brush.bar([(length, 0.0, 0.0), (length, 2 * radius, 0.0)], thick * 0.4, _TIRE)


def _paint_bicycle(brush: _Brush, color: Color) -> None:
    for length in (-0.52, 0.52):
        _wheel(brush, length, 0.34, 0.07)
    crank, seat, head, rear, front = (
        (-0.05, 0.3, 0.0), (-0.2, 0.86, 0.0), (0.38, 0.85, 0.0), (-0.52, 0.34, 0.0), (0.52, 0.34, 0.0)
    )  # fmt: skip
    brush.bar([rear, crank, seat, rear], 0.06, color)
    brush.bar([crank, head, seat], 0.06, color)
    brush.bar([front, head, (0.34, 1.02, 0.0)], 0.06, color)
    brush.bar([(0.36, 1.03, -0.27), (0.36, 1.03, 0.27)], 0.06, _TIRE)
    brush.bar([(-0.32, 0.92, 0.0), (-0.06, 0.92, 0.0)], 0.1, _TIRE)


def _paint_motorcycle(brush: _Brush, color: Color) -> None:
    for length in (-0.68, 0.7):
        _wheel(brush, length, 0.31, 0.15)
        circle = [(length + 0.2 * c, 0.31 + 0.2 * s, 0.0) for c, s in _CIRCLE]
        brush.patch(circle, (0.35, 0.35, 0.36))
    brush.patch([(-0.35, 0.3, 0.0), (-0.3, 0.62, 0.0), (0.4, 0.66, 0.0), (0.42, 0.3, 0.0)], (0.2, 0.2, 0.21))
    for width in (-0.14, 0.14):
        tank = [(-0.1, 0.62, width), (0.0, 0.92, width), (0.42, 0.96, width), (0.55, 0.68, width)]
        brush.patch(tank, color)
        seat = [(-0.85, 0.78, width), (-0.8, 0.92, width), (0.0, 0.86, width), (-0.05, 0.68, width)]
        brush.patch(seat, (0.1, 0.1, 0.1))
    brush.bar([(0.7, 0.31, 0.0), (0.5, 0.98, 0.0)], 0.09, (0.6, 0.6, 0.62))
    brush.bar([(0.42, 1.04, -0.34), (0.42, 1.04, 0.34)], 0.07, _TIRE)
    _paint_body_end(brush, color)


def _paint_body_end(brush: _Brush, color: Color) -> None:
    """The narrow body as it shows from ahead or behind."""
    end = 0.6 if brush.pose.eye_length > 0 else -0.82
    brush.patch([(end, 0.45, -0.15), (end, 0.9, -0.17), (end, 0.9, 0.17), (end, 0.45, 0.15)], color)
    lamp = (0.95, 0.93, 0.8) if end > 0 else (0.8, 0.06, 0.05)
    brush.patch([(end, 0.72, -0.1), (end, 0.87, -0.1), (end, 0.87, 0.1), (end, 0.72, 0.1)], lamp)
    if brush.canvas.domain.lamps_on:
        glow: Color = (1.0, 0.95, 0.8) if end > 0 else (1.0, 0.15, 0.1)
        brush.canvas.glow(brush.pose.at(end, 0.0, 0.8), 0.35 * brush.scale, glow)


def _paint_front(brush: _Brush, motor: bool, color: Color) -> None:
    """The parts that stand before the rider when they come toward the camera."""
    if motor:
        _paint_body_end(brush, color)
    brush.bar([(0.4, 1.04, -0.27), (0.4, 1.04, 0.27)], 0.06, _TIRE)


def _paint_rider(brush: _Brush, motor: bool, heading: float, looks: Stream) -> None:
    style = brush.canvas.domain.style
    top, trousers, skin = clothes(style, looks), legwear(style, looks), looks.choice(SKINS)
    seat, knee, foot = (
        ((-0.25, 0.9), (0.22, 0.72), (0.05, 0.32)) if motor else ((-0.2, 0.95), (0.12, 0.68), (0.0, 0.24))
    )
    shoulder, hand = ((0.02, 1.42), (0.4, 1.06)) if motor else ((0.08, 1.48), (0.36, 1.05))
    for width, shade, pedal in ((-0.14, 0.8, 0.0), (0.14, 1.0, 0.0 if motor else 0.26)):
        bent, stretched = (knee[0], knee[1] + pedal * 0.6, width), (foot[0], foot[1] + pedal, width)
        brush.bar([(*seat, width * 0.7), bent, stretched], 0.15, scaled(trousers, shade))
    back, chest = (seat[0] - 0.1, seat[1] - 0.08, 0.0), (seat[0] + 0.16, seat[1] - 0.05, 0.0)
    nape, throat = (shoulder[0] - 0.16, shoulder[1], 0.0), (shoulder[0] + 0.1, shoulder[1] + 0.06, 0.0)
    brush.patch([back, nape, throat, chest], top)
    for offset in (-0.05, 0.05):  # seen from ahead or behind
        low, high = (seat[0] + offset, seat[1] - 0.06), (shoulder[0] + offset, shoulder[1])
        brush.patch([(*low, -0.16), (*high, -0.22), (*high, 0.22), (*low, 0.16)], top)
    for width in (-0.22, 0.22):
        arm = [(*shoulder, width), (0.25, 1.2, width * 1.25), (*hand, width)]
        brush.bar(arm, 0.1, scaled(top, 0.8))
    head = brush.at(shoulder[0] + 0.08, shoulder[1] + 0.2, 0.0)
    helmet = motor or looks.chance(0.5)
    cover = looks.choice(_HELMETS) if helmet else looks.choice(HAIRS)
    radius = (0.155 if helmet else 0.135) * brush.scale
    paint_head(brush.canvas, head, radius, brush.paint(skin), brush.paint(cover), heading, brush.label)
