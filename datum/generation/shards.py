"""How the shards of one generation become one data set."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic

from datum.errors import InputError
from datum.formats.generated import (
    IMAGES,
    MANIFEST,
    MOST_IMAGES,
    Drawn,
    GeneratedImage,
    RejectedImage,
    read_records,
    read_rejected,
    verify_images,
    write_manifest,
)
from datum.formats.labeled import LABELED, LABELS, LabeledImage
from datum.generation.gate import drop_worst
from datum.outputs import building, is_complete, link_or_copy
from datum.provenance import NAMED, PROVENANCE, WORK, Provenance, read_provenance


def merge_shards(shards: Sequence[Path], output: Path) -> None:
    """Joins the shards of one generation into `output`, byte for byte what one unsharded run writes.

    Images are hard-linked where the file system can, else copied. Raises `InputError` where the shards are
    not all the shards of one generation, or an image is missing, double or damaged.
    """
    if not shards:
        raise InputError("merging shards: found none, expected the outputs of `datum generate --shard I/K`")
    records = [_record(shard) for shard in shards]
    _require_one_generation(shards, records)
    whole = dataclasses.replace(_of_one_shard(records[0]), parts=[_work(record) for record in records])
    if is_complete(output, whole):
        return
    settings = whole.settings
    parts: list[_Part] = [_read_part(shards, "", GeneratedImage, settings["count"], output)]
    if settings.get("labels") == "source":
        parts.append(_read_part(shards, LABELED, LabeledImage, settings["labeled_count"], output))
    with building(output, whole) as partial:
        for part in parts:
            part.join(partial)
        if "judge_sha256" in whole.inputs:
            drawings = [image for images in parts[1].images.values() for image in images]
            drop_worst(partial / LABELED, drawings, settings["labeled_dropped"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Part(Generic[Drawn]):
    """The images of all shards, drawn in one way."""

    place: str
    """Their folder in an output; empty for the output itself."""
    images: Mapping[Path, Sequence[Drawn]]
    """By the shard's folder of them."""
    rejected: Sequence[RejectedImage]

    def join(self, output: Path) -> None:
        """Puts them all in `output`."""
        folder = output / self.place
        for inner in (IMAGES, LABELS):
            shutil.rmtree(folder / inner, ignore_errors=True)
        (folder / IMAGES).mkdir(parents=True)
        for shard, images in self.images.items():
            for name in (name for image in images for name in image.files()):
                (folder / name).parent.mkdir(exist_ok=True)
                link_or_copy(shard / name, folder / name)
        write_manifest(folder, [i for images in self.images.values() for i in images], self.rejected)


def _read_part(
    shards: Sequence[Path], place: str, kind: type[Drawn], count: int, output: Path
) -> _Part[Drawn]:
    """What the shards hold in `place`, verified; raises `InputError` where an image is missing, double or
    damaged."""
    folders = [shard / place for shard in shards]
    images = {folder: read_records(folder / MANIFEST, kind) for folder in folders}
    for folder in folders:
        verify_images(folder, images[folder])
    rejected = [image for folder in folders for image in read_rejected(folder)]
    found = sorted([i.index for drawn in images.values() for i in drawn] + [i.index for i in rejected])
    if found != list(range(count)):
        odd = sorted(set(range(count)) ^ set(found)) or sorted({i for i in found if found.count(i) > 1})
        raise InputError(
            f"merging shards into {output / place}: image {odd[0]} does not occur exactly once in the "
            f"{len(shards)} shards, expected images 0 to {count - 1}; generate the shards again"
        )
    return _Part(place=place, images=images, rejected=rejected)


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


def _work(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in WORK if key in record}


def _record(shard: Path) -> dict[str, Any]:
    """The provenance of a finished shard; raises `InputError` where there is none, or none of ours."""
    record = read_provenance(shard) or {}
    settings, number = record.get("settings"), record.get("shard")
    if record.get("stage") != "generate" or not isinstance(record.get("inputs"), dict):
        raise InputError(f"{shard}: is no finished output of `datum generate`; generate this shard first")
    whole_numbers = isinstance(number, list) and len(number) == 2 and all(type(n) is int for n in number)
    if not isinstance(settings, dict) or not _names_counts(settings) or not whole_numbers:
        raise InputError(f"{shard / PROVENANCE}: names no count or no shard; generate this shard again")
    return {"seed": None, **record}


def _names_counts(settings: Mapping[str, Any]) -> bool:
    """Whether the settings of a record tell how many images there are, and what the gate drops of them."""
    keys = ["count"]
    if settings.get("labels") == "source":
        keys.append("labeled_count")
        dropped = settings.get("labeled_dropped")
        if type(dropped) is not float or not 0 <= dropped <= 1:
            return False
    return all(type(settings.get(key)) is int and 0 < settings[key] <= MOST_IMAGES for key in keys)
