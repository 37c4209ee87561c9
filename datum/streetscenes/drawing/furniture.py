"""Poles and what hangs on them: street lamps, traffic lights, signs, bollards."""

from __future__ import annotations

import math

from datum.streetscenes.drawing.camera import Pixel
from datum.streetscenes.drawing.canvas import TOWARDS_CAMERA, Canvas
from datum.streetscenes.drawing.domain import Color
from datum.streetscenes.drawing.elements import Bollard, Lamp, Sign, TrafficLight
from datum.streetscenes.drawing.streams import Stream

_STEEL: Color = (0.36, 0.38, 0.39)
_FULL: Color = (1.0, 1.0, 1.0)


def _post(canvas: Canvas, x: float, z: float, low: float, high: float, wide: float, color: Color) -> None:
    foot, top = canvas.camera.project(x, low, z), canvas.camera.project(x, high, z)
    half = max(0.35, wide * canvas.camera.scale(z) / 2)
    light = canvas.light(TOWARDS_CAMERA)
    canvas.polygon(
        (
            (foot[0] - half, foot[1]),
            (top[0] - half, top[1]),
            (top[0] + half, top[1]),
            (foot[0] + half, foot[1]),
        ),
        canvas.paint(color, light, z),
        "pole",
    )
    if half > 1.0:
        bright = (color[0] * 1.5, color[1] * 1.5, color[2] * 1.5)
        canvas.line((foot, top), 1, canvas.paint(bright, light, z))


def paint_lamp(canvas: Canvas, lamp: Lamp, looks: Stream) -> None:
    """A mast with an arm and a lantern."""
    scale = canvas.camera.scale(lamp.z)
    _post(canvas, lamp.x, lamp.z, 0.0, lamp.height, 0.15, _STEEL)
    paint = canvas.paint(_STEEL, canvas.light(TOWARDS_CAMERA), lamp.z)
    project = canvas.camera.project
    knee = project(lamp.x, lamp.height, lamp.z)
    tip = project(lamp.x + lamp.arm, lamp.height + 0.3, lamp.z)
    canvas.line((knee, tip), 0.1 * scale, paint, "pole")
    half, thin = 0.35 * scale, max(0.5, 0.1 * scale)
    lit = canvas.domain.lamps > 0.2
    paint = canvas.paint((1.0, 0.9, 0.65), _FULL, lamp.z) if lit else paint
    canvas.polygon(
        (
            (tip[0] - half, tip[1] + thin),
            (tip[0] - half, tip[1] - thin),
            (tip[0] + half, tip[1] - thin),
            (tip[0] + half, tip[1] + thin),
        ),
        paint,
        "pole",
    )
    if lit:
        canvas.glow((tip[0], tip[1] + thin), 0.8 * scale, (1.0, 0.8, 0.5))


def paint_bollard(canvas: Canvas, bollard: Bollard, looks: Stream) -> None:
    """A short post with a pale band."""
    _post(canvas, bollard.x, bollard.z, 0.0, bollard.height, 0.14, (0.3, 0.3, 0.32))
    half = 0.08 * canvas.camera.scale(bollard.z)
    u, v = canvas.camera.project(bollard.x, bollard.height * 0.85, bollard.z)
    band = canvas.paint((0.85, 0.85, 0.85), canvas.light(TOWARDS_CAMERA), bollard.z)
    canvas.line(((u - half, v), (u + half, v)), half, band)


def paint_traffic_light(canvas: Canvas, light: TrafficLight, looks: Stream) -> None:
    """A post with one housing, and a second one over the road if it has an arm."""
    project, scale = canvas.camera.project, canvas.camera.scale(light.z)
    _post(canvas, light.x, light.z, 0.0, light.height, 0.15, (0.32, 0.33, 0.32))
    state = looks.integer(0, 2)
    if light.arm:
        paint = canvas.paint(_STEEL, canvas.light(TOWARDS_CAMERA), light.z)
        canvas.line(
            (project(light.x, light.height, light.z), project(light.x + light.arm, light.height, light.z)),
            0.12 * scale,
            paint,
            "pole",
        )
        _housing(canvas, light, light.x + light.arm, light.height + light.size * 0.3, state)
    _housing(canvas, light, light.x, min(light.height, 3.4), state)


def _housing(canvas: Canvas, light: TrafficLight, x: float, top: float, state: int) -> None:
    scale = canvas.camera.scale(light.z)
    u, v = canvas.camera.project(x, top, light.z)
    tall = light.size * scale
    wide = max(2.2, 0.46 * tall)
    dark = canvas.paint((0.1, 0.105, 0.1), canvas.light(TOWARDS_CAMERA), light.z)
    canvas.polygon(_box(u, v, wide, tall), dark, "traffic light")
    colors: tuple[Color, ...] = ((1.0, 0.16, 0.1), (1.0, 0.72, 0.1), (0.15, 0.95, 0.45))
    for row, color in enumerate(colors):
        on = row == state
        middle = (u, v + tall * (0.2 + 0.3 * row))
        shade: Color = color if on else (color[0] * 0.2, color[1] * 0.2, color[2] * 0.2)
        radius = max(0.55 if on else 0.3, 0.135 * tall)
        canvas.ellipse(middle, radius, radius, canvas.paint(shade, _FULL, light.z * 0.5))
        if on:
            canvas.glow(middle, 1.6 * radius, color)


def _box(u: float, v: float, wide: float, tall: float) -> tuple[Pixel, ...]:
    return ((u - wide / 2, v), (u + wide / 2, v), (u + wide / 2, v + tall), (u - wide / 2, v + tall))


def _regular(u: float, v: float, radius: float, corners: int, turn: float) -> list[Pixel]:
    step = 2 * math.pi / corners
    return [
        (u + radius * math.sin(turn + step * i), v - radius * math.cos(turn + step * i))
        for i in range(corners)
    ]


def paint_sign(canvas: Canvas, sign: Sign, looks: Stream) -> None:
    """A post with one plate: prohibition, warning, information, priority or stop."""
    _post(canvas, sign.x, sign.z, 0.0, sign.height, 0.08, (0.55, 0.56, 0.57))
    scale = canvas.camera.scale(sign.z)
    u, v = canvas.camera.project(sign.x, sign.height, sign.z)
    radius = max(1.3, sign.size * scale / 2)
    front = canvas.light(TOWARDS_CAMERA)
    light = (max(0.35, front[0]), max(0.35, front[1]), max(0.35, front[2]))  # plates throw head light back

    def paint(color: Color) -> tuple[float, float, float]:
        return canvas.paint(color, light, sign.z)

    red, white, blue, yellow = (0.82, 0.08, 0.1), (0.95, 0.95, 0.95), (0.1, 0.28, 0.75), (0.95, 0.75, 0.1)
    label = "traffic sign"
    if sign.kind == "round":
        if looks.chance(0.35):
            canvas.ellipse((u, v), radius, radius, paint(blue), label)
            canvas.line(((u, v + radius * 0.5), (u, v - radius * 0.5)), radius * 0.3, paint(white))
        else:
            canvas.ellipse((u, v), radius, radius, paint(red), label)
            canvas.ellipse((u, v), radius * 0.66, radius * 0.66, paint(white))
            if radius > 4.0:
                canvas.line(
                    ((u - radius * 0.3, v), (u + radius * 0.3, v)), radius * 0.2, paint((0.1, 0.1, 0.1))
                )
    elif sign.kind == "triangle":
        canvas.polygon(_regular(u, v, radius * 1.15, 3, 0.0), paint(red), label)
        canvas.polygon(_regular(u, v + radius * 0.08, radius * 0.62, 3, 0.0), paint(white))
    elif sign.kind == "rectangle":
        canvas.polygon(_box(u, v - radius, radius * 1.7, radius * 2.0), paint(blue), label)
        canvas.polygon(_box(u, v - radius * 0.5, radius * 0.8, radius), paint(white))
    elif sign.kind == "diamond":
        canvas.polygon(_regular(u, v, radius * 1.15, 4, 0.0), paint(white), label)
        canvas.polygon(_regular(u, v, radius * 0.8, 4, 0.0), paint(yellow))
    else:
        canvas.polygon(_regular(u, v, radius * 1.05, 8, math.pi / 8), paint(red), label)
        canvas.line(((u - radius * 0.6, v), (u + radius * 0.6, v)), radius * 0.4, paint(white))
