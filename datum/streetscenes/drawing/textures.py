"""Stored textures: grain, ground, clouds and tree crowns, made once a process from fixed seeds."""

import functools

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

CROWN_SHAPES = 24
CROWN_SIZE = 160
"""Pixels on a side of a stored crown."""


def _fractal(size: int, seed: int, coarsest: int, finest: int, decay: float) -> npt.NDArray[np.float32]:
    """Noise that tiles, of zero mean and unit deviation: octaves of `coarsest` to `finest` cells a side."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, size]))
    total = np.zeros((size, size), dtype=np.float32)
    cells, weight = coarsest, 1.0
    while cells <= finest:
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        wrapped = np.pad(grid, 2, mode="wrap")
        step = size // cells
        large = cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += weight * large[2 * step : 2 * step + size, 2 * step : 2 * step + size]
        cells, weight = cells * 2, weight * decay
    total -= total.mean()
    return total / total.std()


def _gray(levels: npt.NDArray[np.floating]) -> Bytes:
    return np.repeat(np.clip(levels, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


@functools.cache
def ground_texture() -> Bytes:
    """Asphalt and paving, uint8[256, 256, 3], gray, mean 128: fine grain over large stains; tiles."""
    grain = _fractal(256, 11, 32, 256, 0.9) * 0.9 + _fractal(256, 12, 2, 8, 0.7) * 0.35
    return _gray(128.0 + 16.0 * grain)


@functools.cache
def clouds() -> Bytes:
    """Cloud thickness, uint8[256, 256]; tiles."""
    return np.clip(128.0 + 52.0 * _fractal(256, 21, 4, 128, 0.6), 0, 255).astype(np.uint8)


@functools.cache
def grain() -> Bytes:
    """Surface texture of everything that stands, uint8[512, 512, 3], gray, mean 128."""
    return _gray(128.0 + 26.0 * _fractal(512, 31, 64, 512, 0.85))


@functools.cache
def sensor_noise() -> npt.NDArray[np.int16]:
    """Noise of a sensor, int16[512, 512, 3], deviation 256: mostly gray, a little colored."""
    rng = np.random.default_rng(41)
    gray = rng.standard_normal((512, 512, 1))
    color = rng.standard_normal((512, 512, 3))
    return np.clip((0.85 * gray + 0.5 * color) * 256.0, -32000, 32000).astype(np.int16)


@functools.cache
def crowns() -> tuple[tuple[Bytes, Bytes], ...]:
    """Tree crowns lit from above: shade and mask (255 inside), each uint8[size, size]."""
    return tuple(_crown(index) for index in range(CROWN_SHAPES))


def _crown(seed: int) -> tuple[Bytes, Bytes]:
    """A heap of leaf clusters, each shaded as a ball; every sixth crown is a slender conifer."""
    rng = np.random.default_rng(np.random.SeedSequence([51, seed]))
    size = CROWN_SIZE
    shade = np.full((size, size), 62, dtype=np.uint8)
    mask = np.zeros((size, size), dtype=np.uint8)
    conifer = seed % 6 == 5
    clusters = []
    for _ in range(90):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        u, v = 0.5 + 0.36 * reach * np.cos(angle), 0.5 + 0.38 * reach * np.sin(angle)
        if conifer:
            v = rng.uniform(0.06, 0.92)
            u = 0.5 + (0.05 + 0.33 * v) * rng.uniform(-1, 1)
        clusters.append((u, v, rng.uniform(0.035, 0.1)))
    clusters.sort(key=lambda c: -c[1])  # the upper ones lie in front, as they catch the light
    for u, v, radius in clusters:
        middle = (round(u * size), round(v * size))
        wide = max(2, round(radius * size))
        cv2.circle(mask, middle, wide, 255, -1)
        level = 150.0 - 95.0 * v + rng.uniform(-22, 22)
        cv2.circle(shade, middle, wide, float(np.clip(level * 0.82, 12, 255)), -1)
        shine = (middle[0] - wide // 4, middle[1] - wide // 3)
        cv2.circle(shade, shine, max(1, int(wide * 0.62)), float(np.clip(level * 1.14, 20, 255)), -1)
    leaves = _fractal(256, 60 + seed, 32, 128, 1.0)[:size, :size]
    ragged = cv2.GaussianBlur(mask, (0, 0), 3.0).astype(np.float32) + 34.0 * leaves
    mask = cv2.medianBlur(np.where(ragged > 118, 255, 0).astype(np.uint8), 3)
    soft = cv2.GaussianBlur(shade, (0, 0), 1.2).astype(np.float32)
    return np.clip(soft + 17.0 * leaves, 8, 255).astype(np.uint8), mask
