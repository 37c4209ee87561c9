"""The manifest of generated images, and how shards become one data set."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.outputs import PROVENANCE, building, is_complete, replacing, sha256

MANIFEST = "manifest.jsonl"
IMAGES = "images"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratedImage:
    """One line of the manifest."""

    index: int
    """Index in the whole data set, from 0."""
    prompt: str
    """Prompt that drew it."""
    seed: int
    """Seed of the CPU generator that drew its noise: the pipeline called with this prompt and
    `torch.Generator().manual_seed(seed)` draws it again."""
    file: str
    """Path in the output."""
    sha256: str
    """Digest of that file."""
    model: str
    """Digest of the pipeline that drew it (`datum.generation.painter.model_digest`)."""
    redrawn: int
    """Times that the safety checker painted the image black and the next seed took its place."""


def append_image(manifest: Path, image: GeneratedImage) -> None:
    """Adds a line and waits until it is on disk."""
    with manifest.open("a", encoding="utf-8") as stream:
        stream.write(_line(image))
        stream.flush()
        os.fsync(stream.fileno())


def write_manifest(folder: Path, images: Sequence[GeneratedImage]) -> None:
    """Replaces the manifest of `folder`, whole or not at all; in the order of the indices."""
    with replacing(folder / MANIFEST) as temporary:
        ordered = sorted(images, key=lambda image: image.index)
        temporary.write_text("".join(map(_line, ordered)), encoding="utf-8")


def surviving_images(folder: Path) -> list[GeneratedImage]:
    """The images of an unfinished output that are on disk as its manifest says; others are passed over."""
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    images: dict[int, GeneratedImage] = {}
    for line in lines:
        try:
            image = GeneratedImage(**json.loads(line))
            whole = sha256(folder / image.file) == image.sha256
        except (ValueError, TypeError, OSError):
            # The last line of a process killed while writing it, or an image lost since.
            continue
        if whole:
            images[image.index] = image
    return list(images.values())


def read_manifest(folder: Path) -> list[GeneratedImage]:
    """The images of a finished generation output, in the order of their indices.

    Raises `InputError` for a folder without a manifest, a damaged line, and an image that is missing or is
    not the one that the manifest names.
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise InputError(f"{folder}: found no {MANIFEST}, expected the output of `datum generate`")
    images = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            images.append(GeneratedImage(**json.loads(line)))
        except (ValueError, TypeError):
            raise InputError(f"{file}: line {number} is no image record; generate the folder again") from None
    for image in images:
        if not (folder / image.file).is_file():
            raise InputError(f"{folder / image.file}: is missing, but the manifest names it; generate again")
        if sha256(folder / image.file) != image.sha256:
            raise InputError(f"{folder / image.file}: is not the image of the manifest; generate it again")
    return sorted(images, key=lambda image: image.index)


def merge_shards(shards: Sequence[Path], output: Path) -> None:
    """Joins the shards of one generation into `output`, byte for byte what one unsharded run writes.

    Images are hard-linked where the file system can, else copied. Raises `InputError` where the shards are
    not all the shards of one generation, or an image is missing, double or damaged.
    """
    if not shards:
        raise InputError("merging shards: found none, expected the outputs of `datum generate --shard I/K`")
    provenances = [_provenance(shard) for shard in shards]
    _require_one_generation(shards, provenances)
    whole = {**provenances[0], "shard": [1, 1]}
    if is_complete(output, whole):
        return
    images = {shard: read_manifest(shard) for shard in shards}
    merged = [image for shard in shards for image in images[shard]]
    count = whole["settings"]["count"]
    found = sorted(image.index for image in merged)
    if found != list(range(count)):
        odd = sorted(set(range(count)) ^ set(found)) or sorted({i for i in found if found.count(i) > 1})
        raise InputError(
            f"merging shards into {output}: image {odd[0]} does not occur exactly once in the {len(shards)} "
            f"shards, expected images 0 to {count - 1}; generate the shards again"
        )
    with building(output, whole) as partial:
        shutil.rmtree(partial / IMAGES, ignore_errors=True)
        (partial / IMAGES).mkdir()
        for shard in shards:
            for image in images[shard]:
                _link_or_copy(shard / image.file, partial / image.file)
        write_manifest(partial, merged)


def _require_one_generation(shards: Sequence[Path], provenances: Sequence[dict[str, Any]]) -> None:
    first = {**provenances[0], "shard": None}
    for shard, provenance in zip(shards, provenances):
        if {**provenance, "shard": None} != first:
            differing = [key for key in first if key != "shard" and provenance.get(key) != first[key]]
            raise InputError(
                f"{shard}: differs from {shards[0]} in {', '.join(differing)}, expected shards of one "
                "generation; generate them with the same model, settings and seed"
            )
    numbers = sorted(tuple(provenance["shard"]) for provenance in provenances)
    total = provenances[0]["shard"][1]
    if numbers != [(number, total) for number in range(1, total + 1)]:
        names = ", ".join(f"{number}/{of}" for number, of in numbers)
        raise InputError(f"merging shards: found {names}, expected each of 1/{total} to {total}/{total} once")


def _provenance(shard: Path) -> dict[str, Any]:
    try:
        provenance = json.loads((shard / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        provenance = {}
    if provenance.get("stage") != "generate":
        raise InputError(f"{shard}: is no finished output of `datum generate`; generate this shard first")
    return dict(provenance)


def _line(image: GeneratedImage) -> str:
    return json.dumps(dataclasses.asdict(image)) + "\n"


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without hard links.
        shutil.copyfile(source, target)
