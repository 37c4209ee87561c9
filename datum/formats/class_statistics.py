"""Pixels of each class in every label of a converted data set: what rare class sampling reads.

Names and content are those of DAFormer's converters. Paths in the files begin with the root as it was given
where the conversion ran (`data/gta/labels/00001_labelTrainIds.png`), so a reader takes only what follows the
labels folder, as DAFormer's own rare class sampling does.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datum.errors import InputError
from datum.labels import CLASSES, IGNORE
from datum.layouts import find_frames, layout_of
from datum.methods import DatasetName
from datum.photographs import LARGEST_PIXELS

STATISTICS = "sample_class_stats.json"
"""List with one object a label: pixels of every train id that occurs, and `file`."""

STATISTICS_FILES = (STATISTICS, "sample_class_stats_dict.json", "samples_with_class.json")
"""All files of a conversion: the list, the same as an object from file to pixels by train id, and an object
from train id to a list of (file, pixels)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceImage:
    """One labeled image."""

    image: Path
    label: Path
    """PNG of train ids, 255 for void, of the image's size."""
    class_pixels: Mapping[int, int]
    """Pixels of each class in the label, by train id, in the label's full size."""


_TRAIN_IDS = {str(c.train_id): c.train_id for c in CLASSES}


def statistics_texts(counts: Mapping[str, Mapping[int, int]]) -> tuple[str, ...]:
    """The content of `STATISTICS_FILES`, given the pixels by train id of every file."""
    files_by_class: dict[int, list[tuple[str, int]]] = {}
    for file, count in counts.items():
        for train_id, pixels in count.items():
            files_by_class.setdefault(train_id, []).append((file, pixels))
    contents = ([{**count, "file": file} for file, count in counts.items()], counts, files_by_class)
    return tuple(json.dumps(content, indent=2) for content in contents)


def read_statistics(root: Path, labels: str, remedy: str) -> dict[str, dict[int, int]]:
    """Pixels of each class by the label's path below the folder `labels` of `root`.

    Raises `InputError` for a file that is missing or is none of these; `remedy` is what to do then.
    """
    file = root / STATISTICS
    if not file.exists():
        raise InputError(f"{root}: {STATISTICS} is missing, expected a converted data set; {remedy}")
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(entries, list):
            raise ValueError(f"found {type(entries).__name__}, expected a list")
        counts: dict[str, dict[int, int]] = {}
        for number, entry in enumerate(entries, start=1):
            try:
                name, pixels = _counts(entry, labels)
            except ValueError as error:
                raise ValueError(f"entry {number}: {error}") from None
            if name in counts:
                raise ValueError(f"entry {number}: names {name}, as an earlier one does")
            counts[name] = pixels
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"{file}: not the list of class counts that `datum convert` writes "
            f"({' '.join(str(error).split())[:200]}); {remedy} again"
        ) from None
    return counts


def read_source(dataset: DatasetName, root: Path) -> list[SourceImage]:
    """All images of a converted source data set, with their labels and what is counted of these.

    Raises `InputError` for a missing folder, a data set that was not converted and an image without its
    label.
    """
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
        found.append(SourceImage(image=image, label=label, class_pixels=statistics[below]))
    return found


def require_counts_of(
    label: Path, ids: np.ndarray, pixels: Mapping[int, int], *, smaller: bool = False
) -> None:
    """Raises `InputError` where `ids`, uint8[height, width] in the file `label`, are no train ids, or are not
    those that the statistics tell of it: `pixels` of each class. One that is stored `smaller` than it was
    counted (`datum.formats.source_scale`) holds no other classes."""
    counts = np.bincount(ids.ravel(), minlength=IGNORE + 1)
    if unknown := [i for i in np.flatnonzero(counts).tolist() if i >= len(CLASSES) and i != IGNORE]:
        raise InputError(
            f"{label}: found id {unknown[0]}, expected train ids 0 to {len(CLASSES) - 1} and {IGNORE}; "
            "convert the data set again"
        )
    found = {c.train_id: int(counts[c.train_id]) for c in CLASSES if counts[c.train_id]}
    counted = {train_id: count for train_id, count in pixels.items() if count}
    if not found.keys() <= counted.keys() if smaller else found != counted:
        raise InputError(
            f"{label}: holds other classes than the statistics of its data set say; convert the data set "
            "again"
        )


def _counts(entry: Any, labels: str) -> tuple[str, dict[int, int]]:
    """(path below the labels folder, pixels by train id) of one entry; ValueError where it is none."""
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        raise ValueError("found no object with the name of a file")
    name = entry["file"].replace("\\", "/").rpartition(f"{labels}/")[2]
    pixels: dict[int, int] = {}
    for key, count in entry.items():
        if key == "file":
            continue
        if key not in _TRAIN_IDS:
            raise ValueError(f"found {key[:40]!r}, expected train ids from 0 to {len(CLASSES) - 1}")
        if type(count) is not int or not 0 < count <= LARGEST_PIXELS:
            raise ValueError(f"found {str(count)[:40]} pixels of class {key}, expected a number of pixels")
        pixels[_TRAIN_IDS[key]] = count
    return name, pixels
