"""Drawing the data set of the new place, as DATUM's `dreambooth/generate_dreambooth.py` does.

Image j draws prompt j modulo the number of prompts. Its noise comes from its own seed. Images are drawn in
blocks of `batch_size` consecutive indices, always whole ones: a matrix product rounds differently for another
batch size, so blocks that follow the index alone keep image j the same, to the byte on one kind of processor,
whatever the number of shards, the count, or where a run was interrupted.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from PIL import Image

from datum.config import GenerationSettings, require_counts
from datum.diffusion.checkpoint import find_checkpoint, model_digest
from datum.errors import InputError
from datum.formats.generated import (
    IMAGES,
    GeneratedImage,
    append_image,
    surviving_images,
    write_manifest,
)
from datum.generation.kept_images import KeptImages
from datum.generation.painter import Painter
from datum.outputs import building, is_complete, replacing, sha256
from datum.prompts import build_prompts
from datum.provenance import Provenance
from datum.store import open_store
from datum.telemetry import Progress
from datum.training_state import state_place

MOST_DRAWS = 10
"""Seeds that one image may use up before its prompt is given up: the checker blackens a few in a hundred
street images, so ten in a row mean that something else is wrong."""


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

    A run that was killed keeps the images whose digest is right and draws the others. `state_uri` names a
    store that every image is copied to, so that a run can go on on another machine.

    Raises `InputError` for an unusable model, setting or shard, before anything is written, and where the
    safety checker rejects one image `MOST_DRAWS` times.
    """
    _check(settings, shard)
    prompts = build_prompts(settings.prompt_template, settings.prompt_classes)
    folder = find_checkpoint(model, settings.checkpoint_step)
    digest = model_digest(folder)
    provenance = Provenance(
        stage="generate",
        settings=settings,
        inputs={"model_sha256": digest},
        seed=seed,
        arguments={"shard": list(shard)},
    )
    if is_complete(output, provenance):
        return
    painter = Painter(folder, settings, prompts)
    kept = KeptImages(open_store(state_place(state_uri, provenance))) if state_uri else None
    with building(output, provenance) as partial:
        (partial / IMAGES).mkdir(exist_ok=True)
        if kept:
            kept.restore(partial)
        images = surviving_images(partial)
        write_manifest(partial, images)
        present = {image.index for image in images}
        blocks = _blocks(settings, shard)
        total = sum(index < settings.count for block in blocks for index in block)
        progress = Progress("generate", total, unit="images", done=len(present))
        for block in blocks:
            missing = {index for index in block if index < settings.count} - present
            for image in _draw_missing(painter, block, missing, prompts, seed, partial, digest):
                append_image(partial, image)
                if kept:
                    kept.keep(partial, image)
            progress.advance(len(missing))
        write_manifest(partial, surviving_images(partial))


def _draw_missing(
    painter: Painter,
    block: range,
    missing: Collection[int],
    prompts: Sequence[str],
    seed: int,
    folder: Path,
    digest: str,
) -> Iterator[GeneratedImage]:
    """Draws a block, if any of its indices is `missing`, and writes those images into `folder`, in order."""
    drawn = _draw_block(painter, block, prompts, seed) if missing else {}
    for index in sorted(missing):
        prompt = prompts[index % len(prompts)]
        picture, redrawn = _accepted(painter, drawn[index], prompt, seed, index)
        file = f"{IMAGES}/im_{index}_p{index % len(prompts)}.png"
        _write_image(picture, folder / file)
        yield GeneratedImage(
            index=index,
            prompt=prompt,
            seed=image_seed(seed, index, redrawn),
            file=file,
            sha256=sha256(folder / file),
            model=digest,
            redrawn=redrawn,
        )


def image_seed(seed: int, index: int, redrawn: int = 0) -> int:
    """Seed of one image's noise: the first 4 bytes of the SHA-256 of "<seed> <index> <redrawn>".

    It depends on nothing else: not on the shard, the batch size or the count. 32 bits are what PyTorch's
    Mersenne twister takes.
    """
    digest = hashlib.sha256(f"{seed} {index} {redrawn}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _draw_block(
    painter: Painter, block: range, prompts: Sequence[str], seed: int
) -> dict[int, tuple[Image.Image, bool]]:
    """(image, whether it was painted black) of every index of a block, at its first seed."""
    block_prompts = [prompts[index % len(prompts)] for index in block]
    return dict(zip(block, painter.draw(block_prompts, [image_seed(seed, index) for index in block])))


def _accepted(
    painter: Painter, drawn: tuple[Image.Image, bool], prompt: str, seed: int, index: int
) -> tuple[Image.Image, int]:
    """(image that the safety checker let through, times it was drawn again).

    It is drawn again on its own, so that it depends on no other image.
    """
    picture, blackened = drawn
    redrawn = 0
    while blackened:
        redrawn += 1
        if redrawn == MOST_DRAWS:
            raise InputError(
                f"generation.prompt_template: the safety checker rejected image {index} ({prompt!r}) "
                f"{MOST_DRAWS} times; change the prompt, or use a pipeline without a safety checker"
            )
        picture, blackened = painter.draw([prompt], [image_seed(seed, index, redrawn)])[0]
    return picture, redrawn


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
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())


def _check(settings: GenerationSettings, shard: tuple[int, int]) -> None:
    require_counts("generation", settings)
    number, total = shard
    if not 1 <= number <= total:
        raise InputError(f"--shard {number}/{total}: expected I/K with I from 1 to K")
