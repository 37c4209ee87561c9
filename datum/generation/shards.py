"""How the shards of one generation become one data set."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.formats.generated import (
    IMAGES,
    MOST_IMAGES,
    read_manifest,
    read_rejected,
    verify_images,
    write_manifest,
)
from datum.outputs import building, is_complete, link_or_copy
from datum.provenance import NAMED, PROVENANCE, Provenance, read_provenance


def merge_shards(shards: Sequence[Path], output: Path) -> None:
    """Joins the shards of one generation into `output`, byte for byte what one unsharded run writes.

    Images are hard-linked where the file system can, else copied. Raises `InputError` where the shards are
    not all the shards of one generation, or an image is missing, double or damaged.
    """
    if not shards:
        raise InputError("merging shards: found none, expected the outputs of `datum generate --shard I/K`")
    records = [_record(shard) for shard in shards]
    _require_one_generation(shards, records)
    whole = _of_one_shard(records[0])
    if is_complete(output, whole):
        return
    images = {shard: read_manifest(shard) for shard in shards}
    for shard in shards:
        verify_images(shard, images[shard])
    merged = [image for shard in shards for image in images[shard]]
    rejected = [image for shard in shards for image in read_rejected(shard)]
    count = whole.settings["count"]
    found = sorted([image.index for image in merged] + [image.index for image in rejected])
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
        write_manifest(partial, merged, rejected)


def _require_one_generation(shards: Sequence[Path], records: Sequence[Mapping[str, Any]]) -> None:
    for shard, record in zip(shards, records):
        if differing := [key for key in _COMPARED if _decisive(record, key) != _decisive(records[0], key)]:
            raise InputError(
                f"{shard}: differs from {shards[0]} in {', '.join(differing)}, expected shards of one "
                "generation; generate them with the same model, settings and seed"
            )
    numbers = sorted(tuple(record["shard"]) for record in records)
    total = records[0]["shard"][1]
    if numbers != [(number, total) for number in range(1, total + 1)]:
        names = ", ".join(f"{number}/{of}" for number, of in numbers)
        raise InputError(f"merging shards: found {names}, expected each of 1/{total} to {total}/{total} once")


_COMPARED = ("settings", "inputs", "seed")


def _decisive(record: Mapping[str, Any], key: str) -> Any:
    """A part of a shard's record, less the names that its inputs were given by."""
    return {k: v for k, v in record[key].items() if k != NAMED} if key == "inputs" else record[key]


def _of_one_shard(record: Mapping[str, Any]) -> Provenance:
    """The provenance of what one unsharded run would have written."""
    compared = {key: record[key] for key in _COMPARED}
    arguments, made_from = {"shard": [1, 1]}, record.get("made_from", {})
    return Provenance(stage="generate", arguments=arguments, made_from=made_from, **compared)


def _record(shard: Path) -> dict[str, Any]:
    """The provenance of a finished shard; raises `InputError` where there is none, or none of ours."""
    record = read_provenance(shard) or {}
    settings, number = record.get("settings"), record.get("shard")
    if record.get("stage") != "generate" or not isinstance(record.get("inputs"), dict):
        raise InputError(f"{shard}: is no finished output of `datum generate`; generate this shard first")
    count = settings.get("count") if isinstance(settings, dict) else None
    whole_numbers = isinstance(number, list) and len(number) == 2 and all(type(n) is int for n in number)
    if type(count) is not int or not 0 < count <= MOST_IMAGES or not whole_numbers:
        raise InputError(f"{shard / PROVENANCE}: names no count or no shard; generate this shard again")
    return {"seed": None, **record}
