"""Pedestrians, and the bodies of riders."""

from __future__ import annotations

import colorsys
import math

from datum.datasets.streetscenes.camera import Pixel
from datum.datasets.streetscenes.canvas import TOWARDS_CAMERA, Canvas, Paint
from datum.datasets.streetscenes.domain import Color
from datum.datasets.streetscenes.elements import Person
from datum.datasets.streetscenes.ground import paint_contact_shadow
from datum.datasets.streetscenes.streams import Stream

SKINS: tuple[Color, ...] = ((0.82, 0.62, 0.5), (0.7, 0.5, 0.38), (0.45, 0.3, 0.22), (0.88, 0.7, 0.6))
HAIRS: tuple[Color, ...] = ((0.1, 0.08, 0.07), (0.25, 0.16, 0.1), (0.55, 0.42, 0.22), (0.5, 0.5, 0.5))


def clothes(looks: Stream) -> Color:
    """A colour of a garment: often dark or grey, sometimes bright."""
    if looks.chance(0.45):
        level = looks.uniform(0.06, 0.4)
        return (level, level, level * 1.1)
    return colorsys.hsv_to_rgb(looks.unit(), looks.uniform(0.3, 0.85), looks.uniform(0.3, 0.85))


def legwear(looks: Stream) -> Color:
    """A colour of trousers: denim, black, grey or beige."""
    shade = looks.uniform(0.6, 1.3)
    red, green, blue = looks.choice(
        ((0.16, 0.22, 0.38), (0.1, 0.1, 0.11), (0.3, 0.3, 0.32), (0.5, 0.43, 0.32))
    )
    return (red * shade, green * shade, blue * shade)


def paint_person(canvas: Canvas, person: Person, looks: Stream) -> None:
    """A pedestrian who stands or walks, seen from the front, the back or the side."""
    h, z = person.height, person.z
    scale = canvas.camera.scale(z)
    foot_u, foot_v = canvas.camera.project(person.x, 0.0, z)
    light = canvas.light(TOWARDS_CAMERA)
    paint_contact_shadow(canvas, person.x, z, 0.32, 0.2)
    profile = abs(math.sin(person.facing))  # 1: seen from the side
    ahead = math.copysign(1.0, math.sin(person.facing)) * profile
    swing = math.sin(2 * math.pi * person.gait) if person.gait >= 0 else 0.12

    def at(across: float, up: float) -> Pixel:
        return (foot_u + across * h * scale, foot_v - up * h * scale)

    def painted(color: Color, factor: float = 1.0) -> Paint:
        return canvas.paint((color[0] * factor, color[1] * factor, color[2] * factor), light, z)

    top, trousers = clothes(looks), legwear(looks)
    skin, hair = looks.choice(SKINS), looks.choice(HAIRS)
    coat = looks.chance(0.3)
    shoulder = 0.135 - 0.05 * profile
    stride = 0.13 * swing * (0.25 + 0.75 * profile)
    for leg, shade in ((-1, 0.8), (1, 1.0)):
        hip = 0.045 * leg * (1.0 - 0.6 * profile)
        foot = hip * 1.1 + stride * leg
        lift = 0.02 * max(0.0, swing * leg)
        shape = [
            at(hip - 0.05, 0.5), at(hip + 0.05, 0.5),
            at(foot + 0.033, 0.02 + lift), at(foot - 0.033, 0.02 + lift),
        ]  # fmt: skip
        canvas.polygon(shape, painted(trousers, shade), "person")
        shoe = [
            at(foot - 0.035, 0.035 + lift), at(foot + 0.035 + 0.05 * max(0.0, ahead), 0.03 + lift),
            at(foot + 0.035 + 0.05 * max(0.0, ahead), lift), at(foot - 0.035 + 0.05 * min(0.0, ahead), lift),
        ]  # fmt: skip
        canvas.polygon(shoe, painted((0.09, 0.08, 0.08)), "person")
    hem = 0.32 if coat else 0.46
    reach = 0.1 * swing * (0.3 + 0.7 * profile)
    _arm(canvas, at(-shoulder + 0.01, 0.8), at(-shoulder - 0.02 + reach, 0.47), h * scale, painted(top, 0.75))
    torso = [
        at(-shoulder, 0.81), at(-0.05, 0.85), at(0.05, 0.85), at(shoulder, 0.81),
        at(shoulder * 0.85, hem), at(-shoulder * 0.85, hem),
    ]  # fmt: skip
    canvas.polygon(torso, painted(top), "person")
    lit_side = math.copysign(1.0, math.sin(math.radians(canvas.domain.sun_azimuth)))
    dark = [at(0.0, 0.83), at(-shoulder * lit_side, 0.81), at(-shoulder * 0.85 * lit_side, hem), at(0.0, hem)]
    canvas.polygon(dark, painted(top, 0.78))
    _arm(canvas, at(shoulder - 0.01, 0.8), at(shoulder + 0.02 - reach, 0.47), h * scale, painted(top, 0.9))
    if looks.chance(0.3):
        bag = clothes(looks)
        side = looks.sign() * (shoulder + 0.04)
        corners = [at(side - 0.05, 0.52), at(side + 0.05, 0.52), at(side + 0.06, 0.36), at(side - 0.06, 0.36)]
        canvas.polygon(corners, painted(bag), "person")
    paint_head(
        canvas,
        at(0.01 * ahead, 0.925),
        0.072 * h * scale,
        painted(skin),
        painted(hair),
        person.facing,
        "person",
    )


def _arm(canvas: Canvas, shoulder: Pixel, hand: Pixel, size: float, paint: Paint) -> None:
    half = 0.026 * size
    corners = (
        (shoulder[0] - half, shoulder[1]), (shoulder[0] + half, shoulder[1]),
        (hand[0] + half * 0.8, hand[1]), (hand[0] - half * 0.8, hand[1]),
    )  # fmt: skip
    canvas.polygon(corners, paint, "person")


def paint_head(
    canvas: Canvas, center: Pixel, radius: float, skin: Paint, hair: Paint, facing: float, label: str
) -> None:
    """A head with hair: all hair from behind, a face below it from the front."""
    towards = -math.cos(facing)
    wide = max(0.6, radius * 0.86)
    canvas.ellipse(center, wide, max(0.7, radius * 1.08), hair, label)
    if towards > -0.4:
        shift = 0.3 * wide * math.sin(facing)
        canvas.ellipse((center[0] + shift, center[1] + 0.28 * radius), wide * 0.78, radius * 0.76, skin)
