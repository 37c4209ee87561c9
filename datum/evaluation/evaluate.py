"""Scores a segmentation network on a labeled validation set in Cityscapes' layout."""

import shutil
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from datum.config import EvaluationSettings, require_counts
from datum.device import choose_device
from datum.errors import InputError
from datum.formats.image_scores import image_score, write_image_scores
from datum.formats.metrics import write_metrics
from datum.labels import IGNORE, TRAIN_ID_TO_COLOR, TRAIN_ID_TO_LABEL_ID
from datum.outputs import building, is_complete, set_aside_outdated, sha256
from datum.provenance import NAMED, Provenance, record_of
from datum.room import require_disk
from datum.segmentation.checkpoints import checkpoint_file, open_checkpoint
from datum.segmentation.inference import NotFiniteError
from datum.segmentation.iou import CLASS_COUNT, confusion_matrix, score
from datum.segmentation.segmentor import Segmentor
from datum.segmentation.validation import (
    WORKERS,
    Loaded,
    ValidationImage,
    digest_validation_images,
    find_validation_images,
    load_label,
    predict_all,
)
from datum.telemetry import Progress, log

EXAMPLES = 4
"""Images kept in `examples/` with label and prediction in color, for the report."""


def evaluate(*, checkpoint: Path, dataset: Path, output: Path, settings: EvaluationSettings) -> None:
    """Predicts every validation image of `dataset` with `checkpoint`, which may be any that
    `datum.segmentation.checkpoints` opens, and writes the scores to `output`.

    `output` holds `metrics.json` (`datum.formats.metrics`), the counts of each image
    (`datum.formats.image_scores`), `predictions/label_ids/<name>.png` (Cityscapes label ids: the folder that
    `CITYSCAPES_RESULTS` names to cityscapesScripts), `predictions/color/` (the same in the Cityscapes
    palette) and `examples/` (`<name>_image.png`, `<name>_label.png`,
    `<name>_prediction.png`, spread evenly over the set).

    Raises `InputError`, before anything is written, where the checkpoint or any file of the validation set
    is missing, broken or of the wrong kind, and where no pixel is labeled; and where the network's output is
    not finite.
    """
    require_counts("evaluation", settings)
    checkpoint = checkpoint_file(checkpoint)
    images = find_validation_images(dataset)
    checkpoint_sha256 = sha256(checkpoint)
    provenance = Provenance(
        stage="evaluate",
        settings=settings,
        inputs={
            "checkpoint_sha256": checkpoint_sha256,
            "dataset_sha256": digest_validation_images(dataset, images),
            NAMED: {"checkpoint": str(checkpoint), "dataset": str(dataset)},
        },
        made_from={"checkpoint": record_of(checkpoint.parent, checkpoint.name)},
    )
    set_aside_outdated(output, provenance)
    if is_complete(output, provenance):
        return
    if not any((load_label(image.label) != IGNORE).any() for image in images):
        raise InputError(
            f"--dataset {dataset}: no pixel of its {len(images)} labels is of one of the {CLASS_COUNT} "
            "classes, expected labels to score against; take a data set with labels"
        )
    _say_where_names_are_not_cityscapes(dataset, images)
    opened = open_checkpoint(checkpoint)
    log(f"evaluate: {opened}")
    segmentor = opened.segmentor.to(choose_device())
    # Predictions take about as much as their labels, and in color twice as much.
    needed = 3 * sum(image.label.stat().st_size for image in images)
    require_disk(output, needed, "the predictions")
    with building(output, provenance) as folder:
        try:
            confusion = _predict(segmentor, images, folder, settings)
        except NotFiniteError as error:
            shutil.rmtree(folder)
            raise InputError(f"--checkpoint {checkpoint}: {error}") from None
        about = {"images": len(images), "checkpoint": checkpoint.name, "checkpoint_sha256": checkpoint_sha256}
        write_metrics(folder, score(confusion) | about)


def _say_where_names_are_not_cityscapes(dataset: Path, images: Sequence[ValidationImage]) -> None:
    others = [image.name for image in images if len(image.name.split("_")) != 3]
    if others:
        log(
            f"{dataset}: {len(others)} names are not <city>_<sequence>_<frame>, such as {others[0]}; they "
            "are scored here, but cityscapesScripts cannot read them"
        )


def _predict(
    segmentor: Segmentor, images: Sequence[ValidationImage], folder: Path, settings: EvaluationSettings
) -> npt.NDArray[np.int64]:
    """Writes predictions, examples and what was counted of each image into `folder`; returns the confusion
    matrix of the whole set."""
    for name in ("predictions/label_ids", "predictions/color", "examples"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    examples = {images[index].name for index in spread(len(images), EXAMPLES)}
    confusion = np.zeros((CLASS_COUNT, CLASS_COUNT), dtype=np.int64)
    progress = Progress("evaluate", len(images), unit="images")
    writes: deque[Future[None]] = deque()
    scores = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for loaded, prediction in predict_all(segmentor, images, settings):
            counted = confusion_matrix(loaded.label, prediction)
            confusion += counted
            scores.append(image_score(loaded.entry.name, counted))
            writes.append(pool.submit(_write, folder, loaded, prediction, loaded.entry.name in examples))
            # No more than a few pictures wait in memory.
            while len(writes) > WORKERS:
                writes.popleft().result()
            progress.advance()
        for write in writes:
            write.result()
    write_image_scores(folder, scores)
    return confusion


def spread(count: int, chosen: int) -> list[int]:
    """At most `chosen` indices below `count`, evenly apart, in ascending order."""
    return sorted({(2 * i + 1) * count // (2 * chosen) for i in range(chosen)})


def _write(folder: Path, loaded: Loaded, prediction: npt.NDArray[np.uint8], example: bool) -> None:
    name = loaded.entry.name
    color = Image.fromarray(TRAIN_ID_TO_COLOR[prediction])
    Image.fromarray(TRAIN_ID_TO_LABEL_ID[prediction]).save(
        folder / "predictions" / "label_ids" / f"{name}.png"
    )
    color.save(folder / "predictions" / "color" / f"{name}.png")
    if example:
        shutil.copyfile(loaded.entry.image, folder / "examples" / f"{name}_image.png")
        Image.fromarray(TRAIN_ID_TO_COLOR[loaded.label]).save(folder / "examples" / f"{name}_label.png")
        color.save(folder / "examples" / f"{name}_prediction.png")
