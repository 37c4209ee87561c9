"""Pixels of each class in every label of a converted data set: what rare class sampling reads.

Names and content are those of DAFormer's converters. Paths in the files begin with the root as it was given
where the conversion ran (`data/gta/labels/00001_labelTrainIds.png`), so a reader takes only what follows the
labels folder, as DAFormer's own rare class sampling does.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from datum.errors import InputError

STATISTICS = "sample_class_stats.json"
"""List with one object a label: pixels of every train id that occurs, and `file`."""

STATISTICS_FILES = (STATISTICS, "sample_class_stats_dict.json", "samples_with_class.json")
"""All files of a conversion: the list, the same as an object from file to pixels by train id, and an object
from train id to a list of (file, pixels)."""


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
            f"{root}: {STATISTICS} is missing, expected a converted data set; {remedy}"
        ) from None
    except (ValueError, TypeError, KeyError):
        raise InputError(
            f"{file}: not the list of class counts that `datum convert` writes; {remedy} again"
        ) from None
