"""The labeled validation images of a data set in Cityscapes' layout, and a network's predictions of them.

Training validates on them and evaluation scores them: both read ahead while the network runs.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datum.config import EvaluationSettings
from datum.contents import Checked, digest_of_set, read_digests
from datum.label_files import decode_label, require_same_size, sizes_differ
from datum.layouts import CITYSCAPES, EVALUATED, Pair, find_pairs
from datum.photographs import PHOTOGRAPH_MODES, read_image, require_photograph
from datum.segmentation.inference import batches_of_one_size, predict_with
from datum.segmentation.iou import CLASS_COUNT, confusion_matrix, miou
from datum.segmentation.segmentor import Segmentor
from datum.threads import in_order

WORKERS = 4
"""Images that are read with their labels, beside those of the next pass, while the network runs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValidationImage:
    """An image file and the file of its label."""

    name: str
    """What the files of its predictions are called: `<city>_<sequence>_<frame>` in Cityscapes."""
    image: Path
    label: Path
    size: tuple[int, int]
    """Width and height of both, in pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """A validation image in memory."""

    entry: ValidationImage
    image: npt.NDArray[np.uint8]
    """uint8[height, width, 3], RGB."""
    label: npt.NDArray[np.uint8]
    """Train ids, uint8[height, width]."""


def find_validation_images(root: Path) -> list[ValidationImage]:
    """All images of the val split below `root`, by city and name.

    Looks at names and sizes alone, not at pixels. Raises `InputError` for what `find_pairs` does not accept
    and a label of another size than its image.
    """
    return [_entry(root, pair) for pair in find_pairs("cityscapes", root, split=EVALUATED)]


def load_label(file: Path) -> npt.NDArray[np.uint8]:
    """A label PNG as train ids, uint8[height, width], `IGNORE` where void; raises `InputError` for a broken
    one."""
    return CITYSCAPES.to_train_id[CITYSCAPES.read_label_ids(file)]


def digest_validation_images(root: Path, images: Sequence[ValidationImage]) -> str:
    """SHA-256 over names below `root` and contents of all images and labels.

    Reads every file that has changed since it was last read; raises `InputError` for one that is damaged or
    holds other ids or sizes than it should.
    """
    groups = [
        Checked(
            names=tuple(file.relative_to(root).as_posix() for file in (entry.image, entry.label)),
            check=functools.partial(_check, entry),
        )
        for entry in images
    ]
    return digest_of_set(read_digests("check validation set", root, groups))


def predict_all(
    segmentor: Segmentor, images: Sequence[ValidationImage], settings: EvaluationSettings
) -> Iterator[tuple[Loaded, npt.NDArray[np.uint8]]]:
    """Every image with the train ids that the network predicts for it, uint8[height, width].

    Neighbors of one size share a forward pass, at most `settings.batch_size` of them.
    """
    loading = in_order(_load, images, WORKERS + settings.batch_size)
    for batch in batches_of_one_size(loading, lambda loaded: loaded.entry.size, settings.batch_size):
        width, height = batch[0].entry.size
        predictions = predict_with(settings, segmentor, [loaded.image for loaded in batch], (height, width))
        yield from zip(batch, predictions)


def validate(segmentor: Segmentor, images: Sequence[ValidationImage], settings: EvaluationSettings) -> float:
    """mIoU in percent over the classes that occur, 0 where none does. Leaves the network training."""
    segmentor.eval()
    confusion = np.zeros((CLASS_COUNT, CLASS_COUNT), dtype=np.int64)
    for loaded, prediction in predict_all(segmentor, images, settings):
        confusion += confusion_matrix(loaded.label, prediction)
    segmentor.train()
    return miou(confusion) or 0.0


def _entry(root: Path, pair: Pair) -> ValidationImage:
    image, label, name = root / pair.image, root / pair.label, pair.frame.rpartition("/")[2]
    return ValidationImage(name=name, image=image, label=label, size=require_same_size(image, label))


def _check(entry: ValidationImage, contents: Sequence[bytes]) -> None:
    size = require_photograph(entry.image, contents[0], PHOTOGRAPH_MODES)
    label_size = CITYSCAPES.require_ids(entry.label, decode_label(entry.label, contents[1])).shape[::-1]
    if size != label_size:
        raise sizes_differ(entry.image, size, entry.label, label_size)


def _load(entry: ValidationImage) -> Loaded:
    return Loaded(entry=entry, image=read_image(entry.image), label=load_label(entry.label))
