"""The ground: road, sidewalks, grass, markings, patches and the shadows of the houses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from datum.labels import LABEL_ID
from datum.streetscenes.drawing import textures
from datum.streetscenes.drawing.arrangement import BACKDROP
from datum.streetscenes.drawing.camera import NEAREST, Pixel
from datum.streetscenes.drawing.canvas import TOWARDS_CAMERA, UP, Canvas, Paint
from datum.streetscenes.drawing.domain import Color
from datum.streetscenes.drawing.elements import LANE, Building, Element, Side, Street, Tree
from datum.streetscenes.drawing.streams import Stream

_DEPTHS = (0.9, 1.6, 3.0, 6.0, 11.0, 18.0, 28.0, 42.0, 65.0, 95.0, BACKDROP)
_TEXTURE_DEPTHS = (60.0, 34.0, 22.0, 15.0, 10.0, 6.5, NEAREST)
"""Depths, metres, between which the ground's grain has one strength."""


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
        near, far = street.junction
        _strip(canvas, -60.0, 60.0, near, far, _asphalt(canvas, 0.97), "road")
    _paint_patches(canvas, street, looks)
    for side in (street.left, street.right):
        _paint_curb(canvas, street, side, end)
    _paint_markings(canvas, street, looks, end)


def _asphalt(canvas: Canvas, shade: float) -> Color:
    domain = canvas.domain
    level, warmth = domain.asphalt_brightness * shade, domain.asphalt_warmth * 0.5
    return (level + warmth, level, level - warmth)


def _paint_base(canvas: Canvas) -> None:
    """Grass to the horizon; it shows wherever nothing else stands."""
    row = max(0, int(canvas.camera.horizon) + 1)
    light = canvas.light(UP)
    canvas.image[row:] = np.clip(canvas.paint(canvas.foliage(0.95), light, 25.0), 0, 255)
    canvas.label_ids[row:] = LABEL_ID["terrain"]


def _strip(
    canvas: Canvas,
    left: float,
    right: float,
    near: float,
    far: float,
    albedo: Color,
    label: str | None,
) -> None:
    """A band of ground between two x, cut into pieces so that it bends and fades with distance."""
    project, light = canvas.camera.project, canvas.light(UP)
    between = _DEPTHS if canvas.camera.bend and label else _DEPTHS[1::3]
    depths = [near, *(z for z in between if near * 1.3 < z < far * 0.8), far]
    edges = [(project(left, 0.0, z), project(right, 0.0, z)) for z in depths]
    for index in range(len(depths) - 2, -1, -1):
        paint = canvas.paint(albedo, light, math.sqrt(depths[index] * depths[index + 1]))
        near_edge, far_edge = edges[index], edges[index + 1]
        canvas.polygon((near_edge[0], far_edge[0], far_edge[1], near_edge[1]), paint, label)


def _paint_sidewalk(canvas: Canvas, side: Side, end: float) -> None:
    domain = canvas.domain
    level = min(0.85, domain.asphalt_brightness * 1.1 + 0.2)
    paving: Color = (level * 1.03, level, level * 0.94)
    inner, outer = sorted((side.curb, side.frontage + side.sign * 2.5))
    _strip(canvas, inner, outer, 0.9, end, paving, "sidewalk")
    if side.verge:
        inner, outer = sorted((side.curb, side.walk))
        _strip(canvas, inner, outer, 0.9, end, canvas.foliage(1.05), "terrain")
    _paint_slabs(canvas, side, paving)


def _paint_slabs(canvas: Canvas, side: Side, paving: Color) -> None:
    """Joints between the slabs of the sidewalk, near the camera only."""
    project, light = canvas.camera.project, canvas.light(UP)
    z = 2.0
    dark = (paving[0] * 0.8, paving[1] * 0.8, paving[2] * 0.8)
    while z < 14.0:
        paint = canvas.paint(dark, light, z)
        canvas.line((project(side.walk, 0.0, z), project(side.frontage, 0.0, z)), 1, paint)
        z *= 1.3


def _paint_curb(canvas: Canvas, street: Street, side: Side, end: float) -> None:
    domain = canvas.domain
    level = min(0.9, domain.asphalt_brightness * 0.9 + 0.36)
    stretches = [(0.9, end)]
    if street.junction is not None:
        stretches = [(0.9, street.junction[0] - 0.5), (street.junction[1] + 0.5, end)]
    curb_left, curb_right = sorted((side.curb - side.sign * 0.02, side.curb + side.sign * 0.22))
    left, right = sorted((side.curb, side.curb - side.sign * 0.2))
    for near, far in stretches:
        _strip(canvas, curb_left, curb_right, near, min(far, 60.0), (level, level, level * 0.97), "sidewalk")
        if near < 20.0:
            _strip(canvas, left, right, near, min(far, 25.0), _asphalt(canvas, 0.7), None)


def _paint_patches(canvas: Canvas, street: Street, looks: Stream) -> None:
    """Repaired asphalt, wheel tracks and manholes."""
    project, light = canvas.camera.project, canvas.light(UP)
    for track in (-0.85, 0.85):
        _strip(canvas, track - 0.22, track + 0.22, 1.0, 22.0, _asphalt(canvas, 0.93), None)
    for _ in range(looks.integer(1, 4)):
        x = looks.uniform(street.left.curb + 0.5, street.right.curb - 2.0)
        z = looks.uniform(3.0, 18.0)
        albedo = _asphalt(canvas, looks.uniform(0.72, 1.12))
        _strip(canvas, x, x + looks.uniform(0.6, 2.2), z, z + looks.uniform(1.0, 6.0), albedo, None)
    for _ in range(looks.integer(0, 2)):
        x, z = looks.uniform(-4.0, 1.5), looks.uniform(4.0, 11.0)
        paint = canvas.paint(_asphalt(canvas, 0.55), light, z)
        center = project(x, 0.0, z)
        flat = project(x, 0.0, z - 0.35)[1] - center[1]
        canvas.ellipse(center, 0.35 * canvas.camera.scale(z), max(0.4, flat), paint)


def _paint_markings(canvas: Canvas, street: Street, looks: Stream, end: float) -> None:
    white: Color = (0.82, 0.82, 0.78)
    yellow: Color = (0.85, 0.68, 0.2)
    center = yellow if looks.chance(0.35) else white
    solid = looks.chance(0.3)
    stop = street.junction
    for x, albedo, whole in _lines(street, center, white, solid, looks):
        z, dash = 1.2, 2.2
        if whole:
            for near, far in ((1.0, stop[0] - 1.0), (stop[1] + 1.0, end)) if stop else ((1.0, end),):
                _strip(canvas, x - 0.07, x + 0.07, near, min(far, 70.0), albedo, None)
            continue
        z += looks.uniform(0.0, 4.0)
        while z < 55.0:
            if stop is None or not stop[0] - dash < z < stop[1]:
                _mark(canvas, x - 0.08, x + 0.08, z, z + dash, albedo)
            z += dash * 2.4
    if stop is not None and street.zebra is None:
        _mark(canvas, street.divider, street.right.curb - 0.3, stop[0] - 1.4, stop[0] - 0.9, white)
    if street.zebra is not None:
        _paint_zebra(canvas, street, street.zebra, white)


def _lines(
    street: Street, center: Color, white: Color, solid: bool, looks: Stream
) -> list[tuple[float, Color, bool]]:
    lines = [(street.divider, center, solid)]
    if street.left.curb < -LANE * 2.5:
        lines.append((-LANE * 1.5, white, False))
    if looks.chance(0.5):
        lines.append((street.right.curb - 0.35, white, True))
        lines.append((street.left.curb + 0.35, white, True))
    return lines


def _mark(canvas: Canvas, left: float, right: float, near: float, far: float, albedo: Color) -> None:
    project = canvas.camera.project
    paint: Paint = canvas.paint(albedo, canvas.light(UP), near)
    canvas.polygon(
        (project(left, 0, near), project(left, 0, far), project(right, 0, far), project(right, 0, near)),
        paint,
    )


def _paint_zebra(canvas: Canvas, street: Street, near: float, albedo: Color) -> None:
    x = street.left.curb + 0.4
    while x < street.right.curb - 0.4:
        _mark(canvas, x, x + 0.5, near, near + 3.0, albedo)
        x += 1.0


def texture_ground(canvas: Canvas, looks: Stream) -> None:
    """Lay grain over the ground in perspective."""
    camera, strength = canvas.camera, canvas.domain.texture
    if strength <= 0.0:
        return
    top = max(0, int(camera.horizon) + 2)
    rows = camera.height - top
    # From picture (u, v) to texture: z = focal * eye / (v - horizon) and x = (u - center) * z / focal.
    texels = 26.0  # a metre: more would alias close to the camera already
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
        textures.ground(),
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
    top = max(0, int(canvas.camera.horizon) + 1)
    shadow = 255.0 * (1.0 - domain.shadow_depth)
    light = np.full(canvas.label_ids.shape, 255, dtype=np.uint8)
    for element in elements:
        if isinstance(element, Building) and element.side:
            x, reach = element.x, min(element.height, 25.0)
            near, far = max(1.0, element.near), element.far
            corners = (
                project(x, 0, near),
                project(x + slant_x * reach, 0, max(1.0, near + slant_z * reach)),
                project(x + slant_x * reach, 0, max(1.0, far + slant_z * reach)),
                project(x, 0, far),
            )
            _fill(light, corners, shadow)
        elif isinstance(element, Tree):
            middle = element.height - element.crown
            x, z = element.x + slant_x * middle, element.z + slant_z * middle
            if z > 2.0:
                u, v = project(x, 0, z)
                wide = element.crown * canvas.camera.scale(z)
                axes = (int(min(wide, 500)) + 1, int(min(wide * canvas.camera.eye / z, 300)) + 1)
                cv2.ellipse(light, (int(max(-2000, min(2000, u))), int(v)), axes, 0, 0, 360, shadow, -1)
    soft = cv2.blur(light[top:], (3, 3))
    ground = canvas.image[top:]
    cv2.multiply(ground, cv2.merge([soft, soft, soft]), ground, scale=1 / 255)


def _fill(light: npt.NDArray[np.uint8], corners: Sequence[Pixel], level: float) -> None:
    cv2.fillPoly(light, [np.array(corners).astype(np.int32)], level)


def paint_contact_shadow(canvas: Canvas, x: float, z: float, half_x: float, half_z: float) -> None:
    """The dark patch under an object; half sizes in metres."""
    project = canvas.camera.project
    albedo = _asphalt(canvas, 0.38)
    paint = canvas.paint(albedo, canvas.light(TOWARDS_CAMERA), z)
    scale = canvas.camera.scale(z)
    flat = half_z * canvas.camera.eye / z  # the ground is seen at a glancing angle
    canvas.ellipse(project(x, 0.0, z), half_x * scale, max(0.5, flat * scale), paint)
