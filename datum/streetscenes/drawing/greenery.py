"""Trees, hedges, walls and fences."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from datum.labels import LABEL_ID
from datum.streetscenes.drawing import textures
from datum.streetscenes.drawing.canvas import TOWARD_CAMERA, TOWARD_LEFT, TOWARD_RIGHT, UP, Canvas
from datum.streetscenes.drawing.colors import scaled
from datum.streetscenes.drawing.elements import Barrier, Tree
from datum.streetscenes.drawing.facade import Facade, Panels
from datum.streetscenes.drawing.streams import Stream

_BRIGHTNESSES = (0.8, 0.93, 1.06, 1.2)
_STEPS = np.linspace(0.0, 1.0, 256)[:, None]


def paint_tree(canvas: Canvas, tree: Tree, looks: Stream) -> None:
    """A trunk and a textured crown."""
    thick = 0.045 * tree.height * canvas.camera.scale(tree.z)
    fork = tree.height - 1.5 * tree.crown
    foot, top = (canvas.camera.project(tree.x, y, tree.z) for y in (0.0, fork + tree.crown * 0.6))
    bark = canvas.shade(canvas.domain.style.bark, TOWARD_CAMERA, tree.z)
    canvas.post(foot, top, thick * 0.6, thick * 0.35, bark, "vegetation")
    _stamp_crown(canvas, tree, looks.choice(_BRIGHTNESSES))


def _stamp_crown(canvas: Canvas, tree: Tree, brightness: float) -> None:
    """Copy a stored crown into picture and labels, colored for this light and distance."""
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
    label = np.full(inside.shape, LABEL_ID["vegetation"], np.uint8)
    cv2.copyTo(colored, inside, canvas.image[y0:y1, x0:x1])
    cv2.copyTo(label, inside, canvas.label_ids[y0:y1, x0:x1])


def _stored_colors(canvas: Canvas, z: float, brightness: float) -> npt.NDArray[np.uint8]:
    """Colors of a crown; crowns of one scene that are about as far share them."""
    band = round(4.0 * math.log(z))
    found = canvas.crown_colors.get((band, brightness))
    if found is None:
        found = _crown_colors(canvas, math.exp(band / 4.0), brightness)
        canvas.crown_colors[band, brightness] = found
    return found


def _crown_colors(canvas: Canvas, z: float, brightness: float) -> npt.NDArray[np.uint8]:
    """Color of each shade, RGB uint8[256, 1, 3], from the dark inside to the sunlit outside."""
    red, green, blue = canvas.foliage(brightness)
    dark = np.array(canvas.shade((red * 0.25, green * 0.28, blue * 0.3), (0.0, -1.0, 0.0), z))
    bright = np.array(canvas.shade((red * 2.2, green * 2.1, blue * 1.7), UP, z))
    return np.minimum(dark + (bright - dark) * _STEPS, 255.0).astype(np.uint8)[:, None, :]


def paint_barrier(canvas: Canvas, barrier: Barrier, looks: Stream) -> None:
    """A piece of wall, fence or hedge, with grass behind it."""
    x, near, far = barrier.x, max(1.0, barrier.near), barrier.far
    lawn = canvas.shade(canvas.foliage(1.0), UP, far)
    canvas.ground(x, x + barrier.side * 25.0, near, far, lawn, "terrain")
    plane = Facade(canvas, (x, near), (x, far), TOWARD_LEFT if barrier.side > 0 else TOWARD_RIGHT)
    if barrier.kind == "wall":
        _paint_wall(plane, barrier.height, looks)
    elif barrier.kind == "fence":
        _paint_fence(plane, barrier.height, looks)
    else:
        plane.box(0.0, plane.length, 0.0, barrier.height, canvas.foliage(0.8), "vegetation")
        plane.box(0.0, plane.length, barrier.height * 0.8, barrier.height, canvas.foliage(1.25))


def _paint_wall(plane: Facade, height: float, looks: Stream) -> None:
    """Courses of stones below a coping."""
    color = looks.choice(plane.canvas.domain.style.garden_walls)
    plane.box(0.0, plane.length, 0.0, height, color, "wall")
    if plane.pixels_per_meter < 4.0:
        return
    joints = [(0.0, plane.length, up, up + 0.05) for up in np.arange(0.3, height - 0.2, 0.32)]
    plane.fill([Panels(joints, scaled(color, 0.78))])
    plane.box(0.0, plane.length, height - 0.16, height, scaled(color, 1.3))


def _paint_fence(plane: Facade, height: float, looks: Stream) -> None:
    """Slats in front of a shaded ground; the gaps belong to the fence, as in Cityscapes."""
    color = looks.choice(plane.canvas.domain.style.fences)
    length = plane.length
    plane.box(0.0, length, 0.0, height, plane.canvas.foliage(0.5), "fence")
    if plane.pixels_per_meter > 3.0:
        count = int(length / 0.5)
        slats = [(i * length / count, i * length / count + 0.22, 0.0, height) for i in range(count)]
        plane.fill([Panels(slats, color)])
    for up in (0.25, height - 0.25):
        plane.box(0.0, length, up, up + 0.12, scaled(color, 1.2))
