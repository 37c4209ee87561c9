"""How the shards of one generation become one data set."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.formats.generated import IMAGES, read_manifest, verify_images, write_manifest
from datum.outputs import building, is_complete, link_or_copy
from datum.provenance import Provenance, read_provenance


def merge_shards(shards: Sequence[Path], output: Path) -> None:
    """Joins the shards of one generation into `output`, byte for byte what one unsharded run writes.

    Images are hard-linked where the file system can, else copied. Raises `InputError` where the shards are
    not all the shards of one generation, or an image is missing, double or damaged.
    """
    if not shards:
        raise InputError("merging shards: found none, expected the outputs of `datum generate --shard I/K`")
    provenances = [_provenance(shard) for shard in shards]
    _require_one_generation(shards, provenances)
    whole = _of_one_shard(provenances[0])
    if is_complete(output, whole):
        return
    images = {shard: read_manifest(shard) for shard in shards}
    for shard in shards:
        verify_images(shard, images[shard])
    merged = [image for shard in shards for image in images[shard]]
    count = whole.settings["count"]
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
                link_or_copy(shard / image.file, partial / image.file)
        write_manifest(partial, merged)


def _require_one_generation(shards: Sequence[Path], provenances: Sequence[dict[str, Any]]) -> None:
    first = _of_one_shard(provenances[0])
    for shard, provenance in zip(shards, provenances):
        if _of_one_shard(provenance) != first:
            differing = [key for key in _COMPARED if provenance.get(key) != provenances[0].get(key)]
            raise InputError(
                f"{shard}: differs from {shards[0]} in {', '.join(differing)}, expected shards of one "
                "generation; generate them with the same model, settings and seed"
            )
    numbers = sorted(tuple(provenance["shard"]) for provenance in provenances)
    total = provenances[0]["shard"][1]
    if numbers != [(number, total) for number in range(1, total + 1)]:
        names = ", ".join(f"{number}/{of}" for number, of in numbers)
        raise InputError(f"merging shards: found {names}, expected each of 1/{total} to {total}/{total} once")


_COMPARED = ("settings", "inputs", "seed")


def _of_one_shard(provenance: Mapping[str, Any]) -> Provenance:
    """The provenance of what one unsharded run would have written."""
    compared = {key: provenance[key] for key in _COMPARED}
    return Provenance(stage="generate", arguments={"shard": [1, 1]}, **compared)


def _provenance(shard: Path) -> dict[str, Any]:
    provenance = read_provenance(shard) or {}
    if provenance.get("stage") != "generate":
        raise InputError(f"{shard}: is no finished output of `datum generate`; generate this shard first")
    return provenance
