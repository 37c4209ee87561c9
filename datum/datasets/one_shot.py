"""Selection of the one-shot images: one target image for every seed."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from datum.errors import InputError
from datum.layouts import TRAIN_IMAGES, find_train_images
from datum.methods import ONE_SHOT_PROTOCOLS
from datum.photographs import open_one_shot_image


def one_shot_images(target_root: Path, seeds: Sequence[int], named: Sequence[Path] = ()) -> list[Path]:
    """One image per seed: drawn from `leftImg8bit/train`, all different, or the ones the user named.

    A named image is a path relative to `leftImg8bit/train`, or any file; the name of a protocol alone stands
    for its images (`images_of_protocol`). A drawn image depends on the seed and the images' relative paths
    alone, not on the machine: the images are ordered by the SHA-256 of `<seed>:<path>`, and the first that no
    earlier seed has taken is the seed's.

    Raises `InputError` where there are fewer images than seeds, another number of named images than seeds,
    an image of a protocol is not in the target, or an image is not RGB with 8 bits per channel.
    """
    if protocol := protocol_of(named):
        names = images_of_protocol(protocol, seeds)
        require_images(protocol, target_root, lambda name: (target_root / name).is_file())
        images = [target_root / name for name in names]
    elif named:
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


def protocol_of(named: Sequence[object]) -> str:
    """The one-shot protocol whose name stands in place of named images; empty where images are named."""
    text = str(named[0]) if len(named) == 1 else ""
    return text if text in ONE_SHOT_PROTOCOLS else ""


def images_of_protocol(protocol: str, seeds: Sequence[int]) -> list[str]:
    """The image of every seed, relative to the target, by the one-shot `protocol`: its images in turn, each
    repeated as often as the others. Raises `InputError` for a number of seeds that does not do so."""
    chosen = ONE_SHOT_PROTOCOLS[protocol]
    count = len(chosen.images)
    if len(seeds) % count:
        raise InputError(
            f"one-shot protocol {protocol}: found {len(seeds)} seeds, expected a multiple of {count}, so "
            f"that each of its {count} images is repeated as often; set run.seeds, or on a cluster SEEDS in "
            f"settings.env, to [{', '.join(map(str, range(1, count + 1)))}] for one repeat of each"
        )
    return [f"{TRAIN_IMAGES}/{name}" for name in chosen.named(len(seeds))]


def require_images(protocol: str, target: object, is_there: Callable[[str], bool]) -> None:
    """Raises `InputError` for an image of the `protocol` that the `target` lacks; `is_there` says whether it
    has a file of that name."""
    for name in ONE_SHOT_PROTOCOLS[protocol].images:
        if not is_there(f"{TRAIN_IMAGES}/{name}"):
            raise InputError(
                f"one-shot protocol {protocol}: {name} is not in {target}/{TRAIN_IMAGES}; name Cityscapes as "
                "the target, or one-shot images of its own"
            )


def require_one_a_seed(seeds: Sequence[int], named: Sequence[object]) -> None:
    """Raises `InputError` where there is another number of named images than of seeds, and where a protocol's
    would not be repeated equally often."""
    if protocol := protocol_of(named):
        images_of_protocol(protocol, seeds)
    elif len(named) != len(seeds):
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
