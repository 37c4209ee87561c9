"""Selection of the one-shot images: one target image for every seed."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from datum.errors import InputError
from datum.layouts import TRAIN_IMAGES, find_train_images
from datum.photographs import open_one_shot_image


def one_shot_images(target_root: Path, seeds: Sequence[int], named: Sequence[Path] = ()) -> list[Path]:
    """One image per seed, all different: drawn from `leftImg8bit/train`, or the ones the user named.

    A named image is a path relative to `leftImg8bit/train`, or any file. A drawn image depends on the seed
    and the images' relative paths alone, not on the machine: the images are ordered by the SHA-256 of
    `<seed>:<path>`, and the first that no earlier seed has taken is the seed's.

    Raises `InputError` where there are fewer images than seeds, another number of named images than seeds,
    or an image that is not RGB with 8 bits per channel.
    """
    if named:
        require_one_a_seed(seeds, named)
        images = [named_image(target_root, image) for image in named]
    else:
        names = find_train_images(target_root)
        images = [target_root / name for name in draw_images(names, seeds, target_root)]
    for image in images:
        open_one_shot_image(image)
    return images


def named_image(target_root: Path, image: Path) -> Path:
    """The image that the user named: relative to `leftImg8bit/train` if there is one, else any file."""
    inside = target_root / TRAIN_IMAGES / image
    return inside if inside.is_file() else image


def require_one_a_seed(seeds: Sequence[int], named: Sequence[object]) -> None:
    """Raises `InputError` where there is another number of named images than of seeds."""
    if len(named) != len(seeds):
        raise InputError(
            f"one-shot images: found {len(named)} named images for {len(seeds)} seeds, expected one per "
            "seed; name as many images as seeds"
        )


def draw_images(images: Sequence[str], seeds: Sequence[int], target: object) -> list[str]:
    """The image of every seed, out of the names of a target's training images, as `one_shot_images` draws
    them; raises `InputError`, which names `target`, where there are fewer images than seeds."""
    if len(images) < len(seeds):
        raise InputError(
            f"{target}/{TRAIN_IMAGES}: found {len(images)} images, expected at least {len(seeds)}, "
            "one per seed; add images or run fewer seeds"
        )
    drawn: list[str] = []
    for seed in seeds:
        drawn.append(min((image for image in images if image not in drawn), key=lambda i: _rank(seed, i)))
    return drawn


def _rank(seed: int, image: str) -> str:
    path = image.removeprefix(f"{TRAIN_IMAGES}/")
    return hashlib.sha256(f"{seed}:{path}".encode()).hexdigest()
