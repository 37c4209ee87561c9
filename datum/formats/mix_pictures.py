"""`pictures/<iteration>.jpg` of a training: what a step was shown and what it learned from, squares in a row.

The squares are those of `PANELS`, all of the first image of the step's batch; `masked` is there where parts
of target images are hidden (MIC, VFM-UDA). `adaptation.pictures` of them are spread evenly over the training.
"""

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datum.errors import InputError
from datum.outputs import replacing
from datum.photographs import open_image

PICTURES = "pictures"
"""Name of the folder in the output of `datum adapt`; there is none where nothing is mixed."""

PANELS: Mapping[str, str] = {
    "source": "source image",
    "source_label": "source label",
    "target": "target image",
    "pseudo_label": "pseudo-label",
    "confidence": "confidence",
    "mixed": "mixed image",
    "mixed_label": "mixed label",
    "masked": "masked image",
}
"""What each square shows, from left to right. Confidence is white from the threshold on and the darker the
less sure below; black is left out. The mixed image is as augmented."""

SIDE = 256
"""Longest side of a square in pixels."""

_JPEG = {"quality": 90, "subsampling": 0}
"""Fine enough that the borders of classes keep their colors."""


class MixPictures:
    """The pictures of one training, in memory and on disk; `drawn` is saved and restored with the training's
    state."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / PICTURES
        self.drawn: dict[int, bytes] = {}
        """Iteration -> JPEG."""

    def restore(self, drawn: Mapping[int, bytes]) -> None:
        """Goes back to `drawn`: what was drawn after the state was saved will be drawn again."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.drawn = {}
        for iteration, picture in drawn.items():
            self._keep(iteration, picture)

    def add(self, iteration: int, panels: Sequence[Image.Image]) -> None:
        """Adds a picture of squares of one size."""
        side = panels[0].width
        row = Image.new("RGB", (len(panels) * side, side))
        for place, panel in enumerate(panels):
            row.paste(panel, (place * side, 0))
        stream = io.BytesIO()
        row.save(stream, "jpeg", **_JPEG)
        self._keep(iteration, stream.getvalue())

    def _keep(self, iteration: int, picture: bytes) -> None:
        self._folder.mkdir(exist_ok=True)
        with replacing(self._folder / f"{iteration:06d}.jpg") as temporary:
            temporary.write_bytes(picture)
        self.drawn[iteration] = picture


def find_pictures(folder: Path) -> dict[int, Path]:
    """The pictures of the training in `folder` by their iterations, in ascending order; none for a training
    without."""
    files = (folder / PICTURES).glob("*.jpg")
    return dict(sorted((int(file.stem), file) for file in files if file.stem.isdecimal()))


def read_panels(file: Path) -> dict[str, np.ndarray]:
    """Name, as in `PANELS`, of every square of a picture -> uint8[side, side, 3], RGB.

    Raises `InputError` for a file that is no picture of a training.
    """
    image = np.asarray(open_image(file).convert("RGB"))
    side, width = image.shape[:2]
    names = list(PANELS)[: width // side]
    if width != side * len(names) or len(names) < len(PANELS) - 1:
        raise InputError(
            f"{file}: found {width}x{side} pixels, expected {len(PANELS) - 1} or {len(PANELS)} squares in a "
            "row; run `datum adapt` again, or remove the file"
        )
    return {name: image[:, place * side : (place + 1) * side] for place, name in enumerate(names)}
