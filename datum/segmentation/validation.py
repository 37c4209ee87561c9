"""mIoU on the validation set while training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from datum.config import EvaluationSettings
from datum.photographs import read_image
from datum.segmentation.inference import predict_train_ids
from datum.segmentation.iou import CLASS_COUNT, confusion_matrix, miou
from datum.segmentation.segmentor import Segmentor
from datum.segmentation.validation_set import ValidationImage, load_label

Pair = tuple[np.ndarray, np.ndarray]


def validate(segmentor: Segmentor, images: Sequence[ValidationImage], settings: EvaluationSettings) -> float:
    """mIoU in percent over the classes that occur, 0 where none does. Leaves the network training."""
    segmentor.eval()
    confusion = np.zeros((CLASS_COUNT, CLASS_COUNT), dtype=np.int64)
    for pairs in _equal_sized(images, settings.batch_size):
        labels = np.stack([label for _, label in pairs])
        height, width = labels.shape[1:]
        predictions = predict_train_ids(
            segmentor, [image for image, _ in pairs], scale=settings.scale, output_size=(height, width)
        )
        confusion += confusion_matrix(labels, predictions)
    segmentor.train()
    return miou(confusion) or 0.0


def _equal_sized(images: Sequence[ValidationImage], most: int) -> Iterator[list[Pair]]:
    """Images and train ids, in runs of at most `most` of one size."""
    run: list[Pair] = []
    for entry in images:
        pair = read_image(entry.image), load_label(entry.label)
        if run and (len(run) == most or run[0][1].shape != pair[1].shape):
            yield run
            run = []
        run.append(pair)
    if run:
        yield run
