"""Cars, trucks, buses and trams, seen from any direction."""

import colorsys
import math
from typing import NamedTuple

from datum.streetscenes.drawing.canvas import UP, Canvas
from datum.streetscenes.drawing.colors import Color, scaled
from datum.streetscenes.drawing.elements import Vehicle
from datum.streetscenes.drawing.solids import Outline, Point, Pose
from datum.streetscenes.drawing.streams import Stream

_NEAR = 4.2
"""Pixels per meter from which a car's windows and plates are drawn."""
_DETAILED = 6.0
"""Pixels per meter from which bumpers are drawn."""
_BELT = 0.92
"""Height of the lower edge of a car's side windows."""
_WINDSHIELD, _ROOF, _REAR_WINDOW = 3, 4, 5
"""Strips of a car's outline."""
_TRAM_END, _TRAM_HALF = 7.5, 1.2
"""Half the length and half the width of a tram, meters."""
_GLASS: Color = (0.1, 0.13, 0.16)
_RUBBER: Color = (0.05, 0.05, 0.055)


class _Car(NamedTuple):
    outline: Outline
    windows: tuple[tuple[float, float], ...]
    """Side windows: length and height of the four corners of the glass."""


def _car(hood: float, screen: float, roof: float, tail: float, trunk: float, top: float) -> _Car:
    """A car from the lengths (meters ahead of its middle) where its parts meet, and its roof's height."""
    wide, narrow = 0.88, 0.68
    outline = (
        (2.15, 0.22, wide), (2.18, 0.62, wide), (2.05, 0.76, wide), (hood, _BELT + 0.02, wide),
        (screen, top - 0.03, narrow), (roof, top, narrow), (tail, _BELT + 0.06, wide),
        (trunk, _BELT, wide), (-2.15, 0.62, wide), (-2.12, 0.22, wide),
    )  # fmt: skip
    windows = (
        (hood - 0.35, _BELT), (screen - 0.12, top - 0.12), (roof + 0.05, top - 0.1), (tail + 0.3, _BELT)
    )  # fmt: skip
    return _Car(outline, windows)


_CARS = (
    _car(1.05, 0.3, -0.9, -1.55, -2.05, 1.46),  # sedan
    _car(1.15, 0.4, -1.55, -2.0, -2.1, 1.5),  # hatchback
    _car(1.2, 0.6, -1.75, -2.05, -2.12, 1.74),  # off-roader
    _car(1.5, 0.9, -1.95, -2.1, -2.14, 1.95),  # van
)


def paint_vehicle(canvas: Canvas, vehicle: Vehicle, looks: Stream) -> None:
    """Paint a car, truck, bus or tram with its shadow."""
    paint = {"car": _paint_car, "bus": _paint_bus, "truck": _paint_truck, "train": _paint_tram}[vehicle.kind]
    paint(Pose(canvas, vehicle.x, vehicle.z, vehicle.heading), vehicle, looks)


def _paint_car(pose: Pose, vehicle: Vehicle, looks: Stream) -> None:
    car = _CARS[vehicle.model % len(_CARS)]
    style = pose.canvas.domain.style
    color = looks.choice(style.car_paints)
    if pose.pixels_per_meter > _NEAR:
        pose.shadow(2.1, 0.88)
        _tires_under_end(pose, 2.0, 0.88, 0.62, "car")
    paints = [color] * (len(car.outline) - 1)
    paints[_WINDSHIELD] = paints[_REAR_WINDOW] = _GLASS
    paints[_ROOF] = style.car_roof or color
    pose.extruded(car.outline, paints, color, "car")
    if pose.pixels_per_meter < _NEAR:
        _paint_far_lights(pose)
        return
    _paint_glass_shine(pose, car)
    side = pose.side_in_view(0.88)
    if side:
        _paint_car_side(pose, car, side, color)
    if pose.eye_length > 2.2:
        _paint_front(pose, 2.16, 0.86)
    elif pose.eye_length < -2.2:
        _paint_rear(pose, -2.15, 0.86, 0.78, vehicle.moving and looks.chance(0.5))


def _paint_far_lights(pose: Pose) -> None:
    """Headlights or taillights of a car too far away for anything else to be seen."""
    coming = pose.eye_length > 0
    length, color = (2.16, (0.95, 0.95, 0.88)) if coming else (-2.15, (0.75, 0.06, 0.05))
    for side in (-1, 1):
        pose.end_box(length, side * 0.84, side * 0.55, 0.5, 0.72, color, 0.6)
        _lamp_on(pose, length, side * 0.7, 0.6, color, 0.4)


def _tires_under_end(pose: Pose, half_length: float, half_width: float, inner: float, label: str) -> None:
    """The two tires that show below the front or rear."""
    end = math.copysign(half_length - 0.35, pose.eye_length)
    for side in (-1, 1):
        pose.end_box(end, side * half_width, side * inner, 0.0, 0.5, _RUBBER, label=label)


def _paint_glass_shine(pose: Pose, car: _Car) -> None:
    """The sky mirrored in the upper half of the windshield or rear window."""
    strip = slice(3, 5) if pose.eye_length > 0 else slice(6, 4, -1)
    (l0, h0, w0), (l1, h1, w1) = car.outline[strip]
    if abs(pose.eye_length) < abs(l0):
        return
    sky = pose.canvas.domain.sky_horizon
    albedo = (0.12 + 0.3 * sky[0], 0.14 + 0.3 * sky[1], 0.17 + 0.3 * sky[2])

    def across(share: float, side: int) -> Point:
        return l0 + share * (l1 - l0), side * (w0 + share * (w1 - w0)) * 0.88, h0 + share * (h1 - h0)

    pose.fill((across(0.45, -1), across(0.86, -1), across(0.86, 1), across(0.45, 1)), albedo, UP)


def _paint_car_side(pose: Pose, car: _Car, side: int, color: Color) -> None:
    """Windows with a pillar between them, sill, crease and wheels."""
    top = car.outline[_REAR_WINDOW][1]

    def fill(corners: tuple[tuple[float, float], ...], albedo: Color) -> None:
        points = []
        for length, height in corners:
            share = max(0.0, (height - _BELT) / (top - _BELT))  # above the belt the side leans inwards
            points.append((length, side * (0.885 - 0.2 * share), height))
        pose.fill(points, albedo, pose.normal(0.0, side, 0.0))

    fill(car.windows, _GLASS)
    post = (car.windows[0][0] + car.windows[3][0]) / 2 + 0.1
    back, front = post - 0.05, post + 0.05
    fill(((back, _BELT), (back, top - 0.1), (front, top - 0.1), (front, _BELT)), scaled(color, 0.8))
    fill(((-2.1, 0.22), (-2.1, 0.36), (2.1, 0.36), (2.1, 0.22)), scaled(color, 0.4))
    if pose.pixels_per_meter > _DETAILED:
        fill(((-2.1, 0.68), (-2.1, 0.76), (2.1, 0.72), (2.1, 0.66)), scaled(color, 1.25))
    for length in (1.35, -1.35):
        pose.wheel(length, side, 0.89, 0.33, (0.5, 0.51, 0.52))
    band = pose.canvas.domain.style.car_band
    if band:
        for i in range(6):
            back, low = -0.95 + 0.32 * i, 0.5 + 0.14 * (i % 2)
            fill(((back, low), (back, low + 0.14), (back + 0.32, low + 0.14), (back + 0.32, low)), band)


def _lamp_on(pose: Pose, length: float, width: float, height: float, color: Color, radius: float) -> None:
    if pose.canvas.domain.lamps_on:
        pose.canvas.glow(pose.at(length, width, height), radius * pose.pixels_per_meter, color)


def _paint_front(pose: Pose, length: float, half: float) -> None:
    """Headlights, grille, bumper and license plate."""
    if pose.pixels_per_meter > _DETAILED:
        pose.end_box(length, -half, half, 0.22, 0.4, (0.12, 0.12, 0.13))
    pose.end_box(length, -0.42, 0.42, 0.48, 0.66, (0.08, 0.08, 0.09))
    glow = 1.1 if pose.canvas.domain.lamps_on else 0.6
    for side in (-1, 1):
        pose.end_box(length, side * half * 0.96, side * half * 0.58, 0.5, 0.69, (0.95, 0.95, 0.88), glow)
        _lamp_on(pose, length, side * half * 0.78, 0.6, (1.0, 0.95, 0.8), 0.45)
    pose.end_box(length, -0.28, 0.28, 0.36, 0.48, (0.9, 0.9, 0.88))


def _paint_rear(pose: Pose, length: float, half: float, lamp_top: float, braking: bool) -> None:
    """Taillights, bumper and license plate."""
    band = pose.canvas.domain.style.car_band
    if band:
        pose.end_box(length, -half, half, lamp_top, lamp_top + 0.12, band)
    if pose.pixels_per_meter > _DETAILED:
        pose.end_box(length, -half, half, 0.22, 0.38, (0.14, 0.14, 0.15))
    on = pose.canvas.domain.lamps_on or braking
    red, glow = ((0.95, 0.08, 0.06), 0.9) if on else ((0.6, 0.05, 0.05), 0.0)
    for side in (-1, 1):
        pose.end_box(length, side * half * 0.98, side * half * 0.66, lamp_top - 0.24, lamp_top, red, glow)
        _lamp_on(pose, length, side * half * 0.8, lamp_top - 0.1, (1.0, 0.15, 0.1), 0.3)
    pose.end_box(length, -0.28, 0.28, 0.5, 0.63, (0.92, 0.88, 0.6))


def _paint_bus(pose: Pose, vehicle: Vehicle, looks: Stream) -> None:
    end, half, top = 5.4, 1.25, 3.1
    style = pose.canvas.domain.style
    color, stripe = looks.choice(style.bus_paints), looks.choice(style.bus_stripes)
    outline = (
        (end, 0.3, half), (end, 1.1, half), (end - 0.12, 2.85, half), (end - 0.3, top, half - 0.1),
        (-end + 0.3, top, half - 0.1), (-end, 2.85, half), (-end, 0.3, half),
    )  # fmt: skip
    pose.shadow(end, half)
    _tires_under_end(pose, end, half, half - 0.35, "bus")
    pose.extruded(outline, [color] * 6, color, "bus")
    side = pose.side_in_view(half)
    if side:
        _paint_bus_side(pose, side, end, half, stripe)
    if pose.eye_length > end:
        length, sky = end - 0.02, scaled(pose.canvas.domain.sky_horizon, 0.4)
        pose.end_box(length, -half * 0.92, half * 0.92, 1.05, 2.4, _GLASS)
        pose.end_box(length, -half * 0.85, half * 0.85, 1.8, 2.3, sky, 0.7)
        pose.end_box(length, -0.04, 0.04, 1.05, 2.4, _RUBBER)
        pose.end_box(length, -half * 0.75, half * 0.75, 2.52, 2.85, (0.06, 0.06, 0.06))
        pose.end_box(length, -half * 0.6, half * 0.6, 2.6, 2.78, (1.0, 0.65, 0.15), 0.95)
        _paint_front(pose, end + 0.02, half * 0.96)
    elif pose.eye_length < -end:
        length = -end - 0.02
        pose.end_box(length, -half * 0.8, half * 0.8, 1.6, 2.55, _GLASS)
        pose.end_box(length, -half * 0.7, half * 0.7, 2.15, 2.45, (0.35, 0.38, 0.4))
        pose.end_box(length, -half * 0.5, half * 0.5, 0.7, 1.15, (0.12, 0.12, 0.12))
        _paint_rear(pose, length, half * 0.96, 1.35, vehicle.moving)


def _paint_bus_side(pose: Pose, side: int, end: float, half: float, stripe: Color) -> None:
    """A row of windows, doors, a stripe and wheels."""
    wall = half + 0.01
    pose.side_box(side, wall, -end, end, 0.45, 0.85, stripe)
    pose.side_box(side, wall, -end + 0.3, end - 0.2, 1.3, 2.45, _GLASS)
    if pose.pixels_per_meter > 3.0:
        for i in range(1, 8):
            at = -end + 0.3 + i * (2 * end - 0.5) / 8
            pose.side_box(side, wall, at - 0.06, at + 0.06, 1.3, 2.45, (0.25, 0.26, 0.27))
    for door in (end - 1.5, -0.6):
        pose.side_box(side, wall, door, door + 1.1, 0.4, 2.45, (0.16, 0.2, 0.23))
    for length in (end - 2.4, -end + 2.6):
        pose.wheel(length, side, half + 0.02, 0.48, (0.45, 0.45, 0.45))


def _paint_truck(pose: Pose, vehicle: Vehicle, looks: Stream) -> None:
    """A cab and a cargo box; the nearer of the two is painted last."""
    cab = looks.choice(pose.canvas.domain.style.cab_paints)
    own = colorsys.hsv_to_rgb(looks.unit(), 0.5, 0.6)
    cargo = looks.choice(((0.88, 0.88, 0.86), (0.7, 0.7, 0.68), cab, own))
    accent = colorsys.hsv_to_rgb(looks.unit(), 0.7, 0.6)
    top, half = 3.0 + 0.4 * (vehicle.model % 3) / 2, 1.2
    pose.shadow(3.6, half)
    _tires_under_end(pose, 3.5, half, half - 0.4, "truck")
    if pose.eye_length <= 0:
        _paint_cab(pose, cab, half)
    _paint_cargo(pose, cargo, accent, half, top)
    if pose.eye_length > 0:
        _paint_cab(pose, cab, half)
    if pose.eye_length < -3.6:
        _paint_cargo_doors(pose, cargo, half, top, vehicle.moving)
    side = pose.side_in_view(half)
    if side:
        for length in (2.6, -1.5, -2.6):
            pose.wheel(length, side, half + 0.02, 0.46, (0.42, 0.42, 0.42))


def _paint_cab(pose: Pose, color: Color, half: float) -> None:
    outline = (
        (3.6, 0.35, half), (3.6, 1.25, half), (3.35, 2.25, half - 0.05), (3.1, 2.5, half - 0.1),
        (1.8, 2.5, half - 0.1), (1.8, 0.35, half),
    )  # fmt: skip
    pose.extruded(outline, [color, _GLASS, color, color, color], color, "truck")
    side = pose.side_in_view(half)
    if side:
        wall = side * (half + 0.01)
        window = ((2.1, wall, 1.35), (2.1, wall, 2.15), (3.1, wall, 2.15), (3.35, wall, 1.35))
        pose.fill(window, _GLASS, pose.normal(0.0, side, 0.0))
    if pose.eye_length > 3.6:
        _paint_front(pose, 3.62, half * 0.96)
        pose.end_box(3.61, -half * 0.7, half * 0.7, 0.78, 1.1, (0.12, 0.12, 0.12))


def _paint_cargo(pose: Pose, color: Color, accent: Color, half: float, top: float) -> None:
    """The chassis and a box with a stripe."""
    inner = half - 0.1
    chassis = ((1.65, 0.4, inner), (1.65, 0.8, inner), (-3.6, 0.8, inner), (-3.6, 0.4, inner))
    box = ((1.65, 0.75, half), (1.65, top, half), (-3.6, top, half), (-3.6, 0.75, half))
    pose.extruded(chassis, [_RUBBER] * 3, _RUBBER, "truck")
    pose.extruded(box, [color] * 3, color, "truck")
    side = pose.side_in_view(half)
    if side:
        low, high = 0.75 + 0.35 * (top - 0.75), 0.75 + 0.65 * (top - 0.75)
        pose.side_box(side, half + 0.01, -2.9, 0.9, low, high, accent)
        for i, stripe in enumerate(5 * (pose.canvas.domain.style.tarpaulin or ())):
            back = -3.6 + 0.525 * i
            pose.side_box(side, half + 0.01, back, back + 0.525, 0.8, top, stripe)


def _paint_cargo_doors(pose: Pose, color: Color, half: float, top: float, braking: bool) -> None:
    length = -3.62
    for edge in (-half, -0.03, half - 0.06):
        pose.end_box(length, edge, edge + 0.06, 0.8, top, scaled(color, 0.55))
    pose.end_box(length, -half, half, top - 0.1, top, scaled(color, 0.6))
    pose.end_box(length, -half, half, 0.45, 0.62, (0.75, 0.15, 0.1))
    _paint_rear(pose, length, half * 0.96, 0.82, braking)


def _paint_tram(pose: Pose, vehicle: Vehicle, looks: Stream) -> None:
    """Two or three low sections with bellows between them; the nearest is painted last."""
    style = pose.canvas.domain.style
    color, skirt = looks.choice(style.tram_paints), looks.choice(style.tram_skirts)
    count, gap = 2 + vehicle.model % 2, 0.5
    length = (2 * _TRAM_END + gap) / count - gap
    # From the rear to the nose: a section, bellows, a section, …
    lengths = [length, *(count - 1) * (gap, length)]
    backs = [sum(lengths[:i]) - _TRAM_END for i in range(len(lengths))]
    pose.shadow(_TRAM_END, _TRAM_HALF)
    for i in sorted(range(len(backs)), key=lambda i: -abs(pose.eye_length - backs[i] - lengths[i] / 2)):
        back, front = backs[i], backs[i] + lengths[i]
        if i % 2:
            _paint_bellows(pose, back, front)
            continue
        nose, tail = i == len(backs) - 1, i == 0
        _paint_tram_section(pose, back, front, nose, tail, color, skirt)
        if nose or tail:
            _paint_pantograph(pose, (back + front) / 2, 1.0 if nose else -1.0)
    if abs(pose.eye_length) > _TRAM_END:
        _paint_tram_end(pose, vehicle.moving)


def _paint_bellows(pose: Pose, back: float, front: float) -> None:
    inner, gray = _TRAM_HALF - 0.15, (0.2, 0.2, 0.21)
    outline = ((front, 0.35, inner), (front, 2.95, inner), (back, 2.95, inner), (back, 0.35, inner))
    pose.extruded(outline, [gray] * 3, gray, "train")
    side = pose.side_in_view(inner)
    if side:
        for fold in (0.3, 0.6):
            at = back + fold * (front - back)
            pose.side_box(side, inner + 0.01, at, at + 0.08, 0.4, 2.9, _RUBBER)


def _paint_tram_section(
    pose: Pose, back: float, front: float, nose: bool, tail: bool, color: Color, skirt: Color
) -> None:
    """The body, sloped where it is the nose or the tail of the tram, and what is on its roof and sides."""
    half, top = _TRAM_HALF, 3.15
    ahead = _tram_nose(front) if nose else ((front, 0.2, half), (front, top, half))
    behind = _tram_nose(-back) if tail else ((-back, 0.2, half), (-back, top, half))
    outline = (*ahead, *((-length, height, width) for length, height, width in reversed(behind)))
    walls = [color, _GLASS, color]
    paints = [*(walls if nose else [color]), scaled(color, 0.9), *(walls[::-1] if tail else [color])]
    pose.extruded(outline, paints, color, "train")
    box = ((front - 1.8, top, 0.8), (front - 1.9, top + 0.35, 0.8), (back + 1.9, top + 0.35, 0.8),
           (back + 1.8, top, 0.8))  # fmt: skip
    pose.extruded(box, [(0.42, 0.43, 0.44)] * 3, (0.42, 0.43, 0.44), "train")
    side = pose.side_in_view(half)
    if side:
        _paint_tram_side(pose, side, back + 0.3 * tail, front - 0.3 * nose, skirt)


def _tram_nose(end: float) -> Outline:
    """Corners from the bumper to the roof of the end that lies `end` meters from the middle."""
    half = _TRAM_HALF
    return (
        (end, 0.25, half - 0.12), (end, 1.15, half - 0.12), (end - 0.75, 2.75, half - 0.2),
        (end - 1.1, 3.15, half - 0.2),
    )  # fmt: skip


def _paint_tram_side(pose: Pose, side: int, back: float, front: float, skirt: Color) -> None:
    """One band of glass from end to end, double doors down to the step, a skirt in place of wheels."""
    wall = _TRAM_HALF + 0.01
    pose.side_box(side, wall, back, front, 0.2, 1.15, skirt)
    pose.side_box(side, wall, back + 0.6, front - 0.6, 1.25, 2.5, _GLASS)
    middle = (back + front) / 2
    for bogie in (back + 0.2 * (front - back), front - 0.2 * (front - back)):
        pose.side_box(side, wall, bogie - 0.7, bogie + 0.7, 0.1, 0.42, _RUBBER)
    pose.side_box(side, wall, middle - 0.75, middle + 0.75, 0.3, 2.65, (0.75, 0.76, 0.76))
    for leaf in (middle - 0.65, middle + 0.05):
        pose.side_box(side, wall, leaf, leaf + 0.6, 0.6, 2.5, (0.16, 0.2, 0.23))


def _paint_pantograph(pose: Pose, length: float, toward: float) -> None:
    """An arm with an elbow that carries a bar to the wire."""
    canvas, thick = pose.canvas, 0.09 * pose.pixels_per_meter
    paint = canvas.shade((0.16, 0.16, 0.17), UP, pose.z)
    arm = ((length, 0.0, 3.45), (length - 1.1 * toward, 0.0, 4.1), (length, 0.0, 4.8))
    canvas.line([pose.at(*point) for point in arm], thick, paint, "train")
    canvas.line([pose.at(length, width, 4.8) for width in (-0.85, 0.85)], thick, paint, "train")


def _paint_tram_end(pose: Pose, braking: bool) -> None:
    """The line's number, and lamps: three in a triangle ahead, two red ones behind."""
    toward = math.copysign(1.0, pose.eye_length)
    low, high, half = toward * (_TRAM_END + 0.02), toward * (_TRAM_END - 0.95), _TRAM_HALF - 0.12
    pose.end_box(low, -half, half, 0.25, 0.5, (0.12, 0.12, 0.13))
    pose.end_box(high, -half * 0.6, half * 0.6, 2.82, 3.1, (0.06, 0.06, 0.06))
    pose.end_box(high, -half * 0.2, half * 0.2, 2.86, 3.06, (1.0, 0.65, 0.15), 0.95)
    if pose.eye_length < 0:
        _paint_rear(pose, low, half, 1.1, braking)
        return
    lamp = (0.98, 0.97, 0.9)
    for width in (-half * 0.72, half * 0.72):
        pose.end_box(low, width - 0.2, width + 0.2, 0.67, 0.97, lamp, 0.9)
        _lamp_on(pose, low, width, 0.82, lamp, 0.45)
    pose.end_box(high, -0.2, 0.2, 3.14, 3.44, lamp, 0.9, label="train")
    _lamp_on(pose, high, 0.0, 3.29, lamp, 0.45)
