"""Scores a segmentation network on a labelled validation set in Cityscapes' layout."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

import datum
from datum.config import EvaluationSettings, require_counts, to_dict
from datum.errors import InputError
from datum.labels import TRAIN_ID_TO_COLOR, TRAIN_ID_TO_LABEL_ID
from datum.outputs import building, is_complete, sha256, write_json
from datum.photographs import read_image
from datum.segmentation.inference import predict_train_ids
from datum.segmentation.iou import CLASS_COUNT, confusion_matrix, metrics
from datum.segmentation.segmentor import Segmentor, load_segmentor
from datum.segmentation.validation_set import ValidationImage, find_validation_images, load_label
from datum.telemetry import Progress, log

EXAMPLES = 4
"""Images kept in `examples/` with label and prediction in colour, for the report."""

Argument = TypeVar("Argument")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Loaded:
    entry: ValidationImage
    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]


def evaluate(
    *, checkpoint: Path, dataset: Path, output: Path, settings: EvaluationSettings, workers: int = 4
) -> None:
    """Predicts every validation image of `dataset` with `checkpoint` and writes the scores to `output`.

    `output` holds `metrics.json` (see `datum.segmentation.iou.metrics`; besides the number of images
    and the checkpoint's name and SHA-256), `predictions/label_ids/<city>_<sequence>_<frame>.png`
    (Cityscapes label ids: the folder that `CITYSCAPES_RESULTS` names to cityscapesScripts),
    `predictions/color/` (the same in the Cityscapes palette) and `examples/` (`<name>_image.png`,
    `<name>_label.png`, `<name>_prediction.png`, spread evenly over the set). `workers` threads read and
    write images while the network runs.

    Raises `InputError`, before anything is written, where the checkpoint or any file of the validation set
    is missing, broken or of the wrong kind.
    """
    require_counts("evaluation", settings)
    if not checkpoint.is_file():
        raise InputError(
            f"--checkpoint {checkpoint}: no such file, expected a .safetensors file of `datum adapt`"
        )
    checkpoint_sha256 = sha256(checkpoint)
    provenance = {
        "stage": "evaluate",
        "settings": to_dict(settings),
        "inputs": {"checkpoint_sha256": checkpoint_sha256, "dataset": str(dataset.resolve())},
        "seed": None,
        "datum_version": datum.__version__,
    }
    if is_complete(output, provenance):
        log(f"{output}: already evaluated")
        return
    entries = find_validation_images(dataset, "--dataset")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    segmentor = load_segmentor(checkpoint).to(device)
    with ThreadPoolExecutor(workers) as pool:
        _check(entries, pool, workers)
        with building(output, provenance) as folder:
            confusion = _predict_all(segmentor, entries, folder, settings, pool, workers)
            scores = metrics(confusion) | {
                "images": len(entries),
                "checkpoint": checkpoint.name,
                "checkpoint_sha256": checkpoint_sha256,
            }
            write_json(folder / "metrics.json", scores)


def _check(entries: Sequence[ValidationImage], pool: ThreadPoolExecutor, workers: int) -> None:
    """Reads every file once, so that a broken one is found before the network sees the first image."""
    progress = Progress("check validation set", len(entries), unit="images")
    for _ in _ahead(_load, entries, pool, workers):
        progress.advance()


def _predict_all(
    segmentor: Segmentor,
    entries: Sequence[ValidationImage],
    folder: Path,
    settings: EvaluationSettings,
    pool: ThreadPoolExecutor,
    workers: int,
) -> npt.NDArray[np.int64]:
    """Writes predictions and examples into `folder`; returns the confusion matrix of the whole set."""
    for name in ("predictions/label_ids", "predictions/color", "examples"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    examples = {entries[index].name for index in spread(len(entries), EXAMPLES)}
    confusion = np.zeros((CLASS_COUNT, CLASS_COUNT), dtype=np.int64)
    progress = Progress("evaluate", len(entries), unit="images")
    writes: deque[Future[None]] = deque()
    loading = _ahead(_load, entries, pool, workers + settings.batch_size)
    for batch in _batches(loading, settings.batch_size):
        images = [loaded.image for loaded in batch]
        size = images[0].shape[0], images[0].shape[1]
        predictions = predict_train_ids(segmentor, images, scale=settings.scale, output_size=size)
        for loaded, prediction in zip(batch, predictions):
            confusion += confusion_matrix(loaded.label, prediction)
            example = loaded.entry.name in examples
            writes.append(pool.submit(_write, folder, loaded, prediction, example))
        while len(writes) > workers:
            writes.popleft().result()
        progress.advance(len(batch))
    for write in writes:
        write.result()
    return confusion


def spread(count: int, chosen: int) -> list[int]:
    """At most `chosen` indices below `count`, evenly apart, in ascending order."""
    return sorted({(2 * i + 1) * count // (2 * chosen) for i in range(chosen)})


def _load(entry: ValidationImage) -> _Loaded:
    return _Loaded(entry=entry, image=read_image(entry.image), label=load_label(entry.label))


def _batches(loading: Iterable[_Loaded], batch_size: int) -> Iterator[list[_Loaded]]:
    """Runs of neighbours of one size, at most `batch_size` long."""
    for _, same_size in itertools.groupby(loading, key=lambda loaded: loaded.entry.size):
        while batch := list(itertools.islice(same_size, batch_size)):
            yield batch


def _ahead(
    function: Callable[[Argument], Result],
    arguments: Iterable[Argument],
    pool: ThreadPoolExecutor,
    ahead: int,
) -> Iterator[Result]:
    """`pool.map`, with at most `ahead` results computed before they are asked for."""
    remaining = iter(arguments)
    pending = deque(pool.submit(function, argument) for argument in itertools.islice(remaining, ahead))
    while pending:
        result = pending.popleft().result()
        pending.extend(pool.submit(function, argument) for argument in itertools.islice(remaining, 1))
        yield result


def _write(folder: Path, loaded: _Loaded, prediction: npt.NDArray[np.uint8], example: bool) -> None:
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
