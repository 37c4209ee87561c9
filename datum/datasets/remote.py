"""Data sets by URI, for tasks of a cluster, which share no folder.

A data set is `s3://bucket/folder`, which a task fetches to its scratch folder, or the path of a mounted
volume. The ingestion checks and converts what the user named, once: the result is published below `datasets`,
and its URI ends in a digest of what it holds, so that the tasks after it may be cached on the URI.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datum import __version__
from datum.config import DatasetSettings, to_dict
from datum.datasets.convert import DEFAULT_WORKERS, check_labels
from datum.datasets.one_shot import (
    draw_images,
    images_of_protocol,
    named_image,
    protocol_of,
    require_images,
    require_one_a_seed,
)
from datum.datasets.working_copy import DRAWN_SEED, dataset_digest, ingest_dataset, part_of
from datum.errors import InputError
from datum.formats.class_statistics import STATISTICS_FILES, read_statistics
from datum.formats.source_scale import SCALE_FILE, require_scale
from datum.layouts import CITYSCAPES, TRAIN_IMAGES, Listing, Pair, check_dataset, find_train_images, layout_of
from datum.methods import DatasetName
from datum.photographs import open_one_shot_image
from datum.provenance import PROVENANCE
from datum.store import local_path, open_store
from datum.telemetry import log
from datum.transfer import content_digest, fetch, is_published, publish, read_index, remote_files

_VALIDATION = (f"{CITYSCAPES.images}/val/", f"{CITYSCAPES.labels}/val/")
_TARGET = (f"{TRAIN_IMAGES}/", *_VALIDATION)
"""Folders of the target that are fetched; the labels of the training split never are."""


def ingest_uri(
    dataset: DatasetName,
    uri: str,
    datasets: str,
    scratch: Path,
    *,
    settings: DatasetSettings,
    scale: tuple[int, int] | None = None,
) -> str:
    """The URI of the data set, checked and converted: a labeled source, or a target in Cityscapes' layout.

    `uri` is a URI or a mounted path of the data set in the layout of `dataset`; empty draws street scenes by
    `settings`. What is published below `datasets` from the same input is not made again. A URI that this
    function returned is used in place, and so is a mounted data set: a target, of which no converted label is
    needed, and a source that `datum convert` has converted. `scale` is that of the trainings that a source is
    ingested for: what is copied is stored at it where it is larger; without one as it came.

    Raises `InputError` for what `datum.datasets.working_copy.ingest_dataset` does not accept, and for an
    ingested source that is stored at another scale.
    """
    layout, part = layout_of(dataset), part_of(dataset)
    folders = _TARGET if part == "target" else (f"{layout.images}/", f"{layout.labels}/")
    # GTA's layout is what drawn scenes of a source always had.
    name = dataset if uri else "drawn-synthia" if dataset == "synthia" else f"drawn-{part}"
    identity: dict[str, Any] = {"name": name, "datum_version": __version__}
    if not uri:
        identity |= {"settings": to_dict(settings), "seed": DRAWN_SEED}
    elif (root := local_path(uri)) is not None:
        files, pairs = check_dataset(dataset, root)
        if part == "target":
            check_labels(dataset, root)
            return _in_place(dataset, root, files)
        if _is_converted(root, pairs, layout.labels):
            return _in_place(dataset, root, [*files, *(pair.train_ids for pair in pairs)])
        log(f"{root}: is copied to {datasets}, unless `datum convert {dataset} {root}` was run")
        identity |= {"files_sha256": dataset_digest(dataset, root, files)}
    elif _is_ingested(uri, folders):
        if SCALE_FILE in remote_files(uri, only=[SCALE_FILE]):
            require_scale(uri, open_store(uri).read_bytes(SCALE_FILE), scale)
        return uri
    else:
        listed = remote_files(uri, only=folders)
        check_dataset(dataset, Listing(uri, listed))
        identity |= {"uri": uri, "files": content_digest(listed)}
    if uri and scale:
        identity["scale"] = scale
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    pointer, output = f"by-input/{key}.json", scratch / f"{name}-{key}"
    if known := _pointed_to(datasets, pointer):
        log(f"{uri or 'drawn scenes'}: already ingested")
        return known
    copy = fetch(uri, scratch, only=folders) if uri else None
    try:
        ingest_dataset(
            dataset,
            copy,
            output,
            settings=settings,
            workers=DEFAULT_WORKERS,
            recorded_root=Path(),
            scale=scale,
        )
    except InputError as error:
        # Files are named by where the user keeps them.
        raise InputError(str(error).replace(str(copy), uri) if copy else str(error)) from None
    # The provenance names paths and times of this machine; the same content has the same URI anywhere.
    result = publish(output, datasets, name, leaving_out=[PROVENANCE])
    open_store(datasets).write_bytes(pointer, json.dumps({"dataset": result.rpartition("/")[2]}).encode())
    return result


def fetch_target(target: str, scratch: Path) -> Path:
    """A local root of the target with its unlabeled training images and its val split; a mounted root is
    returned as it is."""
    return fetch(target, scratch, only=_TARGET)


def fetch_validation(target: str, scratch: Path) -> Path:
    """A local root of the target with its val split; a mounted root is returned as it is."""
    return fetch(target, scratch, only=_VALIDATION)


def one_shot_image(
    target: str, seeds: Sequence[int], position: int, named: Sequence[str], scratch: Path
) -> Path:
    """The one-shot image of the seed at `position`: the same that `one_shot_images` chooses.

    Of a remote target, the names are listed and this one image is fetched. A named image is a path relative
    to `leftImg8bit/train`, a URI, or the path of a mounted file; a protocol's name stands for its images.
    Raises `InputError` where `one_shot_images` does for this image.
    """
    if protocol := protocol_of(named):
        require_protocol(protocol, target, seeds)
        name = images_of_protocol(protocol, seeds)[position]
        image = fetch(target, scratch, only=[name]) / name
    elif named:
        require_one_a_seed(seeds, named)
        image = _fetch_named(target, named[position], scratch)
    else:
        where = local_path(target) or Listing(target, remote_files(target, only=[f"{TRAIN_IMAGES}/"]))
        name = draw_images(find_train_images(where), seeds, where)[position]
        image = fetch(target, scratch, only=[name]) / name
    open_one_shot_image(image)
    return image


def require_protocol(protocol: str, target: str, seeds: Sequence[int]) -> None:
    """Raises `InputError` where the one-shot `protocol` cannot be followed: with that number of seeds, or
    since the `target`, a URI or a mounted path, lacks one of its images."""
    images = images_of_protocol(protocol, seeds)
    root = local_path(target)
    listed = {} if root else remote_files(target, only=list(dict.fromkeys(images)))
    require_images(protocol, root or target, lambda name: (root / name).is_file() if root else name in listed)


def _fetch_named(target: str, name: str, scratch: Path) -> Path:
    if name.startswith("s3://"):
        return fetch(name, scratch)
    if (root := local_path(target)) is not None:
        return named_image(root, Path(name))
    inside = f"{TRAIN_IMAGES}/{name}"
    if inside in remote_files(target, only=[inside]):
        return fetch(target, scratch, only=[inside]) / inside
    return Path(name)


def _pointed_to(datasets: str, pointer: str) -> str | None:
    """The URI of the published data set that `pointer` names, if it is complete."""
    try:
        dataset = json.loads(open_store(datasets).read_bytes(pointer))["dataset"]
    except (KeyError, TypeError, ValueError):
        return None
    uri = f"{datasets.rstrip('/')}/{dataset}"
    return uri if is_published(uri) else None


def _in_place(dataset: DatasetName, root: Path, files: Sequence[str]) -> str:
    """A URI of the mounted `root` that changes when one of `files` does."""
    return f"{root.resolve().as_uri()}#{dataset_digest(dataset, root, files)[:16]}"


def _is_ingested(uri: str, folders: Sequence[str]) -> bool:
    """Whether `uri` is a published data set with files in all `folders`, and converted."""
    files = read_index(uri) or {}
    present = all(name in files for name in STATISTICS_FILES) and all(
        any(name.startswith(folder) for name in files) for folder in folders
    )
    return present and is_published(uri)


def _is_converted(root: Path, pairs: Sequence[Pair], labels: str) -> bool:
    """Whether the statistics in `root` are of exactly the labels of `pairs`, and those are converted."""
    if not all((root / name).is_file() for name in [*STATISTICS_FILES, *(pair.train_ids for pair in pairs)]):
        return False
    try:
        counted = read_statistics(root, labels, remedy="convert it")
    except InputError:
        return False
    return {f"{labels}/{name}" for name in counted} == {pair.train_ids for pair in pairs}
