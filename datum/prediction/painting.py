"""How predictions look: label ids, colors, and colors laid over what was predicted."""

import io

import cv2
import numpy as np
from PIL import Image

from datum.labels import TRAIN_ID_TO_COLOR, TRAIN_ID_TO_LABEL_ID

LABEL_IDS = "label_ids"
"""The one of `PREDICTION_KINDS` that is no picture to look at."""

_SUFFIXES = {LABEL_IDS: ".png", "color": ".png", "overlay": ".jpg", "beside": ".jpg"}
_OPACITY = 0.5
"""Of the colors over the input."""
_QUALITY = 90
"""Of JPEG."""
_WIDE = 2
"""Width over height from which two pictures stand one beneath the other."""


def picture_suffix(kind: str) -> str:
    """Ending of the file of a photograph's prediction."""
    return _SUFFIXES[kind]


def painted(kind: str, image: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """uint8[height, width, 3], RGB: what `kind`, other than label ids, shows of the train ids
    uint8[height, width] that are predicted for uint8[height, width, 3]."""
    color = TRAIN_ID_TO_COLOR[prediction]
    if kind == "color":
        return color
    overlay = cv2.addWeighted(image, 1 - _OPACITY, color, _OPACITY, 0)
    if kind == "overlay":
        return overlay
    height, width = prediction.shape
    return np.concatenate([image, overlay], axis=0 if width >= _WIDE * height else 1)


def encoded(kind: str, image: np.ndarray, prediction: np.ndarray) -> bytes:
    """The same as a file."""
    stream = io.BytesIO()
    if kind == LABEL_IDS:
        Image.fromarray(TRAIN_ID_TO_LABEL_ID[prediction]).save(stream, "PNG")
    elif kind == "color":
        palette = Image.fromarray(prediction)
        palette.putpalette(TRAIN_ID_TO_COLOR.tobytes())
        palette.save(stream, "PNG")
    else:
        Image.fromarray(painted(kind, image, prediction)).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
