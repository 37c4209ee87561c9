"""PhotoMetricDistortion, which DAFormer's source-only training changes colors with.

Source: mmseg's transform of that name, with its default ranges. It works on whole numbers: each operation
rounds down, and hue and saturation change in OpenCV's HSV of 8 bits.
"""

import cv2
import numpy as np

BRIGHTNESS = 32.0
"""Largest change of brightness, in colors of 0 to 255."""

CONTRAST = (0.5, 1.5)
"""Range of the factor of all colors."""

SATURATION = (0.5, 1.5)
"""Range of the factor of HSV's saturation."""

HUE = 18
"""Largest change of hue, in units of 2 degrees; the positive end is never drawn."""


def photometric_distortion(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8[height, width, 3], red first, with brightness, contrast, saturation and hue changed, each by half
    a chance; contrast comes second or last."""
    if _by_half_a_chance(rng):
        image = _linear(image, offset=rng.uniform(-BRIGHTNESS, BRIGHTNESS))
    contrast_first = _by_half_a_chance(rng)
    if contrast_first:
        image = _contrast(image, rng)
    if _by_half_a_chance(rng):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 1] = _linear(hsv[..., 1], factor=rng.uniform(*SATURATION))
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if _by_half_a_chance(rng):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + rng.integers(-HUE, HUE)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image if contrast_first else _contrast(image, rng)


def _contrast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _linear(image, factor=rng.uniform(*CONTRAST)) if _by_half_a_chance(rng) else image


def _linear(colors: np.ndarray, *, factor: float = 1.0, offset: float = 0.0) -> np.ndarray:
    # float32 before rounding down, as in mmseg: float64 would give another number now and then.
    changed: np.ndarray = np.clip(colors.astype(np.float32) * factor + offset, 0, 255).astype(np.uint8)
    return changed


def _by_half_a_chance(rng: np.random.Generator) -> bool:
    return bool(rng.integers(2))
