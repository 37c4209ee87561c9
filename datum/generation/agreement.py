"""What a network that was trained on the source finds of a label map in the image that was drawn from it."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from datum.device import choose_device
from datum.errors import InputError
from datum.labels import CLASS_NAMES, IGNORE
from datum.outputs import sha256
from datum.segmentation.checkpoints import named_network, open_checkpoint
from datum.segmentation.inference import NotFiniteError, predict_train_ids
from datum.telemetry import log

NAMED = "--judge"


class Agreement(NamedTuple):
    """Shares of pixels, 0 to 1, that the network gives the label's class."""

    total: float
    """Of all labeled pixels."""
    by_class: dict[str, float]
    """Of the pixels of each class in the label."""


class Judge:
    """A trained network, ready to judge.

    Raises `InputError` where `text` names no network that `datum evaluate` takes.
    """

    def __init__(self, text: str) -> None:
        self._file = named_network(NAMED, text)
        opened = open_checkpoint(self._file, NAMED)
        log(f"generate: judged by {opened}")
        self._segmentor = opened.segmentor.to(choose_device())

    def agreement(self, picture: Image.Image, ids: np.ndarray) -> Agreement:
        """How far the network agrees with the label map `ids`, uint8[height, width], on the picture that was
        drawn from it.

        The picture is predicted on its own and in its own size, so that nothing else decides the outcome.
        """
        height, width = ids.shape
        try:
            found = predict_train_ids(
                self._segmentor, [np.asarray(picture)], scale=(width, height), output_size=(height, width)
            )[0]
        except NotFiniteError as error:
            raise InputError(f"{NAMED} {self._file}: {error}") from None
        by_class = {
            name: _share(found == ids, ids == train_id)
            for train_id, name in enumerate(CLASS_NAMES)
            if (ids == train_id).any()
        }
        return Agreement(total=_share(found == ids, ids != IGNORE), by_class=by_class)


def judge_digest(text: str) -> str:
    """SHA-256 of the file of the network that `text` names."""
    return sha256(named_network(NAMED, text))


def _share(agreed: np.ndarray, counted: np.ndarray) -> float:
    return round(int(np.count_nonzero(agreed & counted)) / int(np.count_nonzero(counted)), 6)
