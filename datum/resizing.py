"""Street images and labels, resized as the reference resizes them."""

import cv2
import numpy as np


def fitted_size(size: tuple[int, int], scale: tuple[int, int]) -> tuple[int, int]:
    """(height, width) that an image of `size` = (height, width) gets to fit within `scale`, ratio kept.

    The longer side of `scale` bounds the image's longer side, whichever way they lie (mmcv's rule, which
    the reference uses), and sides are rounded half up. What has the fitted size keeps it.
    """
    factor = min(max(scale) / max(size), min(scale) / min(size))
    return int(size[0] * factor + 0.5), int(size[1] * factor + 0.5)


def fits_within(size: tuple[int, int], scale: tuple[int, int]) -> bool:
    """Whether an image of `size` need not become smaller to fit within `scale`."""
    return max(size) <= max(scale) and min(size) <= min(scale)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8[height, width, 3] resized to `size` = (height, width), bilinear."""
    if image.shape[:2] == size:
        return image
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8[height, width] resized to `size` = (height, width), nearest neighbor."""
    if label.shape == size:
        return label
    return cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
