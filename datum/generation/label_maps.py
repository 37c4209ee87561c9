"""Label maps that images are drawn from: crops of a source data set, chosen by rare class sampling.

As DGInStyle's `controlnet/gen_datasets.py`: a class, a label map with enough of it, and a crop around a pixel
of it.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datum.contents import Checked, digest_of_set, read_digests
from datum.errors import InputError
from datum.formats.class_statistics import SourceImage, read_source, require_counts_of
from datum.formats.labeled import Condition
from datum.formats.source_scale import require_scale_of
from datum.generation_settings import GenerationSettings
from datum.label_files import decode_label, read_label, sizes_differ
from datum.labels import CLASS_NAMES
from datum.layouts import LAYOUTS
from datum.methods import BENCHMARKS, DatasetName
from datum.photographs import PHOTOGRAPH_MODES, image_header, read_image, require_photograph
from datum.rare_classes import rare_classes

TRIES = 10
"""Crops that are cut out until one has enough of the sampled class (DGInStyle)."""
LEAST_SHARE = 0.01
"""Share of the crop that is enough (DGInStyle)."""
RECIPE_SIDE = 512
"""Side of the crop that `generation.labeled_min_pixels` is given for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelMap:
    """A label map that an image is drawn from."""

    train_id: int
    """Of the class that it was sampled for."""
    ids: np.ndarray
    """Train ids, 255 for void, uint8[size, size]."""
    image: np.ndarray | None
    """What the source data set shows there, uint8[size, size, 3]; None where that decides nothing."""
    condition: Condition

    def classes(self) -> list[str]:
        """Names of the classes in it, in the order of their train ids."""
        return [CLASS_NAMES[train_id] for train_id in np.unique(self.ids) if train_id < len(CLASS_NAMES)]


class LabelMaps:
    """The label maps of a converted source data set; map `index` depends on the seed and the index alone.

    Raises `InputError` for a folder that is no such data set, for a label map of another size than its image,
    smaller than what is drawn, damaged or of other ids than train ids, and where no class has enough pixels
    in any label map.
    """

    def __init__(self, root: Path, settings: GenerationSettings, *, with_images: bool) -> None:
        """`with_images` says whether the source images decide what is drawn, and not their labels alone."""
        self._size, self._with_images = settings.size, with_images
        require_scale_of(root, None)
        dataset = _dataset_of(root)
        self._images = root / LAYOUTS[dataset].images
        self._sources = read_source(dataset, root)
        self.digest = _digest(root, self._images, self._sources, settings.size, with_images)
        least = settings.labeled_min_pixels * (settings.size / RECIPE_SIDE) ** 2
        pixels = [source.class_pixels for source in self._sources]
        self._rare = rare_classes(pixels, least, settings.labeled_temperature)
        if not self._rare.occurring:
            raise InputError(
                f"--source {root}: no label map holds any of the {len(CLASS_NAMES)} classes, expected a "
                "labeled data set; take the data set's labels as downloaded, and convert it again"
            )
        if not self._rare.classes:
            raise InputError(
                f"generation.labeled_min_pixels={settings.labeled_min_pixels}: no class has more than "
                f"{least:.0f} pixels (at this generation.size) in any label map of {root}; lower it"
            )
        self.class_names = [CLASS_NAMES[train_id] for train_id in self._rare.occurring]

    def cut(self, seed: int, index: int) -> LabelMap:
        """Label map `index` of `seed`."""
        rng = np.random.default_rng([seed, index])
        train_id, chosen = self._rare.draw(rng)
        source = self._sources[chosen]
        ids = read_label(source.label)
        places = np.argwhere(ids == train_id)
        for _ in range(TRIES):
            top, left = self._around(places[rng.integers(len(places))], ids.shape)
            box = slice(top, top + self._size), slice(left, left + self._size)
            if np.count_nonzero(ids[box] == train_id) > LEAST_SHARE * self._size**2:
                break
        return LabelMap(
            train_id=train_id,
            # Copies: whole label maps would stay in memory with their crops.
            ids=ids[box].copy(),
            image=read_image(source.image)[box].copy() if self._with_images else None,
            condition=Condition(image=_name(source, self._images), top=top, left=left),
        )

    def _around(self, place: np.ndarray, shape: Sequence[int]) -> tuple[int, int]:
        """Top and left of the crop whose middle is nearest to `place`, (row, column)."""
        top, left = (
            min(max(0, int(middle) - self._size // 2), side - self._size)
            for middle, side in zip(place, shape)
        )
        return top, left


def _dataset_of(root: Path) -> DatasetName:
    """The data set whose folders lie in `root`."""
    known = dict.fromkeys(benchmark.source for benchmark in BENCHMARKS.values())
    for dataset in known:
        layout = LAYOUTS[dataset]
        if (root / layout.images).is_dir() and (root / layout.labels).is_dir():
            return dataset
    expected = " or ".join(f"{LAYOUTS[name].images} and {LAYOUTS[name].labels}" for name in known)
    raise InputError(f"--source {root}: found no source data set, expected its folders {expected}")


def _name(source: SourceImage, images: Path) -> str:
    """Name of its image in the folder `images`."""
    return source.image.relative_to(images).as_posix()


def _digest(root: Path, images: Path, sources: Sequence[SourceImage], size: int, with_images: bool) -> str:
    """SHA-256 of names and contents of what decides the drawings; reads what has changed since it was read
    last, and checks it."""
    groups = []
    for source in sources:
        files = (source.label, source.image) if with_images else (source.label,)
        groups.append(
            Checked(
                names=tuple(file.relative_to(root).as_posix() for file in files),
                check=functools.partial(_check, source, size),
            )
        )
    pixels = digest_of_set({_name(it, images): str(sorted(it.class_pixels.items())) for it in sources})
    what = "check label maps and images" if with_images else "check label maps"
    return digest_of_set(read_digests(what, root, groups, given=f"{pixels} {size}"))


def _check(source: SourceImage, size: int, contents: Sequence[bytes]) -> None:
    ids = decode_label(source.label, contents[0])
    if len(contents) > 1:
        image_size = require_photograph(source.image, contents[1], PHOTOGRAPH_MODES)
    else:
        image_size = image_header(source.image)[0]
    if image_size != ids.shape[::-1]:
        raise sizes_differ(source.image, image_size, source.label, ids.shape[::-1])
    if min(ids.shape) < size:
        raise InputError(
            f"{source.label}: found {ids.shape[1]}x{ids.shape[0]} pixels, expected {size}x{size} or more "
            "(generation.size); lower generation.size, or enlarge the data set"
        )
    require_counts_of(source.label, ids, source.class_pixels)
