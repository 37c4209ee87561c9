"""The two series of images: drawn from prompts, and drawn from label maps.

An image of either depends on the seed and its index alone: not on the shard, the batch size or the count.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from datum.formats.generated import IMAGES, MANIFEST, GeneratedImage
from datum.formats.labeled import DROPPED, LABELS, LabeledImage, image_name, label_name
from datum.generation.label_maps import LabelMap, LabelMaps
from datum.generation.label_painter import LabelPainter
from datum.generation.painter import Painter
from datum.generation.shard import write_image
from datum.outputs import sha256
from datum.prompts import prompt_of_classes

if TYPE_CHECKING:
    from datum.generation.agreement import Judge

_UNKNOWN = "0" * 64
"""In place of a digest that is not known yet."""

_MAPS_AT_HAND = 64
"""Label maps kept in memory: more than a block has."""


class PromptSeries:
    """DATUM's images: image j draws prompt j modulo the number of prompts."""

    title = "generate"
    prompt_setting = Painter.prompt_setting
    kind = GeneratedImage
    places: Sequence[str] = (IMAGES,)
    manifests: Sequence[str] = (MANIFEST,)

    def __init__(self, painter: Painter, prompts: Sequence[str], count: int, seed: int, model: str) -> None:
        """`model` is the digest of the pipeline."""
        self._painter, self._prompts, self.count = painter, prompts, count
        self._seed, self._model = seed, model

    def prompt(self, index: int) -> str:
        return self._prompts[index % len(self._prompts)]

    def draw(self, indices: Sequence[int], redrawn: int = 0) -> list[tuple[Image.Image, bool]]:
        prompts = [self.prompt(index) for index in indices]
        return self._painter.draw(prompts, [image_seed(self._seed, index, redrawn) for index in indices])

    def write(self, folder: Path, index: int, picture: Image.Image, redrawn: int) -> GeneratedImage:
        file = folder / self._described(index, redrawn, _UNKNOWN).file
        write_image(picture, file)
        return self._described(index, redrawn, sha256(file))

    def is_ours(self, image: GeneratedImage) -> bool:
        return image == self._described(image.index, image.redrawn, image.sha256)

    def _described(self, index: int, redrawn: int, content: str) -> GeneratedImage:
        """The line of the manifest of an image with the SHA-256 `content`."""
        return GeneratedImage(
            index=index,
            prompt=self.prompt(index),
            seed=image_seed(self._seed, index, redrawn),
            file=f"{IMAGES}/im_{index}_p{index % len(self._prompts)}.png",
            sha256=content,
            model=self._model,
            redrawn=redrawn,
        )


class LabelSeries:
    """Labeled images: image j draws label map j, with the words of its classes as the prompt."""

    title = "generate labeled"
    prompt_setting = LabelPainter.prompt_setting
    kind = LabeledImage
    places: Sequence[str] = (IMAGES, LABELS)
    manifests: Sequence[str] = (MANIFEST, DROPPED)

    def __init__(
        self,
        painter: LabelPainter,
        maps: LabelMaps,
        template: str,
        count: int,
        seed: int,
        model: str,
        judge: Judge | None,
    ) -> None:
        self._painter, self._template, self.count = painter, template, count
        self._seed, self._model, self._judge = seed, model, judge
        self._map = functools.lru_cache(_MAPS_AT_HAND)(functools.partial(maps.cut, seed))

    def prompt(self, index: int) -> str:
        return prompt_of_classes(self._template, self._map(index).classes())

    def draw(self, indices: Sequence[int], redrawn: int = 0) -> list[tuple[Image.Image, bool]]:
        prompts = [self.prompt(index) for index in indices]
        seeds = [self._image_seed(index, redrawn) for index in indices]
        return self._painter.draw(prompts, seeds, [self._map(index) for index in indices])

    def write(self, folder: Path, index: int, picture: Image.Image, redrawn: int) -> LabeledImage:
        label_map = self._map(index)
        file = image_name(index, label_map.train_id)
        label = label_name(file)
        write_image(picture, folder / file)
        write_image(Image.fromarray(label_map.ids), folder / label)
        found = self._judge.agreement(picture, label_map.ids) if self._judge else None
        return LabeledImage(
            index=index,
            prompt=self.prompt(index),
            seed=self._image_seed(index, redrawn),
            file=file,
            sha256=sha256(folder / file),
            model=self._model,
            redrawn=redrawn,
            label=label,
            label_sha256=sha256(folder / label),
            condition=label_map.condition,
            agreement=found.total if found else None,
            agreement_by_class=found.by_class if found else None,
        )

    def is_ours(self, image: LabeledImage) -> bool:
        label_map: LabelMap = self._map(image.index)
        told = (image.prompt, image.seed, image.model, image.file, image.condition, image.agreement is None)
        return told == (
            self.prompt(image.index),
            self._image_seed(image.index, image.redrawn),
            self._model,
            image_name(image.index, label_map.train_id),
            label_map.condition,
            self._judge is None,
        )

    def _image_seed(self, index: int, redrawn: int) -> int:
        return image_seed(self._seed, index, redrawn, of="labeled ")


def image_seed(seed: int, index: int, redrawn: int = 0, *, of: str = "") -> int:
    """Seed of one image's noise: the first 4 bytes of the SHA-256 of "<seed> <of><index> <redrawn>", so that
    images of one index in two series share none.

    32 bits are what PyTorch's Mersenne twister takes.
    """
    digest = hashlib.sha256(f"{seed} {of}{index} {redrawn}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
