"""The ground: road, sidewalks, grass, markings, patches and the shadows of the houses."""

import itertools
import math
from collections.abc import Sequence

import cv2
import numpy as np

from datum.labels import LABEL_ID
from datum.streetscenes.drawing import textures
from datum.streetscenes.drawing.camera import NEAREST
from datum.streetscenes.drawing.canvas import TOWARD_CAMERA, UP, Canvas
from datum.streetscenes.drawing.colors import Color, scaled
from datum.streetscenes.drawing.elements import BACKDROP, LANE, Building, Element, Side, Street, Tree
from datum.streetscenes.drawing.streams import Stream

_DEPTHS = (0.9, 1.6, 3.0, 6.0, 11.0, 18.0, 28.0, 42.0, 65.0, 95.0, BACKDROP)
_TEXTURE_DEPTHS = (60.0, 34.0, 22.0, 15.0, 10.0, 6.5, NEAREST)
"""Depths, meters, between which the ground's grain has one strength."""


def paint_ground(canvas: Canvas, street: Street, looks: Stream) -> None:
    """Fill everything below the horizon."""
    _paint_base(canvas)
    end = street.end + 8.0 if street.closed else BACKDROP
    for side in (street.left, street.right):
        _paint_sidewalk(canvas, side, end)
    _strip(canvas, street.left.curb, street.right.curb, 0.9, end, _asphalt(canvas, 1.0), "road")
    if street.closed:
        _strip(canvas, -90.0, 90.0, street.end, street.end + 6.0, _asphalt(canvas, 1.0), "road")
    if street.junction is not None:
        _strip(canvas, -60.0, 60.0, *street.junction, _asphalt(canvas, 0.97), "road")
    _paint_patches(canvas, street, looks)
    for side in (street.left, street.right):
        _paint_curb(canvas, street, side, end)
    _paint_markings(canvas, street, looks, end)


def _asphalt(canvas: Canvas, shade: float) -> Color:
    domain = canvas.domain
    level, warmth = domain.asphalt_brightness * shade, domain.asphalt_warmth * 0.5
    red, green, blue = domain.style.road_tint
    return ((level + warmth) * red, level * green, (level - warmth) * blue)


def _paint_base(canvas: Canvas) -> None:
    """Grass to the horizon; it shows wherever nothing else stands."""
    row = max(0, int(canvas.camera.horizon) + 1)
    canvas.image[row:] = np.clip(canvas.shade(canvas.foliage(0.95), UP, 25.0), 0, 255)
    canvas.label_ids[row:] = LABEL_ID["terrain"]


def _strip(
    canvas: Canvas, x0: float, x1: float, near: float, far: float, albedo: Color, label: str | None = None
) -> None:
    """A band of ground between two x, cut into pieces so that it bends and fades with distance."""
    left, right = sorted((x0, x1))
    between = _DEPTHS if canvas.camera.bend and label else _DEPTHS[1::3]
    depths = [near, *(z for z in between if near * 1.3 < z < far * 0.8), far]
    for close, distant in reversed(list(itertools.pairwise(depths))):
        paint = canvas.shade(albedo, UP, math.sqrt(close * distant))
        canvas.ground(left, right, close, distant, paint, label)


def _paint_sidewalk(canvas: Canvas, side: Side, end: float) -> None:
    level = min(0.85, canvas.domain.asphalt_brightness * 1.1 + 0.2)
    red, green, blue = canvas.domain.style.paving_tint
    paving: Color = (level * red, level * green, level * blue)
    _strip(canvas, side.curb, side.frontage + side.sign * 2.5, 0.9, end, paving, "sidewalk")
    if side.verge:
        _strip(canvas, side.curb, side.walk, 0.9, end, canvas.foliage(1.05), "terrain")
    project, joint, z = canvas.camera.project, scaled(paving, 0.8), 2.0
    while z < 14.0:  # joints between the slabs, near the camera only
        paint = canvas.shade(joint, UP, z)
        canvas.line((project(side.walk, 0.0, z), project(side.frontage, 0.0, z)), 1, paint)
        z *= 1.3


def _paint_curb(canvas: Canvas, street: Street, side: Side, end: float) -> None:
    level = min(0.9, canvas.domain.asphalt_brightness * 0.9 + 0.36)
    stone, gutter = (level, level, level * 0.97), _asphalt(canvas, 0.7)
    curb, sign = side.curb, side.sign
    for near, far in _stretches(street, 0.9, end, 0.5):
        _strip(canvas, curb - sign * 0.02, curb + sign * 0.22, near, min(far, 60.0), stone, "sidewalk")
        if near < 20.0:
            _strip(canvas, curb, curb - sign * 0.2, near, min(far, 25.0), gutter)


def _stretches(street: Street, near: float, far: float, margin: float) -> list[tuple[float, float]]:
    """The street from depth to depth, without its junction and `margin` meters around it."""
    if street.junction is None:
        return [(near, far)]
    return [(near, street.junction[0] - margin), (street.junction[1] + margin, far)]


def _paint_patches(canvas: Canvas, street: Street, looks: Stream) -> None:
    """Repaired asphalt, wheel tracks and manholes."""
    for track in (-0.85, 0.85):
        _strip(canvas, track - 0.22, track + 0.22, 1.0, 22.0, _asphalt(canvas, 0.93))
    for _ in range(looks.integer(1, 4)):
        x = looks.uniform(street.left.curb + 0.5, street.right.curb - 2.0)
        z = looks.uniform(3.0, 18.0)
        albedo = _asphalt(canvas, looks.uniform(0.72, 1.12))
        _strip(canvas, x, x + looks.uniform(0.6, 2.2), z, z + looks.uniform(1.0, 6.0), albedo)
    project = canvas.camera.project
    for _ in range(looks.integer(0, 2)):
        x, z = looks.uniform(-4.0, 1.5), looks.uniform(4.0, 11.0)
        center = project(x, 0.0, z)
        flat = project(x, 0.0, z - 0.35)[1] - center[1]
        paint = canvas.shade(_asphalt(canvas, 0.55), UP, z)
        canvas.ellipse(center, 0.35 * canvas.camera.scale(z), max(0.4, flat), paint)


def _paint_markings(canvas: Canvas, street: Street, looks: Stream, end: float) -> None:
    """Lines along the street, the stop line and the crosswalk."""
    common, other = canvas.domain.style.markings
    center = other if looks.chance(0.35) else common
    lines = [(street.divider, center, looks.chance(0.3))]
    if street.left.curb < -LANE * 2.5:
        lines.append((-LANE * 1.5, common, False))
    if looks.chance(0.5):
        lines.append((street.right.curb - 0.35, common, True))
        lines.append((street.left.curb + 0.35, common, True))
    for x, albedo, solid in lines:
        if solid:
            for near, far in _stretches(street, 1.0, end, 1.0):
                _strip(canvas, x - 0.07, x + 0.07, near, min(far, 70.0), albedo)
        else:
            _paint_dashes(canvas, street, x, 1.2 + looks.uniform(0.0, 4.0), albedo)
    if street.crosswalk is not None:
        x = street.left.curb + 0.4
        while x < street.right.curb - 0.4:
            _mark(canvas, x, x + 0.5, street.crosswalk, street.crosswalk + 3.0, common)
            x += 1.0
    elif street.junction is not None:
        stop = street.junction[0]
        _mark(canvas, street.divider, street.right.curb - 0.3, stop - 1.4, stop - 0.9, common)


def _paint_dashes(canvas: Canvas, street: Street, x: float, z: float, albedo: Color) -> None:
    length, stop = 2.2, street.junction
    while z < 55.0:
        if stop is None or not stop[0] - length < z < stop[1]:
            _mark(canvas, x - 0.08, x + 0.08, z, z + length, albedo)
        z += length * 2.4


def _mark(canvas: Canvas, left: float, right: float, near: float, far: float, albedo: Color) -> None:
    canvas.ground(left, right, near, far, canvas.shade(albedo, UP, near))


def texture_ground(canvas: Canvas, looks: Stream) -> None:
    """Lay grain over the ground in perspective."""
    camera, strength = canvas.camera, canvas.domain.texture
    if strength <= 0.0:
        return
    top = max(0, int(camera.horizon) + 2)
    rows = camera.height - top
    # From picture (u, v) to texture: z = focal * eye / (v - horizon) and x = (u - center) * z / focal.
    texels = 26.0  # a meter: more would alias close to the camera already
    f, eye, u0, v0 = camera.focal, camera.eye, camera.center, camera.horizon - top
    du, dv = looks.uniform(0.0, 256.0), looks.uniform(0.0, 256.0)
    matrix = np.array(
        [
            [texels * eye, du, -u0 * texels * eye - du * v0],
            [0.0, dv, texels * eye * f - dv * v0],
            [0.0, 1.0, -v0],
        ]
    )
    grain = cv2.warpPerspective(
        textures.ground_texture(),
        matrix,
        (camera.width, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    )
    ground, first = canvas.image[top:], 0
    for far, near in itertools.pairwise(_TEXTURE_DEPTHS):  # haze and distance take the contrast away
        last = min(rows, max(0, round(f * eye / near + v0)))
        if last > first:
            clear = math.exp(-math.sqrt(far * near) / canvas.domain.visibility)
            weight = strength * clear * min(1.0, 12.0 / far)
            band = cv2.addWeighted(grain[first:last], weight, grain[first:last], 0.0, 128.0 * (1.0 - weight))
            cv2.multiply(ground[first:last], band, ground[first:last], scale=1 / 128)
        first = max(first, last)


def shade_ground(canvas: Canvas, elements: Sequence[Element]) -> None:
    """Darken the ground where houses and trees stand between it and the sun."""
    domain = canvas.domain
    sun = domain.sun_direction()
    if domain.shadow_depth <= 0.0 or domain.sun_strength <= 0.0 or sun[1] < 0.05:
        return
    slant_x, slant_z = -sun[0] / sun[1], -sun[2] / sun[1]
    project = canvas.camera.project
    shadow = 255.0 * (1.0 - domain.shadow_depth)
    light = np.full(canvas.label_ids.shape, 255, dtype=np.uint8)
    for element in elements:
        if isinstance(element, Building) and element.side:
            reach, near, far = min(element.height, 25.0), max(1.0, element.near), element.far
            x, tip = element.x, element.x + slant_x * reach
            corners = (
                project(x, 0, near),
                project(tip, 0, max(1.0, near + slant_z * reach)),
                project(tip, 0, max(1.0, far + slant_z * reach)),
                project(x, 0, far),
            )
            cv2.fillPoly(light, [np.array(corners).astype(np.int32)], shadow)
        elif isinstance(element, Tree):
            middle = element.height - element.crown
            x, z = element.x + slant_x * middle, element.z + slant_z * middle
            if z > 2.0:
                u, v = project(x, 0, z)
                wide = element.crown * canvas.camera.scale(z)
                axes = (int(min(wide, 500)) + 1, int(min(wide * canvas.camera.eye / z, 300)) + 1)
                cv2.ellipse(light, (int(max(-2000, min(2000, u))), int(v)), axes, 0, 0, 360, shadow, -1)
    top = max(0, int(canvas.camera.horizon) + 1)
    soft = cv2.blur(light[top:], (3, 3))
    ground = canvas.image[top:]
    cv2.multiply(ground, cv2.merge([soft, soft, soft]), ground, scale=1 / 255)


def paint_contact_shadow(canvas: Canvas, x: float, z: float, half_x: float, half_z: float) -> None:
    """The dark patch under an object; half sizes in meters."""
    paint = canvas.shade(_asphalt(canvas, 0.38), TOWARD_CAMERA, z)
    scale = canvas.camera.scale(z)
    flat = half_z * canvas.camera.eye / z  # the ground is seen at a glancing angle
    canvas.ellipse(canvas.camera.project(x, 0.0, z), half_x * scale, max(0.5, flat * scale), paint)
