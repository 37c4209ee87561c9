"""What happens to the picture between the street and the file: halos, grain, lens, sensor, tone."""

import functools

import cv2
import numpy as np
import numpy.typing as npt

from datum.streetscenes.drawing import textures
from datum.streetscenes.drawing.canvas import Canvas, Picture
from datum.streetscenes.drawing.domain import Domain
from datum.streetscenes.drawing.streams import Stream


def expose(canvas: Canvas, looks: Stream) -> Picture:
    """The finished picture of a painted canvas."""
    domain, image = canvas.domain, canvas.image
    height = canvas.camera.height
    if domain.texture > 0.0:
        image = _textured(image, domain.texture, looks)
    if domain.lamps > 0.0 and canvas.glows:
        image = _with_halos(image, canvas)
    sigma = domain.blur * height / 128.0
    if sigma > 0.15:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    if domain.vignette > 0.0:
        image = cv2.multiply(image, _vignette(height, canvas.camera.width, domain.vignette), scale=1 / 255)
    image = cv2.LUT(image, _tone_curve(domain))
    if domain.noise > 0.0:
        image = _noisy(image, domain.noise, looks)
    return image


def _window(tile: npt.NDArray[np.generic], image: Picture, looks: Stream) -> npt.NDArray[np.generic]:
    """A random window, as large as `image`, of a texture that tiles."""
    (height, width), (rows, columns) = image.shape[:2], tile.shape[:2]
    if height > rows or width > columns:
        tile = np.tile(tile, (-(-height // rows), -(-width // columns), 1))
        rows, columns = tile.shape[:2]
    top, left = looks.integer(0, rows - height), looks.integer(0, columns - width)
    return tile[top : top + height, left : left + width]


def _textured(image: Picture, strength: float, looks: Stream) -> Picture:
    grain = _window(textures.grain(), image, looks)
    weight = 0.16 * strength
    return cv2.addWeighted(image, 1.0, grain, weight, -128.0 * weight)


def _with_halos(image: Picture, canvas: Canvas) -> Picture:
    """Add light around every lamp that is on."""
    height, width = image.shape[:2]
    halo = np.zeros_like(image)
    strength = 130.0 * canvas.domain.lamps
    for u, v, radius, color in canvas.glows:
        if -width < u < 2 * width and -height < v < 2 * height:
            size = max(1, min(round(radius), height // 6))
            cv2.circle(halo, (round(u), round(v)), size, tuple(strength * c for c in color), -1)
    halo = cv2.GaussianBlur(halo, (0, 0), height / 50.0)
    return cv2.add(image, halo)


@functools.lru_cache(maxsize=64)
def _vignette(height: int, width: int, strength: float) -> Picture:
    rows = np.linspace(-1.0, 1.0, height)[:, None]
    columns = np.linspace(-1.0, 1.0, width)[None, :]
    factor = 1.0 - strength * np.clip((rows**2 + columns**2) / 2.0, 0.0, 1.0)
    return np.repeat((255.0 * factor).astype(np.uint8)[:, :, None], 3, axis=2)


@functools.lru_cache(maxsize=256)
def _tone_curve(domain: Domain) -> npt.NDArray[np.uint8]:
    level = np.arange(256, dtype=np.float64)[:, None] / 255.0
    level = np.clip(level * domain.exposure, 0.0, 1.0) ** domain.gamma
    level = (level - 0.5) * domain.contrast + 0.5
    level = level * np.array(domain.color_cast)
    return np.clip(255.0 * level + 0.5, 0, 255).astype(np.uint8)[None]


def _noisy(image: Picture, deviation: float, looks: Stream) -> Picture:
    noise = _window(textures.sensor_noise(), image, looks)
    return cv2.addWeighted(image, 1.0, noise, deviation / 256.0, 0.0, dtype=cv2.CV_8U)
