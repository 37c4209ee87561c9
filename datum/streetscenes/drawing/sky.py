"""Sky, clouds and the skyline at the end of a long street."""

import cv2
import numpy as np

from datum.labels import LABEL_ID
from datum.streetscenes.drawing import textures
from datum.streetscenes.drawing.canvas import TOWARD_CAMERA, Canvas, Picture
from datum.streetscenes.drawing.domain import Domain
from datum.streetscenes.drawing.elements import BACKDROP
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
        sky = _with_clouds(domain, sky, looks)
    canvas.image[:rows] = sky
    canvas.label_ids[:rows] = LABEL_ID["sky"]


def _with_clouds(domain: Domain, sky: Picture, looks: Stream) -> Picture:
    rows, width = sky.shape[:2]
    top, left = looks.integer(0, 100), looks.integer(0, 70)
    window = textures.clouds()[top : top + 150, left : left + 180]
    if looks.chance(0.5):
        window = window[:, ::-1]
    # Clouds low in the sky are farther away, hence flatter: squeeze the lower rows of the window.
    thick = cv2.resize(np.ascontiguousarray(window), (width, rows), interpolation=cv2.INTER_LINEAR)
    threshold = 255.0 * (1.0 - domain.cloud_cover) * 0.8
    alpha = cv2.LUT(thick, np.clip(2.4 * (np.arange(256) - threshold), 0, 255).astype(np.uint8))
    alpha = cv2.merge([alpha, alpha, alpha])
    shaded = cv2.addWeighted(alpha, -0.16, alpha, 0.0, 255.0)
    cloud = cv2.multiply(shaded, (*domain.cloud_color, 0.0))
    front = cv2.multiply(cloud, alpha, scale=1 / 255)
    back = cv2.multiply(sky, cv2.bitwise_not(alpha), scale=1 / 255)
    return cv2.add(front, back)


def paint_backdrop(canvas: Canvas, layout: Stream) -> None:
    """Far roofs and trees on the horizon, in the haze; `layout` decides them as they carry labels."""
    camera = canvas.camera
    drift = camera.bend * BACKDROP * BACKDROP
    x = -1.1 * BACKDROP
    while x < 1.1 * BACKDROP:
        breadth = 11.0 * layout.uniform(0.7, 1.9)
        trees = layout.chance(0.45)
        height = layout.uniform(3.0, 8.0) if trees else layout.uniform(4.0, 15.0)
        shade = layout.uniform(0.75, 1.1)
        left, base = camera.project(x - drift, 0.0, BACKDROP)
        right, top = camera.project(x + breadth - drift, height, BACKDROP)
        if trees:
            paint = canvas.shade(canvas.foliage(0.8 * shade), TOWARD_CAMERA, BACKDROP)
            middle = ((left + right) / 2, base)
            canvas.ellipse(middle, (right - left) * 0.75, base - top, paint, "vegetation")
        else:
            level = canvas.domain.facade_brightness * shade
            paint = canvas.shade((level, level * 0.96, level * 0.92), TOWARD_CAMERA, BACKDROP)
            canvas.polygon(((left, base), (left, top), (right, top), (right, base)), paint, "building")
        x += breadth
