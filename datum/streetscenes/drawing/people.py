"""Pedestrians, and the bodies of riders."""

import colorsys
import math
from collections.abc import Sequence

from datum.streetscenes.drawing.camera import Pixel
from datum.streetscenes.drawing.canvas import TOWARD_CAMERA, Canvas, Paint
from datum.streetscenes.drawing.colors import Color, scaled
from datum.streetscenes.drawing.elements import Person
from datum.streetscenes.drawing.ground import paint_contact_shadow
from datum.streetscenes.drawing.streams import Stream
from datum.streetscenes.drawing.style import Style

SKINS: tuple[Color, ...] = ((0.82, 0.62, 0.5), (0.7, 0.5, 0.38), (0.45, 0.3, 0.22), (0.88, 0.7, 0.6))
HAIRS: tuple[Color, ...] = ((0.1, 0.08, 0.07), (0.25, 0.16, 0.1), (0.55, 0.42, 0.22), (0.5, 0.5, 0.5))


def clothes(style: Style, looks: Stream) -> Color:
    """A color of a garment: often dark or gray, sometimes bright.

    It takes as many numbers in every style: what is asked of `looks` afterwards decides outlines.
    """
    (first, last), brightness = style.clothes_hues, style.clothes_brightness
    if looks.chance(0.45):
        share = looks.unit()
        if style.dark_clothes:
            level = 0.06 + (0.4 - 0.06) * share
            return (level, level, level * 1.1)
        return colorsys.hsv_to_rgb(first + (last - first) * share, 0.75, brightness[1])
    hue, saturation = looks.uniform(first, last), looks.uniform(0.3, 0.85)
    return colorsys.hsv_to_rgb(hue, saturation, looks.uniform(*brightness))


def legwear(style: Style, looks: Stream) -> Color:
    """A color of trousers: denim, black, gray or beige."""
    shade = looks.uniform(0.6, 1.3)
    return scaled(looks.choice(style.legwear), shade)


class _Figure:
    """Draws in shares of a person's height: across from the middle, up from the ground."""

    def __init__(self, canvas: Canvas, person: Person) -> None:
        self.canvas, self.person = canvas, person
        self.size = person.height * canvas.camera.scale(person.z)  # pixels
        self.foot = canvas.camera.project(person.x, 0.0, person.z)
        self.profile = abs(math.sin(person.facing))  # 1: seen from the side
        self.ahead = math.sin(person.facing)  # of which this much looks to the right
        self.swing = math.sin(2 * math.pi * person.gait) if person.gait >= 0 else 0.12

    def at(self, across: float, up: float) -> Pixel:
        return (self.foot[0] + across * self.size, self.foot[1] - up * self.size)

    def paint(self, color: Color, factor: float = 1.0) -> Paint:
        return self.canvas.shade(scaled(color, factor), TOWARD_CAMERA, self.person.z)

    def fill(self, points: Sequence[tuple[float, float]], paint: Paint, label: str | None = "person") -> None:
        self.canvas.polygon([self.at(*p) for p in points], paint, label)


def paint_person(canvas: Canvas, person: Person, looks: Stream) -> None:
    """A pedestrian who stands or walks, seen from the front, the back or the side."""
    figure = _Figure(canvas, person)
    style = canvas.domain.style
    top, trousers = clothes(style, looks), legwear(style, looks)
    skin, hair = looks.choice(SKINS), looks.choice(HAIRS)
    paint_contact_shadow(canvas, person.x, person.z, 0.32, 0.2)
    _paint_legs(figure, trousers)
    _paint_trunk(figure, top, hem=0.32 if looks.chance(0.3) else 0.46)
    if looks.chance(0.3):
        side = looks.sign() * (0.175 - 0.05 * figure.profile)
        bag = ((side - 0.05, 0.52), (side + 0.05, 0.52), (side + 0.06, 0.36), (side - 0.06, 0.36))
        figure.fill(bag, figure.paint(clothes(style, looks)))
    head, radius = figure.at(0.01 * figure.ahead, 0.925), 0.072 * figure.size
    paint_head(canvas, head, radius, figure.paint(skin), figure.paint(hair), person.facing, "person")


def _paint_legs(figure: _Figure, trousers: Color) -> None:
    stride = 0.13 * figure.swing * (0.25 + 0.75 * figure.profile)
    toe, heel = 0.05 * max(0.0, figure.ahead), 0.05 * min(0.0, figure.ahead)
    for leg, shade in ((-1, 0.8), (1, 1.0)):
        hip = 0.045 * leg * (1.0 - 0.6 * figure.profile)
        foot = hip * 1.1 + stride * leg
        lift = 0.02 * max(0.0, figure.swing * leg)
        ankle = 0.02 + lift
        shin = ((hip - 0.05, 0.5), (hip + 0.05, 0.5), (foot + 0.033, ankle), (foot - 0.033, ankle))
        figure.fill(shin, figure.paint(trousers, shade))
        left, right = foot - 0.035 + heel, foot + 0.035 + toe
        shoe = ((foot - 0.035, 0.035 + lift), (right, 0.03 + lift), (right, lift), (left, lift))
        figure.fill(shoe, figure.paint((0.09, 0.08, 0.08)))


def _paint_trunk(figure: _Figure, top: Color, hem: float) -> None:
    """The far arm, the trunk with its shaded side, the near arm."""
    shoulder = 0.135 - 0.05 * figure.profile
    reach = 0.1 * figure.swing * (0.3 + 0.7 * figure.profile)
    _paint_arm(figure, 0.01 - shoulder, reach - shoulder - 0.02, figure.paint(top, 0.75))
    hips = shoulder * 0.85
    trunk = ((-shoulder, 0.81), (-0.05, 0.85), (0.05, 0.85), (shoulder, 0.81), (hips, hem), (-hips, hem))
    figure.fill(trunk, figure.paint(top))
    if figure.size > 14.0:
        away = -math.copysign(1.0, math.sin(math.radians(figure.canvas.domain.sun_azimuth)))
        shaded = ((0.0, 0.83), (shoulder * away, 0.81), (hips * away, hem), (0.0, hem))
        figure.fill(shaded, figure.paint(top, 0.78), label=None)
    band = figure.canvas.domain.style.clothes_band
    if band:
        around = ((-shoulder, 0.68), (shoulder, 0.68), (shoulder, 0.6), (-shoulder, 0.6))
        figure.fill(around, figure.paint(band), label=None)
    _paint_arm(figure, shoulder - 0.01, shoulder + 0.02 - reach, figure.paint(top, 0.9))


def _paint_arm(figure: _Figure, shoulder: float, hand: float, paint: Paint) -> None:
    arm = ((shoulder - 0.026, 0.8), (shoulder + 0.026, 0.8), (hand + 0.021, 0.47), (hand - 0.021, 0.47))
    figure.fill(arm, paint)


def paint_head(
    canvas: Canvas, center: Pixel, radius: float, skin: Paint, hair: Paint, facing: float, label: str
) -> None:
    """A head with hair: all hair from behind, a face below it from the front."""
    toward = -math.cos(facing)
    wide = max(0.6, radius * 0.86)
    canvas.ellipse(center, wide, max(0.7, radius * 1.08), hair, label)
    if toward > -0.4:
        shift = 0.3 * wide * math.sin(facing)
        canvas.ellipse((center[0] + shift, center[1] + 0.28 * radius), wide * 0.78, radius * 0.76, skin)
