"""Poles and what hangs on them: street lamps, traffic lights, signs, bollards."""

import math

from datum.streetscenes.drawing.canvas import TOWARD_CAMERA, Canvas, Paint
from datum.streetscenes.drawing.colors import Color, scaled
from datum.streetscenes.drawing.elements import Bollard, Lamp, Sign, Standing, TrafficLight
from datum.streetscenes.drawing.streams import Stream

_FULL: Color = (1.0, 1.0, 1.0)
_LENSES: tuple[Color, ...] = ((1.0, 0.16, 0.1), (1.0, 0.72, 0.1), (0.15, 0.95, 0.45))


def paint_lamp(canvas: Canvas, lamp: Lamp, looks: Stream) -> None:
    """A mast with an arm and a lantern."""
    project, scale = canvas.camera.project, canvas.camera.scale(lamp.z)
    style = canvas.domain.style
    _paint_mast(canvas, lamp, lamp.height, 0.15, style.steel)
    knee = project(lamp.x, lamp.height, lamp.z)
    tip = project(lamp.x + lamp.arm, lamp.height + 0.3, lamp.z)
    paint = canvas.shade(style.steel, TOWARD_CAMERA, lamp.z)
    canvas.line((knee, tip), 0.1 * scale, paint, "pole")
    half, thin = 0.35 * scale, max(0.5, 0.1 * scale)
    if canvas.domain.lamps_on:
        paint = canvas.paint((1.0, 0.9, 0.65), _FULL, lamp.z)
        canvas.glow((tip[0], tip[1] + thin), 0.8 * scale, style.lamplight)
    canvas.post((tip[0], tip[1] + thin), (tip[0], tip[1] - thin), half, half, paint, "pole")


def paint_bollard(canvas: Canvas, bollard: Bollard, looks: Stream) -> None:
    """A short post with a pale band."""
    _paint_mast(canvas, bollard, bollard.height, 0.14, (0.3, 0.3, 0.32))
    half = 0.08 * canvas.camera.scale(bollard.z)
    u, v = canvas.camera.project(bollard.x, bollard.height * 0.85, bollard.z)
    band = canvas.shade((0.85, 0.85, 0.85), TOWARD_CAMERA, bollard.z)
    canvas.line(((u - half, v), (u + half, v)), half, band)


def paint_traffic_light(canvas: Canvas, light: TrafficLight, looks: Stream) -> None:
    """A post with one housing, and a second one over the road if it has an arm."""
    project, scale = canvas.camera.project, canvas.camera.scale(light.z)
    _paint_mast(canvas, light, light.height, 0.15, (0.32, 0.33, 0.32))
    state = looks.integer(0, 2)
    if light.arm:
        top, tip = (project(x, light.height, light.z) for x in (light.x, light.x + light.arm))
        canvas.line(
            (top, tip), 0.12 * scale, canvas.shade(canvas.domain.style.steel, TOWARD_CAMERA, light.z), "pole"
        )
        _paint_housing(canvas, light, light.x + light.arm, light.height + light.size * 0.3, state)
    _paint_housing(canvas, light, light.x, min(light.height, 3.4), state)


def paint_sign(canvas: Canvas, sign: Sign, looks: Stream) -> None:
    """A post with one plate: prohibition, warning, information, priority or stop."""
    style = canvas.domain.style
    _paint_mast(canvas, sign, sign.height, 0.08, (0.55, 0.56, 0.57))
    u, v = canvas.camera.project(sign.x, sign.height, sign.z)
    radius = max(1.3, sign.size * canvas.camera.scale(sign.z) / 2)
    front = canvas.light(TOWARD_CAMERA)
    light = (max(0.35, front[0]), max(0.35, front[1]), max(0.35, front[2]))  # plates throw headlight back
    red, white, blue, yellow, black = (
        canvas.paint(color, light, sign.z)
        for color in (style.sign_rim, style.sign_face, style.sign_plate, style.sign_priority, (0.1, 0.1, 0.1))
    )
    label = "traffic sign"

    def bar(half: float, thick: float, paint: Paint) -> None:
        canvas.line(((u - radius * half, v), (u + radius * half, v)), radius * thick, paint)

    def regular(
        size: float, corners: int, paint: Paint, label: str | None = None, turn: float = 0.0, low: float = 0.0
    ) -> None:
        angles = [turn + 2 * math.pi / corners * i for i in range(corners)]
        size, middle = radius * size, v + radius * low
        points = [(u + size * math.sin(angle), middle - size * math.cos(angle)) for angle in angles]
        canvas.polygon(points, paint, label)

    match sign.kind:
        case "round" if looks.chance(0.35):
            canvas.ellipse((u, v), radius, radius, blue, label)
            canvas.line(((u, v + radius * 0.5), (u, v - radius * 0.5)), radius * 0.3, white)
        case "round":
            canvas.ellipse((u, v), radius, radius, red, label)
            canvas.ellipse((u, v), radius * 0.66, radius * 0.66, white)
            if radius > 4.0:
                bar(0.3, 0.2, black)
        case "triangle":
            regular(1.15, 3, red, label)
            regular(0.62, 3, white, low=0.08)
        case "rectangle":
            canvas.box(u - radius * 0.85, u + radius * 0.85, v - radius, v + radius, blue, label)
            canvas.box(u - radius * 0.4, u + radius * 0.4, v - radius * 0.5, v + radius * 0.5, white)
        case "diamond":
            regular(1.15, 4, white, label)
            regular(0.8, 4, yellow)
        case "stop":
            regular(1.05, 8, red, label, turn=math.pi / 8)
            bar(0.6, 0.4, white)


def _paint_mast(canvas: Canvas, where: Standing, height: float, wide: float, color: Color) -> None:
    """A post from the ground up, `wide` meters across, with a bright line where it is near."""
    foot, top = (canvas.camera.project(where.x, y, where.z) for y in (0.0, height))
    half = max(0.35, wide * canvas.camera.scale(where.z) / 2)
    canvas.post(foot, top, half, half, canvas.shade(color, TOWARD_CAMERA, where.z), "pole")
    band = canvas.domain.style.pole_band
    if band:
        paint = canvas.shade(band, TOWARD_CAMERA, where.z)
        for low in (0.3, 0.55, 0.8):
            middle = foot[1] + low * (top[1] - foot[1]), foot[1] + (low + 0.12) * (top[1] - foot[1])
            canvas.box(foot[0] - half, foot[0] + half, middle[1], middle[0], paint)
    if half > 1.0:
        canvas.line((foot, top), 1, canvas.shade(scaled(color, 1.5), TOWARD_CAMERA, where.z))


def _paint_housing(canvas: Canvas, light: TrafficLight, x: float, top: float, state: int) -> None:
    """A dark box with three lenses, of which number `state` is lit."""
    u, v = canvas.camera.project(x, top, light.z)
    tall = light.size * canvas.camera.scale(light.z)
    half = max(2.2, 0.46 * tall) / 2
    dark = canvas.shade(canvas.domain.style.light_housing, TOWARD_CAMERA, light.z)
    canvas.box(u - half, u + half, v, v + tall, dark, "traffic light")
    for row, color in enumerate(_LENSES):
        on = row == state
        middle = (u, v + tall * (0.2 + 0.3 * row))
        radius = max(0.55 if on else 0.3, 0.135 * tall)
        paint = canvas.paint(color if on else scaled(color, 0.2), _FULL, light.z * 0.5)
        canvas.ellipse(middle, radius, radius, paint)
        if on:
            canvas.glow(middle, 1.6 * radius, color)
