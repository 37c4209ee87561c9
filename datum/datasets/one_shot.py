"""Selection of the one-shot images: one target image for every seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from datum.datasets.layouts import find_images
from datum.errors import InputError
from datum.images import open_one_shot_image

TRAIN_IMAGES = "leftImg8bit/train"
"""Folder of the target's training images, relative to the target's root."""


def one_shot_images(target_root: Path, seeds: Sequence[int], named: Sequence[Path] = ()) -> list[Path]:
    """One image a seed, all different: drawn from `leftImg8bit/train`, or the ones the user named.

    A named image is a path relative to `leftImg8bit/train`, or any file. A drawn image depends on the seed
    and the images' relative paths alone, not on the machine: the images are ordered by the SHA-256 of
    `<seed>:<path>`, and the first that no earlier seed has taken is the seed's.

    Raises `InputError` where there are fewer images than seeds, another number of named images than seeds,
    or an image that is not RGB with 8 bits a channel.
    """
    images = _named_images(target_root, seeds, named) if named else _drawn_images(target_root, seeds)
    for image in images:
        open_one_shot_image(image)
    return images


def _named_images(target_root: Path, seeds: Sequence[int], named: Sequence[Path]) -> list[Path]:
    if len(named) != len(seeds):
        raise InputError(
            f"one-shot images: found {len(named)} named images for {len(seeds)} seeds, expected one a seed; "
            "name as many images as seeds"
        )
    below = [target_root / TRAIN_IMAGES / image for image in named]
    return [inside if inside.is_file() else image for inside, image in zip(below, named)]


def _drawn_images(target_root: Path, seeds: Sequence[int]) -> list[Path]:
    images = find_images("cityscapes", target_root, split="train")
    if len(images) < len(seeds):
        raise InputError(
            f"{target_root / TRAIN_IMAGES}: found {len(images)} images, expected at least {len(seeds)}, "
            "one a seed; add images or run fewer seeds"
        )
    drawn: list[str] = []
    for seed in seeds:
        drawn.append(min((image for image in images if image not in drawn), key=lambda i: _rank(seed, i)))
    return [target_root / image for image in drawn]


def _rank(seed: int, image: str) -> str:
    path = image.removeprefix(f"{TRAIN_IMAGES}/")
    return hashlib.sha256(f"{seed}:{path}".encode()).hexdigest()
