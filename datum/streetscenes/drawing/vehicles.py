"""Cars, trucks and buses, seen from any direction."""

from __future__ import annotations

import colorsys
import dataclasses
import math

from datum.streetscenes.drawing.canvas import Canvas
from datum.streetscenes.drawing.domain import Color
from datum.streetscenes.drawing.elements import Vehicle
from datum.streetscenes.drawing.solids import Outline, Pose, paint_extruded, paint_shadow
from datum.streetscenes.drawing.streams import Stream

_GLASS: Color = (0.1, 0.13, 0.16)
_NEAR = 4.2
"""Pixels per metre from which a car's windows and plates are drawn."""
_DETAILED = 6.0
"""Pixels per metre from which bumpers are drawn."""
_RUBBER: Color = (0.05, 0.05, 0.055)
_PAINTS: tuple[Color, ...] = (
    (0.85, 0.85, 0.84), (0.62, 0.64, 0.66), (0.34, 0.35, 0.37), (0.1, 0.1, 0.11), (0.1, 0.18, 0.42),
    (0.6, 0.08, 0.08), (0.12, 0.3, 0.2), (0.75, 0.6, 0.15), (0.2, 0.4, 0.62), (0.45, 0.34, 0.24),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CarBody:
    outline: Outline
    glass: tuple[int, ...]
    """Strips of the outline that are windows."""
    belt: float
    """Height of the lower edge of the side windows."""
    windows: tuple[tuple[float, float], ...]
    """Side windows: length and height of the four corners of the glass."""


def _car_body(hood: float, screen: float, roof: float, tail: float, boot: float, top: float) -> _CarBody:
    """A car from the lengths (metres ahead of its middle) where its parts meet, and its roof's height."""
    belt, wide, narrow = 0.92, 0.88, 0.68
    outline = (
        (2.15, 0.22, wide), (2.18, 0.62, wide), (2.05, 0.76, wide), (hood, belt + 0.02, wide),
        (screen, top - 0.03, narrow), (roof, top, narrow), (tail, belt + 0.06, wide),
        (boot, belt, wide), (-2.15, 0.62, wide), (-2.12, 0.22, wide),
    )  # fmt: skip
    windows = ((hood - 0.35, belt), (screen - 0.12, top - 0.12), (roof + 0.05, top - 0.1), (tail + 0.3, belt))
    return _CarBody(outline=outline, glass=(3, 5), belt=belt, windows=windows)


_BODIES = (
    _car_body(1.05, 0.3, -0.9, -1.55, -2.05, 1.46),  # saloon
    _car_body(1.15, 0.4, -1.55, -2.0, -2.1, 1.5),  # hatchback
    _car_body(1.2, 0.6, -1.75, -2.05, -2.12, 1.74),  # off-roader
    _car_body(1.5, 0.9, -1.95, -2.1, -2.14, 1.95),  # van
)


def paint_vehicle(canvas: Canvas, vehicle: Vehicle, looks: Stream) -> None:
    """Paint a car, truck or bus with its shadow."""
    pose = Pose(canvas, vehicle.x, vehicle.z, vehicle.heading)
    if vehicle.kind == "car":
        _paint_car(pose, vehicle, looks)
    elif vehicle.kind == "bus":
        _paint_bus(pose, vehicle, looks)
    else:
        _paint_truck(pose, vehicle, looks)


def _times(color: Color, factor: float) -> Color:
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def _paint_car(pose: Pose, vehicle: Vehicle, looks: Stream) -> None:
    body = _BODIES[vehicle.model % len(_BODIES)]
    color = looks.choice(_PAINTS)
    if pose.pixels_per_metre() > _NEAR:
        paint_shadow(pose, 2.1, 0.88)
        _tyres_under_end(pose, 2.0, 0.88, 0.62, "car")
    paints = [_GLASS if i in body.glass else color for i in range(len(body.outline) - 1)]
    paint_extruded(pose, body.outline, paints, color, "car")
    if pose.pixels_per_metre() < _NEAR:
        _paint_far_lights(pose)
        return
    _paint_glass_shine(pose, body)
    side = pose.side_in_view(0.88)
    if side:
        _paint_car_side(pose, body, side, color)
    if pose.eye_length > 2.2:
        _paint_front(pose, 2.16, 0.86, looks)
    elif pose.eye_length < -2.2:
        _paint_rear(pose, -2.15, 0.86, 0.78, vehicle.moving and looks.chance(0.5))


def _paint_far_lights(pose: Pose) -> None:
    """Head or tail lights of a car too far away for anything else to be seen."""
    coming = pose.eye_length > 0
    color: Color = (0.95, 0.95, 0.88) if coming else (0.75, 0.06, 0.05)
    for side in (-1, 1):
        left, right = sorted((side * 0.84, side * 0.55))
        pose.end_box(2.16 if coming else -2.15, left, right, 0.5, 0.72, color, 0.6)
        _lamp_on(pose, 2.16 if coming else -2.15, side * 0.7, 0.6, color, 0.4)


def _tyres_under_end(pose: Pose, half_length: float, half_width: float, inner: float, label: str) -> None:
    """The two tyres that show below the front or rear."""
    end = math.copysign(half_length - 0.35, pose.eye_length)
    normal = pose.normal(math.copysign(1.0, end), 0.0, 0.0)
    for left, right in ((-half_width, -inner), (inner, half_width)):
        corners = ((end, left, 0.0), (end, left, 0.5), (end, right, 0.5), (end, right, 0.0))
        pose.fill(corners, _RUBBER, normal, label)


def _paint_glass_shine(pose: Pose, body: _CarBody) -> None:
    """The sky mirrored in the upper half of the windscreen or rear window."""
    (l0, h0, w0), (l1, h1, w1) = body.outline[3:5] if pose.eye_length > 0 else body.outline[6:4:-1]
    if abs(pose.eye_length) < abs(l0):
        return
    sky = pose.canvas.domain.sky_horizon
    albedo = (0.12 + 0.3 * sky[0], 0.14 + 0.3 * sky[1], 0.17 + 0.3 * sky[2])

    def across(share: float, inset: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        length, height, width = l0 + share * (l1 - l0), h0 + share * (h1 - h0), w0 + share * (w1 - w0)
        return (length, -width * inset, height), (length, width * inset, height)

    (a, b), (c, d) = across(0.45, 0.88), across(0.86, 0.88)
    light = pose.canvas.light((0.0, 1.0, 0.0))
    paint = pose.canvas.paint(albedo, light, pose.z)
    pose.canvas.polygon([pose.at(*p) for p in (a, c, d, b)], paint)


def _paint_car_side(pose: Pose, body: _CarBody, side: int, color: Color) -> None:
    normal = pose.normal(0.0, side, 0.0)
    top = body.outline[5][1]

    def point(length: float, height: float) -> tuple[float, float, float]:
        share = max(0.0, (height - body.belt) / (top - body.belt))
        return (length, side * (0.885 - 0.2 * share), height)

    pose.fill([point(*p) for p in body.windows], _GLASS, normal)
    post = (body.windows[0][0] + body.windows[3][0]) / 2 + 0.1
    pillar = [
        (post - 0.05, body.belt),
        (post - 0.05, top - 0.1),
        (post + 0.05, top - 0.1),
        (post + 0.05, body.belt),
    ]
    pose.fill([point(*p) for p in pillar], _times(color, 0.8), normal)
    sill = [(-2.1, 0.22), (-2.1, 0.36), (2.1, 0.36), (2.1, 0.22)]
    pose.fill([point(*p) for p in sill], _times(color, 0.4), normal)
    if pose.pixels_per_metre() > 6.0:
        crease = [(-2.1, 0.68), (-2.1, 0.76), (2.1, 0.72), (2.1, 0.66)]
        pose.fill([point(*p) for p in crease], _times(color, 1.25), normal)
    for length in (1.35, -1.35):
        pose.wheel(length, side, 0.89, 0.33, (0.5, 0.51, 0.52))


def _lamp_on(pose: Pose, length: float, width: float, height: float, color: Color, radius: float) -> None:
    if pose.canvas.domain.lamps > 0.2:
        size = radius * pose.pixels_per_metre()
        pose.canvas.glow(pose.at(length, width, height), size, color)


def _paint_front(pose: Pose, length: float, half: float, looks: Stream) -> None:
    """Head lights, grille, bumper and number plate."""
    if pose.pixels_per_metre() > _DETAILED:
        pose.end_box(length, -half, half, 0.22, 0.4, (0.12, 0.12, 0.13))
    pose.end_box(length, -0.42, 0.42, 0.48, 0.66, (0.08, 0.08, 0.09))
    on = pose.canvas.domain.lamps > 0.2
    for side in (-1, 1):
        left, right = sorted((side * half * 0.96, side * half * 0.58))
        pose.end_box(length, left, right, 0.5, 0.69, (0.95, 0.95, 0.88), 1.1 if on else 0.6)
        _lamp_on(pose, length, side * half * 0.78, 0.6, (1.0, 0.95, 0.8), 0.45)
    pose.end_box(length, -0.28, 0.28, 0.36, 0.48, (0.9, 0.9, 0.88))


def _paint_rear(pose: Pose, length: float, half: float, lamp_top: float, braking: bool) -> None:
    """Tail lights, bumper and number plate."""
    if pose.pixels_per_metre() > _DETAILED:
        pose.end_box(length, -half, half, 0.22, 0.38, (0.14, 0.14, 0.15))
    on = pose.canvas.domain.lamps > 0.2 or braking
    red = (0.95, 0.08, 0.06) if on else (0.6, 0.05, 0.05)
    for side in (-1, 1):
        left, right = sorted((side * half * 0.98, side * half * 0.66))
        pose.end_box(length, left, right, lamp_top - 0.24, lamp_top, red, 0.9 if on else 0.0)
        _lamp_on(pose, length, side * half * 0.8, lamp_top - 0.1, (1.0, 0.15, 0.1), 0.3)
    pose.end_box(length, -0.28, 0.28, 0.5, 0.63, (0.92, 0.88, 0.6))


def _paint_bus(pose: Pose, vehicle: Vehicle, looks: Stream) -> None:
    half_length, half, top = 5.4, 1.25, 3.1
    color = looks.choice(
        ((0.75, 0.12, 0.1), (0.85, 0.7, 0.2), (0.85, 0.85, 0.83), (0.15, 0.35, 0.6), (0.2, 0.5, 0.35))
    )
    second = looks.choice(((0.85, 0.85, 0.83), (0.2, 0.25, 0.4), (0.9, 0.75, 0.2)))
    outline = (
        (half_length, 0.3, half), (half_length, 1.1, half), (half_length - 0.12, 2.85, half),
        (half_length - 0.3, top, half - 0.1), (-half_length + 0.3, top, half - 0.1),
        (-half_length, 2.85, half), (-half_length, 0.3, half),
    )  # fmt: skip
    paint_shadow(pose, half_length, half)
    _tyres_under_end(pose, half_length, half, half - 0.35, "bus")
    paint_extruded(pose, outline, [color] * 6, color, "bus")
    side = pose.side_in_view(half)
    if side:
        _paint_bus_side(pose, side, half_length, half, second)
    if pose.eye_length > half_length:
        length = half_length - 0.02
        pose.end_box(length, -half * 0.92, half * 0.92, 1.05, 2.4, _GLASS)
        sky = pose.canvas.domain.sky_horizon
        pose.end_box(length, -half * 0.85, half * 0.85, 1.8, 2.3, _times(sky, 0.4), 0.7)
        pose.end_box(length, -0.04, 0.04, 1.05, 2.4, _RUBBER)
        pose.end_box(length, -half * 0.75, half * 0.75, 2.52, 2.85, (0.06, 0.06, 0.06))
        pose.end_box(length, -half * 0.6, half * 0.6, 2.6, 2.78, (1.0, 0.65, 0.15), 0.95)
        _paint_front(pose, half_length + 0.02, half * 0.96, looks)
    elif pose.eye_length < -half_length:
        length = -half_length - 0.02
        pose.end_box(length, -half * 0.8, half * 0.8, 1.6, 2.55, _GLASS)
        pose.end_box(length, -half * 0.7, half * 0.7, 2.15, 2.45, (0.35, 0.38, 0.4))
        pose.end_box(length, -half * 0.5, half * 0.5, 0.7, 1.15, (0.12, 0.12, 0.12))
        _paint_rear(pose, length, half * 0.96, 1.35, vehicle.moving)


def _paint_bus_side(pose: Pose, side: int, half_length: float, half: float, second: Color) -> None:
    """A row of windows, doors, a stripe and wheels."""
    normal = pose.normal(0.0, side, 0.0)
    width = side * (half + 0.01)

    def box(back: float, front: float, low: float, high: float, albedo: Color) -> None:
        pose.fill(
            ((back, width, low), (back, width, high), (front, width, high), (front, width, low)),
            albedo,
            normal,
        )

    box(-half_length, half_length, 0.45, 0.85, second)
    box(-half_length + 0.3, half_length - 0.2, 1.3, 2.45, _GLASS)
    if pose.pixels_per_metre() > 3.0:
        for i in range(1, 8):
            at = -half_length + 0.3 + i * (2 * half_length - 0.5) / 8
            box(at - 0.06, at + 0.06, 1.3, 2.45, (0.25, 0.26, 0.27))
    for door in (half_length - 1.5, -0.6):
        box(door, door + 1.1, 0.4, 2.45, (0.16, 0.2, 0.23))
    for length in (half_length - 2.4, -half_length + 2.6):
        pose.wheel(length, side, half + 0.02, 0.48, (0.45, 0.45, 0.45))


def _paint_truck(pose: Pose, vehicle: Vehicle, looks: Stream) -> None:
    """A cab and a cargo box; the nearer of the two is painted last."""
    cab = looks.choice(
        ((0.85, 0.85, 0.84), (0.65, 0.1, 0.08), (0.12, 0.25, 0.5), (0.8, 0.55, 0.12), (0.2, 0.4, 0.3))
    )
    cargo = looks.choice(
        ((0.88, 0.88, 0.86), (0.7, 0.7, 0.68), cab, colorsys.hsv_to_rgb(looks.unit(), 0.5, 0.6))
    )
    top = 3.0 + 0.4 * (vehicle.model % 3) / 2
    half = 1.2
    paint_shadow(pose, 3.6, half)
    _tyres_under_end(pose, 3.5, half, half - 0.4, "truck")
    parts = [
        lambda: _paint_cab(pose, cab, half, looks),
        lambda: _paint_cargo(pose, cargo, half, top, vehicle, looks),
    ]
    if pose.eye_length > 0:
        parts.reverse()
    for part in parts:
        part()
    side = pose.side_in_view(half)
    if side:
        for length in (2.6, -1.5, -2.6):
            pose.wheel(length, side, half + 0.02, 0.46, (0.42, 0.42, 0.42))


def _paint_cab(pose: Pose, color: Color, half: float, looks: Stream) -> None:
    outline = (
        (3.6, 0.35, half), (3.6, 1.25, half), (3.35, 2.25, half - 0.05), (3.1, 2.5, half - 0.1),
        (1.8, 2.5, half - 0.1), (1.8, 0.35, half),
    )  # fmt: skip
    paint_extruded(pose, outline, [color, _GLASS, color, color, color], color, "truck")
    side = pose.side_in_view(half)
    if side:
        w = side * (half + 0.01)
        window = ((2.1, w, 1.35), (2.1, w, 2.15), (3.1, w, 2.15), (3.35, w, 1.35))
        pose.fill(window, _GLASS, pose.normal(0.0, side, 0.0))
    if pose.eye_length > 3.6:
        _paint_front(pose, 3.62, half * 0.96, looks)
        pose.end_box(3.61, -half * 0.7, half * 0.7, 0.78, 1.1, (0.12, 0.12, 0.12))


def _paint_cargo(pose: Pose, color: Color, half: float, top: float, vehicle: Vehicle, looks: Stream) -> None:
    outline = ((1.65, 0.75, half), (1.65, top, half), (-3.6, top, half), (-3.6, 0.75, half))
    chassis = (
        (1.65, 0.4, half - 0.1),
        (1.65, 0.8, half - 0.1),
        (-3.6, 0.8, half - 0.1),
        (-3.6, 0.4, half - 0.1),
    )
    paint_extruded(pose, chassis, [_RUBBER] * 3, _RUBBER, "truck")
    paint_extruded(pose, outline, [color] * 3, color, "truck")
    side = pose.side_in_view(half)
    accent = colorsys.hsv_to_rgb(looks.unit(), 0.7, 0.6)
    if side:
        w = side * (half + 0.01)
        low, high = 0.75 + 0.35 * (top - 0.75), 0.75 + 0.65 * (top - 0.75)
        stripe = ((-2.9, w, low), (-2.9, w, high), (0.9, w, high), (0.9, w, low))
        pose.fill(stripe, accent, pose.normal(0.0, side, 0.0))
    if pose.eye_length < -3.6:
        length = -3.62
        for edge in (-half, -0.03, half - 0.06):
            pose.end_box(length, edge, edge + 0.06, 0.8, top, _times(color, 0.55))
        pose.end_box(length, -half, half, top - 0.1, top, _times(color, 0.6))
        pose.end_box(length, -half, half, 0.45, 0.62, (0.75, 0.15, 0.1))
        _paint_rear(pose, length, half * 0.96, 0.82, vehicle.moving)
