"""What adaptation trains and validates on: found, paired and checked before anything is written."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datum.errors import InputError
from datum.labels import CLASSES, IGNORE
from datum.photographs import image_header, read_label
from datum.segmentation.validation_set import ValidationImage, load_label
from datum.telemetry import Progress

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

STATISTICS = "sample_class_stats.json"
"""File that `datum convert` writes: for each label, pixels of each class."""


CITYSCAPES_TRAIN = Path("leftImg8bit") / "train"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Where a source data set keeps its files, and at which size it is trained on."""

    images: str
    labels: str
    scale: tuple[int, int]
    """Images are resized to fit within (width, height) (reference: `configs/_base_/datasets`)."""


BENCHMARKS: Mapping[str, Benchmark] = {
    "gta-to-cityscapes": Benchmark(images="images", labels="labels", scale=(1280, 720)),
    "synthia-to-cityscapes": Benchmark(images="RGB", labels="GT/LABELS", scale=(1280, 760)),
}

STREET_SCALE = (1024, 512)
"""Scale of real target images (reference: Cityscapes is trained on at half its size)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceImage:
    """One labelled image."""

    image: Path
    label: Path
    """PNG of train ids, 255 for void, of the image's size."""
    class_pixels: Mapping[int, int]
    """Pixels of each class in the label, by train id, in the label's full size."""


def find_source(benchmark: str, root: Path) -> list[SourceImage]:
    """All labelled images of a converted source data set.

    Raises `InputError` for an unknown benchmark, a missing folder, a data set that was not converted, an
    image without its label, sizes that differ and a truncated file.
    """
    if benchmark not in BENCHMARKS:
        raise InputError(f"--benchmark {benchmark}: unknown, expected one of {', '.join(BENCHMARKS)}")
    name, layout = benchmark.split("-")[0], BENCHMARKS[benchmark]
    image_folder, label_folder = root / layout.images, root / layout.labels
    for folder in (root, image_folder, label_folder):
        if not folder.is_dir():
            raise InputError(
                f"--source {folder}: no such folder, expected {layout.images} and {layout.labels} in --source"
            )
    statistics = _read_statistics(root, name, layout.labels)
    found = []
    for image in _images_below(image_folder):
        below = image.relative_to(image_folder).with_name(f"{image.stem}_labelTrainIds.png")
        label = label_folder / below
        if not label.is_file() or below.as_posix() not in statistics:
            raise InputError(
                f"{image}: no converted label {label}, expected one for every image; add the label and run "
                f"`datum convert {name} {root}`"
            )
        check_pair(image, label)
        found.append(SourceImage(image=image, label=label, class_pixels=statistics[below.as_posix()]))
    if not found:
        raise InputError(f"--source {image_folder}: holds no image, expected .png or .jpg files")
    return found


def _read_statistics(root: Path, name: str, labels: str) -> dict[str, dict[int, int]]:
    """Pixels of each class, by the label's path below the labels folder.

    Paths in the file are relative to wherever the converter ran, so only that part of them counts.
    """
    file = root / STATISTICS
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(entry["file"]).replace("\\", "/").rpartition(f"{labels}/")[2]: {
                int(key): int(pixels) for key, pixels in entry.items() if key != "file"
            }
            for entry in entries
        }
    except FileNotFoundError:
        raise InputError(
            f"--source {root}: {STATISTICS} is missing, expected a converted data set; run "
            f"`datum convert {name} {root}`"
        ) from None
    except (ValueError, TypeError, KeyError):
        raise InputError(
            f"{file}: not the list of class counts that `datum convert` writes; run "
            f"`datum convert {name} {root}` again"
        ) from None


def find_target(method: str, folder: Path | None) -> tuple[list[Path], tuple[int, int] | None]:
    """Target images, and the scale that they are resized to fit within (None: as they are).

    `daformer` takes an output of `datum generate`, a folder of images, or a Cityscapes root; `one-image`
    takes one file or a folder with one image; `source-only` takes none. Generated images and folders of
    images stay as they are (DATUM); real street images get `STREET_SCALE`.

    Raises `InputError` for an unknown method, a missing or empty folder, an image that is not RGB and a
    truncated file.
    """
    if method not in METHODS:
        raise InputError(f"--method {method}: unknown, expected one of {', '.join(METHODS)}")
    if method == "source-only":
        return [], None
    if folder is None:
        raise InputError(f"--target: missing, expected a folder of target images for --method {method}")
    if not folder.exists():
        raise InputError(f"--target {folder}: no such file or folder")
    inner = [folder / part for part in ("images", CITYSCAPES_TRAIN) if (folder / part).is_dir()]
    images = [folder] if folder.is_file() else _images_below(inner[0] if inner else folder)
    if not images:
        raise InputError(f"--target {folder}: holds no image, expected .png or .jpg files")
    if method == "one-image" and len(images) != 1:
        raise InputError(
            f"--target {folder}: holds {len(images)} images, expected exactly one for --method one-image"
        )
    for image in images:
        _, mode = image_header(image)
        if mode != "RGB":
            raise InputError(f"{image}: mode {mode}, expected an RGB image; convert it to RGB")
    street = method == "one-image" or inner == [folder / CITYSCAPES_TRAIN]
    return images, STREET_SCALE if street else None


METHODS = ("source-only", "daformer", "one-image")
"""Source labels alone; self-training on a folder of target images; the same on the one-shot image alone."""


def check_labels(source: Sequence[SourceImage], validation: Sequence[ValidationImage]) -> None:
    """Reads every label; raises `InputError` for a damaged one and for ids outside the label space.

    An id that is none would be found when its image is drawn, hours into the training.
    """
    progress = Progress("check labels", len(source) + len(validation), unit="labels")
    with ThreadPoolExecutor() as pool:
        checks = (
            pool.map(lambda entry: _check_train_ids(entry.label), source),
            pool.map(lambda entry: load_label(entry.label), validation),
        )
        for _ in itertools.chain(*checks):
            progress.advance()


def _check_train_ids(label: Path) -> None:
    ids = read_label(label)
    unknown = ids[(ids >= len(CLASSES)) & (ids != IGNORE)]
    if unknown.size:
        raise InputError(
            f"{label}: found id {unknown[0]}, expected train ids 0 to {len(CLASSES) - 1} and {IGNORE}; "
            "convert the data set again"
        )


def class_totals(source: Sequence[SourceImage]) -> dict[int, int]:
    """Pixels of each class in the whole data set, classes that never occur left out."""
    totals = {c.train_id: sum(s.class_pixels.get(c.train_id, 0) for s in source) for c in CLASSES}
    return {train_id: pixels for train_id, pixels in totals.items() if pixels > 0}


def check_pair(image: Path, label: Path) -> None:
    """Raises `InputError` where either file is damaged or their sizes differ."""
    (size, _), (label_size, _) = image_header(image), image_header(label)
    if size != label_size:
        raise InputError(
            f"{label}: {label_size[0]}x{label_size[1]} pixels, expected {size[0]}x{size[1]} like its image "
            f"{image}"
        )


def _images_below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
