"""What adaptation trains on: found, paired and checked before anything is written."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datum.errors import InputError
from datum.formats.class_statistics import read_statistics
from datum.label_files import read_label, require_same_size
from datum.labels import CLASSES, IGNORE
from datum.layouts import TRAIN_IMAGES, find_frames, layout_of
from datum.methods import BENCHMARKS, METHODS, STREET_SCALE
from datum.photographs import image_header
from datum.segmentation.validation import ValidationImage, load_label
from datum.telemetry import Progress

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Endings of target images."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceImage:
    """One labeled image."""

    image: Path
    label: Path
    """PNG of train ids, 255 for void, of the image's size."""
    class_pixels: Mapping[int, int]
    """Pixels of each class in the label, by train id, in the label's full size."""


def find_source(benchmark: str, root: Path) -> list[SourceImage]:
    """All labeled images of a converted source data set.

    Raises `InputError` for an unknown benchmark, a missing folder, a data set that was not converted, an
    image without its label, sizes that differ and a truncated file.
    """
    if benchmark not in BENCHMARKS:
        raise InputError(f"--benchmark {benchmark}: unknown, expected one of {', '.join(BENCHMARKS)}")
    dataset = BENCHMARKS[benchmark].source
    labels, remedy = layout_of(dataset).labels, f"run `datum convert {dataset} {root}`"
    frames = find_frames(dataset, root)
    statistics = read_statistics(root, labels, remedy)
    found = []
    for frame in frames:
        image, label = root / frame.image, root / frame.train_ids
        below = frame.train_ids.removeprefix(f"{labels}/")
        if not label.is_file() or below not in statistics:
            raise InputError(
                f"{image}: no converted label {label}, expected one for every image; add it and {remedy}"
            )
        require_same_size(image, label)
        found.append(SourceImage(image=image, label=label, class_pixels=statistics[below]))
    return found


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
    kind = METHODS[method].target
    if kind == "none":
        return [], None
    if folder is None:
        raise InputError(f"--target: missing, expected a folder of target images for --method {method}")
    if not folder.exists():
        raise InputError(f"--target {folder}: no such file or folder")
    inner = [folder / part for part in ("images", TRAIN_IMAGES) if (folder / part).is_dir()]
    images = [folder] if folder.is_file() else _images_below(inner[0] if inner else folder)
    if not images:
        raise InputError(f"--target {folder}: holds no image, expected .png or .jpg files")
    if kind == "one-shot" and len(images) != 1:
        raise InputError(
            f"--target {folder}: holds {len(images)} images, expected exactly one for --method {method}"
        )
    for image in images:
        _, mode = image_header(image)
        if mode != "RGB":
            raise InputError(f"{image}: mode {mode}, expected an RGB image; convert it to RGB")
    street = kind == "one-shot" or inner == [folder / TRAIN_IMAGES]
    return images, STREET_SCALE if street else None


def check_train_ids(source: Sequence[SourceImage], validation: Sequence[ValidationImage]) -> None:
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


def class_totals(source: Sequence[SourceImage]) -> dict[int, int]:
    """Pixels of each class in the whole data set, classes that never occur left out."""
    totals = {c.train_id: sum(s.class_pixels.get(c.train_id, 0) for s in source) for c in CLASSES}
    return {train_id: pixels for train_id, pixels in totals.items() if pixels > 0}


def _check_train_ids(label: Path) -> None:
    ids = read_label(label)
    unknown = ids[(ids >= len(CLASSES)) & (ids != IGNORE)]
    if unknown.size:
        raise InputError(
            f"{label}: found id {unknown[0]}, expected train ids 0 to {len(CLASSES) - 1} and {IGNORE}; "
            "convert the data set again"
        )


def _images_below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
