"""Trees, hedges, walls and fences."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from datum.labels import LABEL_ID
from datum.streetscenes.drawing import textures
from datum.streetscenes.drawing.buildings import Batch, Facade
from datum.streetscenes.drawing.canvas import TOWARDS_CAMERA, TOWARDS_LEFT, TOWARDS_RIGHT, UP, Canvas
from datum.streetscenes.drawing.domain import Color
from datum.streetscenes.drawing.elements import Barrier, Tree
from datum.streetscenes.drawing.streams import Stream


def paint_tree(canvas: Canvas, tree: Tree, looks: Stream) -> None:
    """A trunk with two boughs and a textured crown."""
    project = canvas.camera.project
    light = canvas.light(TOWARDS_CAMERA)
    bark = canvas.paint((0.3, 0.23, 0.17), light, tree.z)
    fork = tree.height - 1.5 * tree.crown
    thick = 0.045 * tree.height * canvas.camera.scale(tree.z)
    foot, top = project(tree.x, 0.0, tree.z), project(tree.x, fork + tree.crown * 0.6, tree.z)
    canvas.polygon(
        (
            (foot[0] - thick * 0.6, foot[1]),
            (top[0] - thick * 0.35, top[1]),
            (top[0] + thick * 0.35, top[1]),
            (foot[0] + thick * 0.6, foot[1]),
        ),
        bark,
        "vegetation",
    )
    _stamp_crown(canvas, tree, looks.choice(_BRIGHTNESSES))


def _stamp_crown(canvas: Canvas, tree: Tree, brightness: float) -> None:
    """Copy a stored crown into picture and labels, coloured for this light and distance."""
    shapes = textures.crowns()
    shade, mask = shapes[tree.shape % len(shapes)]
    scale = canvas.camera.scale(tree.z)
    u, v = canvas.camera.project(tree.x, tree.height - tree.crown, tree.z)
    wide, tall = 2.5 * tree.crown * scale, 2.45 * tree.crown * scale
    left, top = round(u - wide / 2), round(v - tall / 2)
    right, bottom = round(u + wide / 2), round(v + tall / 2)
    height, width = canvas.label_ids.shape
    x0, x1, y0, y1 = max(0, left), min(width, right), max(0, top), min(height, bottom)
    if x1 - x0 < 1 or y1 - y0 < 1:
        return
    # Sample only the part of the stored crown that falls into the picture.
    step_x, step_y = shade.shape[1] / (right - left), shade.shape[0] / (bottom - top)
    matrix = np.array(
        [[step_x, 0.0, (x0 - left + 0.5) * step_x - 0.5], [0.0, step_y, (y0 - top + 0.5) * step_y - 0.5]]
    )
    size = (x1 - x0, y1 - y0)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    small_shade = cv2.warpAffine(shade, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    small_mask = cv2.warpAffine(mask, matrix, size, flags=flags)
    inside = (small_mask > 127).view(np.uint8)
    colored = cv2.applyColorMap(small_shade, _stored_colors(canvas, tree.z, brightness))
    cv2.copyTo(colored, inside, canvas.image[y0:y1, x0:x1])
    cv2.copyTo(
        np.full(inside.shape, LABEL_ID["vegetation"], np.uint8), inside, canvas.label_ids[y0:y1, x0:x1]
    )


_BRIGHTNESSES = (0.8, 0.93, 1.06, 1.2)
_STEPS = np.linspace(0.0, 1.0, 256)[:, None]


def _stored_colors(canvas: Canvas, z: float, brightness: float) -> npt.NDArray[np.uint8]:
    """Colours of a crown; crowns of one scene that are about as far share them."""
    band = round(4.0 * math.log(z))
    found = canvas.crown_colors.get((band, brightness))
    if found is None:
        found = _crown_colors(canvas, math.exp(band / 4.0), brightness)
        canvas.crown_colors[band, brightness] = found
    return found


def _crown_colors(canvas: Canvas, z: float, brightness: float) -> npt.NDArray[np.uint8]:
    """Colour of each shade (uint8, 256 x 1 x 3), from the dark inside to the sunlit outside."""
    ambient, sun = canvas.light((0.0, -1.0, 0.0)), canvas.light(UP)
    green = canvas.foliage(brightness)
    dark = np.array(canvas.paint((green[0] * 0.25, green[1] * 0.28, green[2] * 0.3), ambient, z))
    bright = np.array(canvas.paint((green[0] * 2.2, green[1] * 2.1, green[2] * 1.7), sun, z))
    return np.minimum(dark + (bright - dark) * _STEPS, 255.0).astype(np.uint8)[:, None, :]


def paint_barrier(canvas: Canvas, barrier: Barrier, looks: Stream) -> None:
    """A piece of wall, fence or hedge, with grass behind it."""
    normal = TOWARDS_LEFT if barrier.side > 0 else TOWARDS_RIGHT
    near = max(1.0, barrier.near)
    plane = Facade(canvas, (barrier.x, near), (barrier.x, barrier.far), normal)
    _paint_lawn(canvas, barrier)
    if barrier.kind == "wall":
        _paint_wall(plane, barrier, looks)
    elif barrier.kind == "fence":
        _paint_fence(plane, barrier, looks)
    else:
        _paint_hedge(plane, barrier)


def _paint_lawn(canvas: Canvas, barrier: Barrier) -> None:
    project = canvas.camera.project
    near, far = max(1.0, barrier.near), barrier.far
    outer = barrier.x + barrier.side * 25.0
    corners = (
        project(barrier.x, 0, near),
        project(barrier.x, 0, far),
        project(outer, 0, far),
        project(outer, 0, near),
    )
    paint = canvas.paint(canvas.foliage(1.0), canvas.light(UP), far)
    canvas.polygon(corners, paint, "terrain")


def _paint_wall(plane: Facade, barrier: Barrier, looks: Stream) -> None:
    length, height = plane.length, barrier.height
    color = looks.choice(((0.5, 0.36, 0.28), (0.52, 0.5, 0.47), (0.6, 0.55, 0.46)))
    plane.box(0.0, length, 0.0, height, color, "wall")
    if plane.pixels_per_metre() < 4.0:
        return
    joints = np.arange(0.3, height - 0.2, 0.32)
    rows = np.stack((np.zeros_like(joints), np.full_like(joints, length), joints, joints + 0.05), axis=1)
    plane.batches([Batch(rows, (color[0] * 0.78, color[1] * 0.78, color[2] * 0.78))])
    plane.box(0.0, length, height - 0.16, height, (color[0] * 1.3, color[1] * 1.3, color[2] * 1.3))


def _paint_fence(plane: Facade, barrier: Barrier, looks: Stream) -> None:
    """Slats in front of a shaded ground; the gaps belong to the fence, as in Cityscapes."""
    length, height = plane.length, barrier.height
    color: Color = looks.choice(((0.3, 0.33, 0.32), (0.44, 0.34, 0.24), (0.62, 0.62, 0.6), (0.2, 0.28, 0.22)))
    gap = plane.canvas.foliage(0.5)
    plane.box(0.0, length, 0.0, height, gap, "fence")
    count = int(length / 0.5)
    at = np.arange(count) * length / count
    slats = np.stack((at, at + 0.22, np.zeros(count), np.full(count, height)), axis=1)
    if plane.pixels_per_metre() > 3.0:
        plane.batches([Batch(slats, color)])
    for up in (0.25, height - 0.25):
        plane.box(0.0, length, up, up + 0.12, (color[0] * 1.2, color[1] * 1.2, color[2] * 1.2))


def _paint_hedge(plane: Facade, barrier: Barrier) -> None:
    green = plane.canvas.foliage(0.8)
    plane.box(0.0, plane.length, 0.0, barrier.height, green, "vegetation")
    top = plane.canvas.foliage(1.25)
    plane.box(0.0, plane.length, barrier.height * 0.8, barrier.height, top)
