"""Drawing the data set of the new place, as DATUM's `dreambooth/generate_dreambooth.py` does.

Image j draws prompt j modulo the number of prompts. Its noise comes from its own seed. Images are drawn in
blocks of `batch_size` consecutive indices, always whole ones: a matrix product rounds differently for another
batch size, so blocks that follow the index alone keep image j the same, to the byte on one kind of processor,
whatever the number of shards, the count, or where a run was interrupted.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from datum.config import require_counts
from datum.diffusion.base_model import model_digest
from datum.diffusion.checkpoint import find_checkpoint
from datum.diffusion.fitness import require_fitting
from datum.diffusion.sizes import latent_cell, require_cells_of_image
from datum.errors import InputError
from datum.formats.generated import (
    IMAGES,
    GeneratedImage,
    RejectedImage,
    append_image,
    append_rejected,
    remove_other_files,
    surviving_images,
    surviving_rejected,
    write_manifest,
)
from datum.generation.kept_images import KeptImages
from datum.generation.painter import Painter
from datum.generation.room_to_draw import require_room_to_draw
from datum.generation_settings import GenerationSettings
from datum.outputs import building, is_complete, replacing, sha256
from datum.prompts import build_prompts
from datum.provenance import NAMED, Provenance, read_provenance, record_of
from datum.stopping import Stopped, deferred, stop_asked
from datum.store import open_store
from datum.telemetry import Progress, log
from datum.training_state import state_place

MOST_DRAWS = 10
"""Seeds that one image may use up before it is left out: the checker blackens a few in a hundred street
images, so ten in a row are its prompt's or its noise's."""

MOST_REJECTED = 0.01
"""Share of a shard's images that may be left out, one image at least: more mean that something is wrong."""


def generate(
    *,
    model: Path,
    output: Path,
    settings: GenerationSettings,
    seed: int,
    shard: tuple[int, int] = (1, 1),
    state_uri: str | None = None,
) -> None:
    """Draws the images of shard (I, K), I from 1 to K, into `output/images/im_<index>_p<prompt>.png`.

    `output/manifest.jsonl` has one `GeneratedImage` a line. Shard I takes every K-th block of `batch_size`
    indices, from block I - 1 on; `merge_shards` joins shards to what one unsharded run writes. `model` is a
    pipeline folder or a personalization output.

    An image that the safety checker rejects `MOST_DRAWS` times is left out and listed in
    `output/rejected.jsonl`.

    A run that was killed keeps the images whose digest is right and draws the others. `state_uri` names a
    store that every image is copied to, so that a run can go on on another machine. On SIGTERM it ends with
    `Stopped`.

    Raises `InputError` for an unusable model, setting or shard, before anything is written, where the model
    draws what is no picture, and where more than `MOST_REJECTED` of the images are left out.
    """
    _check(settings, shard)
    prompts = build_prompts(settings.prompt_template, settings.prompt_classes)
    folder = find_checkpoint(model, settings.checkpoint_step)
    require_fitting(folder, f"--model {folder}")
    require_cells_of_image(settings.size, latent_cell(folder))
    digest = model_digest(folder)
    provenance = Provenance(
        stage="generate",
        settings=settings,
        inputs={"model_sha256": digest, NAMED: {"model": str(model)}},
        seed=seed,
        arguments={"shard": list(shard)},
        made_from=_made_from(folder),
    )
    if is_complete(output, provenance):
        return
    require_room_to_draw(folder, output, settings, shard[1])
    painter = Painter(folder, settings, prompts)
    store = open_store(state_place(state_uri, provenance)) if state_uri else None
    if store:
        # This asks for a key: a wrong endpoint or secret is said before anything is written.
        store.exists("any")
    kept = KeptImages(store) if store else None
    with building(output, provenance) as partial, deferred():
        shard_of_images = _Shard(painter, partial, settings, prompts, seed, shard, digest)
        shard_of_images.draw(kept)


def _made_from(checkpoint: Path) -> dict[str, Any]:
    """The record of the personalization that wrote the checkpoint, if one did."""
    if (read_provenance(checkpoint.parent) or {}).get("stage") != "personalize":
        return {}
    files = (f"{checkpoint.name}/{depth}" for depth in ("*", "*/*"))
    return {"model": record_of(checkpoint.parent, *files)}


class _Shard:
    """The images of one shard: those that there are, and the others drawn."""

    def __init__(
        self,
        painter: Painter,
        folder: Path,
        settings: GenerationSettings,
        prompts: Sequence[str],
        seed: int,
        shard: tuple[int, int],
        digest: str,
    ) -> None:
        self._painter, self._folder, self._prompts = painter, folder, prompts
        self._seed, self._digest = seed, digest
        self._blocks = _blocks(settings, shard)
        self._indices = {index for block in self._blocks for index in block if index < settings.count}
        self._images: list[GeneratedImage] = []
        self._rejected: list[RejectedImage] = []

    def draw(self, kept: KeptImages | None) -> None:
        """Draws what is neither in the folder nor `kept`, and writes the manifest."""
        self._take_up()
        if kept:
            kept.restore(self._folder)
            self._take_up()
        there = {image.index for image in self._images} | {image.index for image in self._rejected}
        progress = Progress("generate", len(self._indices), unit="images", done=len(there))
        for block in self._blocks:
            missing = self._indices.intersection(block) - there
            for image in self._draw_missing(block, missing):
                append_image(self._folder, image)
                self._images.append(image)
                if kept:
                    kept.keep(self._folder, image)
                if stop_asked():
                    raise Stopped(f"stopped after image {image.index}")
            progress.advance(len(missing))
        if self._rejected and not self._images:
            raise self._too_many_rejected()
        write_manifest(self._folder, self._images, self._rejected)

    def _take_up(self) -> None:
        """Finds the images and rejections that are there, and removes all else: the unfinished work may be of
        another batch size, and so of other images, or have been killed while it wrote one."""
        self._images = [
            image for image in surviving_images(self._folder, GeneratedImage) if self._is_ours(image)
        ]
        self._rejected = [
            image
            for image in surviving_rejected(self._folder)
            if image.index in self._indices and image.prompt == self._prompt(image.index)
        ]
        remove_other_files(self._folder, self._images)
        write_manifest(self._folder, self._images, self._rejected)

    def _is_ours(self, image: GeneratedImage) -> bool:
        expected = self._described(image.index, image.redrawn, image.sha256)
        return image.index in self._indices and image == expected

    def _described(self, index: int, redrawn: int, content: str) -> GeneratedImage:
        """The line of the manifest of an image with the SHA-256 `content`."""
        return GeneratedImage(
            index=index,
            prompt=self._prompt(index),
            seed=image_seed(self._seed, index, redrawn),
            file=f"{IMAGES}/im_{index}_p{index % len(self._prompts)}.png",
            sha256=content,
            model=self._digest,
            redrawn=redrawn,
        )

    def _prompt(self, index: int) -> str:
        return self._prompts[index % len(self._prompts)]

    def _draw_missing(self, block: range, missing: Collection[int]) -> Iterator[GeneratedImage]:
        """Draws a block, if any of its indices is `missing`, and writes those images, in order."""
        drawn = self._draw_block(block) if missing else {}
        for index in sorted(missing):
            found = self._accepted(drawn[index], index)
            if found is None:
                self._leave_out(index)
                continue
            picture, redrawn = found
            name = self._described(index, redrawn, "0" * 64).file
            _write_image(picture, self._folder / name)
            yield self._described(index, redrawn, sha256(self._folder / name))

    def _draw_block(self, block: range) -> dict[int, tuple[Image.Image, bool]]:
        """(image, whether it was painted black) of every index of a block, at its first seed."""
        prompts = [self._prompt(index) for index in block]
        return dict(
            zip(block, self._painter.draw(prompts, [image_seed(self._seed, index) for index in block]))
        )

    def _accepted(self, drawn: tuple[Image.Image, bool], index: int) -> tuple[Image.Image, int] | None:
        """(image that the safety checker let through, times it was drawn again); None where it let none.

        It is drawn again on its own, so that it depends on no other image.
        """
        picture, blackened = drawn
        redrawn = 0
        while blackened:
            redrawn += 1
            if redrawn == MOST_DRAWS:
                return None
            seed = image_seed(self._seed, index, redrawn)
            picture, blackened = self._painter.draw([self._prompt(index)], [seed])[0]
        return picture, redrawn

    def _leave_out(self, index: int) -> None:
        """Notes an image that the safety checker rejected in every try."""
        image = RejectedImage(index=index, prompt=self._prompt(index))
        append_rejected(self._folder, image)
        self._rejected.append(image)
        log(
            f"generate: image {index} ({image.prompt!r}) is left out: the safety checker rejected it "
            f"{MOST_DRAWS} times"
        )
        if len(self._rejected) > max(1, MOST_REJECTED * len(self._indices)):
            raise self._too_many_rejected()

    def _too_many_rejected(self) -> InputError:
        return InputError(
            f"generation.prompt_template: the safety checker rejected {len(self._rejected)} of "
            f"{len(self._indices)} images {MOST_DRAWS} times each, the last one with "
            f"{self._rejected[-1].prompt!r}; expected at most {MOST_REJECTED:.0%} of them; change the "
            "prompt, or use a pipeline without a safety checker"
        )


def image_seed(seed: int, index: int, redrawn: int = 0) -> int:
    """Seed of one image's noise: the first 4 bytes of the SHA-256 of "<seed> <index> <redrawn>".

    It depends on nothing else: not on the shard, the batch size or the count. 32 bits are what PyTorch's
    Mersenne twister takes.
    """
    digest = hashlib.sha256(f"{seed} {index} {redrawn}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _blocks(settings: GenerationSettings, shard: tuple[int, int]) -> list[range]:
    """The shard's blocks of consecutive indices; the last one of all may reach past `count`."""
    number, total = shard
    size = settings.batch_size
    starts = range(0, settings.count, size)[number - 1 :: total]
    return [range(start, start + size) for start in starts]


def _write_image(picture: Image.Image, file: Path) -> None:
    with replacing(file) as temporary:
        # Level 6, the default, keeps the GPU waiting six times as long and saves a seventh of the bytes.
        picture.save(temporary, format="PNG", compress_level=1)


def _check(settings: GenerationSettings, shard: tuple[int, int]) -> None:
    require_counts("generation", settings)
    number, total = shard
    if not 1 <= number <= total:
        raise InputError(f"--shard {number}/{total}: expected I/K with I from 1 to K")
