"""Sky, clouds and the skyline at the end of a long street."""

from __future__ import annotations

import cv2
import numpy as np

from datum.labels import LABEL_ID
from datum.streetscenes.drawing import textures
from datum.streetscenes.drawing.arrangement import BACKDROP
from datum.streetscenes.drawing.canvas import TOWARDS_CAMERA, Canvas
from datum.streetscenes.drawing.streams import Stream


def paint_sky(canvas: Canvas, looks: Stream) -> None:
    """Fill everything above the horizon with sky."""
    domain = canvas.domain
    height, width = canvas.label_ids.shape
    rows = min(height, int(canvas.camera.horizon) + 2)
    ends = np.array([[domain.sky_top], [domain.sky_horizon]], dtype=np.float32) * 255.0
    steps = np.linspace(0.0, 1.0, rows, dtype=np.float32)[:, None, None] ** 1.3
    column = ends[0] * (1.0 - steps) + ends[1] * steps
    sky = np.broadcast_to(column, (rows, width, 3)).astype(np.uint8)
    if domain.cloud_cover > 0.0:
        sky = _with_clouds(canvas, sky, looks)
    canvas.image[:rows] = sky
    canvas.label_ids[:rows] = LABEL_ID["sky"]


def _with_clouds(canvas: Canvas, sky: np.ndarray, looks: Stream) -> np.ndarray:
    domain = canvas.domain
    rows, width = sky.shape[:2]
    tile = textures.clouds()
    top, left = looks.integer(0, 100), looks.integer(0, 70)
    window = tile[top : top + 150, left : left + 180]
    if looks.chance(0.5):
        window = window[:, ::-1]
    # Clouds low in the sky are farther away, hence flatter: squeeze the lower rows of the window.
    thick = cv2.resize(np.ascontiguousarray(window), (width, rows), interpolation=cv2.INTER_LINEAR)
    threshold = 255.0 * (1.0 - domain.cloud_cover) * 0.8
    alpha = cv2.LUT(thick, np.clip(2.4 * (np.arange(256) - threshold), 0, 255).astype(np.uint8))
    alpha3 = cv2.merge([alpha, alpha, alpha])
    shaded = cv2.addWeighted(alpha3, -0.16, alpha3, 0.0, 255.0)
    color = np.array(domain.cloud_color, dtype=np.float64) * 1.0
    cloud = cv2.multiply(shaded, (*color, 0.0))
    front = cv2.multiply(cloud, alpha3, scale=1 / 255)
    back = cv2.multiply(sky, cv2.bitwise_not(alpha3), scale=1 / 255)
    return cv2.add(front, back)


def paint_backdrop(canvas: Canvas, layout: Stream) -> None:
    """Far roofs and trees on the horizon, in the haze; `layout` decides them as they carry labels."""
    camera, domain = canvas.camera, canvas.domain
    light = canvas.light(TOWARDS_CAMERA)
    step = 11.0
    x = -1.1 * BACKDROP
    while x < 1.1 * BACKDROP:
        breadth = step * layout.uniform(0.7, 1.9)
        trees = layout.chance(0.45)
        height = layout.uniform(3.0, 8.0) if trees else layout.uniform(4.0, 15.0)
        shade = layout.uniform(0.75, 1.1)
        flat = BACKDROP
        left, base = camera.project(x - camera.bend * flat * flat, 0.0, flat)
        right, top = camera.project(x + breadth - camera.bend * flat * flat, height, flat)
        if trees:
            color = canvas.foliage(0.8 * shade)
            paint = canvas.paint(color, light, flat)
            middle = ((left + right) / 2, base)
            canvas.ellipse(middle, (right - left) * 0.75, base - top, paint, "vegetation")
        else:
            b = domain.facade_brightness * shade
            paint = canvas.paint((b, b * 0.96, b * 0.92), light, flat)
            canvas.polygon(((left, base), (left, top), (right, top), (right, base)), paint, "building")
        x += breadth
