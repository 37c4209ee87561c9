"""Checks of a data set's root that write nothing: a quick one of names, and a whole one of the labels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datum.datasets.convert import read_checked_label
from datum.layouts import find_images, find_pairs
from datum.methods import DatasetName
from datum.telemetry import Progress


def check_dataset(dataset: DatasetName, root: Path, *, split: str | None = None) -> None:
    """Raises `InputError` that names what `root` lacks: a folder, any image, or one file of a pair.

    Of Cityscapes, the split `train` needs images only (one-shot images are chosen from them), the splits
    `val` and `test` need labels too, and without `split` the root is checked as the target of a whole run:
    `train` and `val`. What the files hold is verified by `datum.datasets.convert`.
    """
    if dataset == "cityscapes" and split in (None, "train"):
        find_images(dataset, root, split="train")
    if dataset != "cityscapes" or split != "train":
        find_pairs(dataset, root, split=split or ("val" if dataset == "cityscapes" else None))


def check_labels(dataset: DatasetName, root: Path, *, split: str | None = None) -> None:
    """Reads every label of `root`, or of one split; raises `InputError` where `datum convert` would."""
    pairs = find_pairs(dataset, root, split=split)
    progress = Progress(f"check {dataset}", len(pairs), unit="labels")
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(
            lambda pair: read_checked_label(dataset, root / pair.image, root / pair.label), pairs
        ):
            progress.advance()
