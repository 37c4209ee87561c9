"""The quick check of a data set's root: files are found and paired, none is read."""

from __future__ import annotations

from pathlib import Path

from datum.datasets.layouts import DatasetName, find_images, find_pairs


def check_dataset(benchmark_dataset: DatasetName, root: Path, *, split: str | None = None) -> None:
    """Raises `InputError` that names what `root` lacks: a folder, any image, or one file of a pair.

    Of Cityscapes, the split `train` needs images only (one-shot images are chosen from them), the splits
    `val` and `test` need labels too, and without `split` the root is checked as the target of a whole run:
    `train` and `val`. What the files hold is verified by `datum.datasets.convert`.
    """
    if benchmark_dataset == "cityscapes" and split in (None, "train"):
        find_images(benchmark_dataset, root, split="train")
    if benchmark_dataset != "cityscapes" or split != "train":
        find_pairs(
            benchmark_dataset, root, split=split or ("val" if benchmark_dataset == "cityscapes" else None)
        )
