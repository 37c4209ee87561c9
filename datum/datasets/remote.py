"""Data sets by URI, for tasks of a cluster, which share no folder.

A data set is `s3://bucket/folder`, which a task fetches to its scratch folder, or the path of a mounted
volume. The ingestion checks and converts what the user named, once: the result is published below `datasets`,
and its URI ends in a digest of what it holds, so that the tasks after it may be cached on the URI.
"""

import contextlib
import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datum import __version__
from datum.config import DatasetSettings, to_dict
from datum.datasets.convert import DEFAULT_WORKERS, check_labels
from datum.datasets.one_shot import (
    draw_images,
    named_image,
    one_shot_images,
    require_one_a_seed,
)
from datum.datasets.working_copy import fingerprint, ingest_source, ingest_target
from datum.errors import InputError
from datum.formats.class_statistics import STATISTICS_FILES, read_statistics
from datum.layouts import CITYSCAPES, TRAIN_IMAGES, Pair, check_dataset, find_images, find_pairs, layout_of
from datum.methods import DatasetName
from datum.photographs import open_one_shot_image
from datum.provenance import PROVENANCE
from datum.store import open_store
from datum.telemetry import log
from datum.transfer import (
    content_digest,
    fetch,
    is_published,
    local_path,
    publish,
    read_index,
    remote_files,
)

WORKERS = min(4, DEFAULT_WORKERS)
"""Processes that convert labels: a node may have many more processors than the task asked for."""

_VALIDATION = (f"{CITYSCAPES.images}/val/", f"{CITYSCAPES.labels}/val/")
_TARGET = (f"{TRAIN_IMAGES}/", *_VALIDATION)
"""Folders of the target that are fetched; the labels of the training split never are."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Input:
    """What an ingestion starts from."""

    identity: dict[str, Any]
    """What tells it from every other input, known without reading its files."""
    root: Callable[[], Path | None]
    """Its files on this machine; None where scenes are drawn."""


def ingest_source_uri(
    dataset: DatasetName, source: str, datasets: str, scratch: Path, *, settings: DatasetSettings
) -> str:
    """The URI of the labeled source data set, checked, with train ids and the three JSON files.

    `source` is a URI or a mounted path of the data set in the layout of `dataset`; empty draws
    street scenes by `settings`. What is published below `datasets` from the same input is not made again. A
    mounted data set that `datum convert` has converted, and a URI that this function returned, are used in
    place.

    Raises `InputError` for what `datum.datasets.working_copy.ingest_source` does not accept.
    """
    layout = layout_of(dataset)
    if (root := _mounted(source)) is not None:
        pairs = find_pairs(dataset, root)
        if _is_converted(root, pairs, layout.labels):
            return _in_place(root, [*STATISTICS_FILES, *_files(pairs), *(pair.train_ids for pair in pairs)])
        log(f"{root}: is copied to {datasets}, unless `datum convert {dataset} {root}` was run")
        given = _mounted_input(root, _files(pairs))
    elif source:
        folders = (f"{layout.images}/", f"{layout.labels}/")
        if _is_ingested(source, folders, STATISTICS_FILES):
            return source
        given = _remote_input(dataset, source, folders, scratch)
    else:
        given = _drawn_input(settings)
    return _ingested(
        dataset if source else "drawn-source",
        source,
        given,
        datasets,
        scratch,
        lambda root, output: ingest_source(
            dataset, root, output, settings=settings, workers=WORKERS, recorded_root=Path()
        ),
    )


def ingest_target_uri(target: str, datasets: str, scratch: Path, *, settings: DatasetSettings) -> str:
    """The URI of the target data set in Cityscapes' layout, checked: training images, and the val split.

    `target` is a URI or a mounted path; empty draws street scenes by `settings`. A mounted data set, of which
    no converted label is needed, and a URI that this function returned are used in place.

    Raises `InputError` for what `datum.datasets.working_copy.ingest_target` does not accept.
    """
    if (root := _mounted(target)) is not None:
        images = find_images("cityscapes", root, split="train")
        pairs = find_pairs("cityscapes", root, split="val")
        check_labels("cityscapes", root, split="val")
        return _in_place(root, [*images, *_files(pairs)])
    if not target:
        given = _drawn_input(settings)
    elif _is_ingested(target, _TARGET, STATISTICS_FILES):
        return target
    else:
        given = _remote_input("cityscapes", target, _TARGET, scratch)
    return _ingested(
        "cityscapes" if target else "drawn-target",
        target,
        given,
        datasets,
        scratch,
        lambda root, output: ingest_target(
            root, output, settings=settings, workers=WORKERS, recorded_root=Path()
        ),
    )


def fetch_validation(target: str, scratch: Path) -> Path:
    """A local root of the target with its val split; a mounted root is returned as it is."""
    return fetch(target, scratch, only=_VALIDATION)


def one_shot_image(
    target: str, seeds: Sequence[int], position: int, named: Sequence[str], scratch: Path
) -> Path:
    """The one-shot image of the seed at `position`: the same that `one_shot_images` chooses.

    Of a remote target, the names are listed and this one image is fetched. A named image is a path relative
    to `leftImg8bit/train`, a URI, or the path of a mounted file. Raises `InputError` where `one_shot_images`
    does.
    """
    if named:
        require_one_a_seed(seeds, named)
    root = _mounted(target)
    if named and (named[position].startswith("s3://") or root is None):
        image = _fetch_named(target, named[position], scratch)
    elif root is not None:
        image = named_image(root, Path(named[position])) if named else one_shot_images(root, seeds)[position]
    else:
        names = [
            name
            for name in remote_files(target, only=[f"{TRAIN_IMAGES}/"])
            if name.endswith(CITYSCAPES.image_suffix) and not name.rpartition("/")[2].startswith(".")
        ]
        name = draw_images(names, seeds, target)[position]
        image = fetch(target, scratch, only=[name]) / name
    open_one_shot_image(image)
    return image


def _fetch_named(target: str, name: str, scratch: Path) -> Path:
    if name.startswith("s3://"):
        return fetch(name, scratch)
    inside = f"{TRAIN_IMAGES}/{name}"
    if inside in remote_files(target, only=[inside]):
        return fetch(target, scratch, only=[inside]) / inside
    return Path(name)


def _ingested(
    name: str,
    uri: str,
    given: _Input,
    datasets: str,
    scratch: Path,
    ingest: Callable[[Path | None, Path], None],
) -> str:
    """The URI of the data set that `ingest` makes of `given`: published before, or now."""
    identity = {"name": name, "datum_version": __version__, **given.identity}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    store, pointer = open_store(datasets), f"by-input/{key}.json"
    known = _pointed_to(datasets, pointer)
    if known:
        log(f"{uri or 'drawn scenes'}: already ingested")
        return known
    root, output = given.root(), scratch / f"{name}-{key}"
    with _named_as_given(root, uri):
        ingest(root, output)
    # The provenance names paths and times of this machine; the same content has the same URI anywhere.
    result = publish(output, datasets, name, leaving_out=[PROVENANCE])
    store.write_bytes(pointer, json.dumps({"dataset": result.rpartition("/")[2]}).encode())
    return result


def _pointed_to(datasets: str, pointer: str) -> str | None:
    """The URI of the published data set that `pointer` names, if it is complete."""
    try:
        dataset = json.loads(open_store(datasets).read_bytes(pointer))["dataset"]
    except (KeyError, TypeError, ValueError):
        return None
    uri = f"{datasets.rstrip('/')}/{dataset}"
    return uri if is_published(uri) else None


def _drawn_input(settings: DatasetSettings) -> _Input:
    return _Input(identity={"settings": to_dict(settings), "seed": 0}, root=lambda: None)


def _mounted_input(root: Path, files: Sequence[str]) -> _Input:
    identity = {"root": str(root.resolve()), "files_sha256": fingerprint(root, files)}
    return _Input(identity=identity, root=lambda: root)


def _remote_input(dataset: DatasetName, uri: str, folders: Sequence[str], scratch: Path) -> _Input:
    """The user's own data set at `uri`; raises `InputError` where the listing shows that it lacks files."""
    files = remote_files(uri, only=folders)
    with tempfile.TemporaryDirectory() as skeleton, _named_as_given(Path(skeleton), uri):
        for name in files:
            file = Path(skeleton) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        check_dataset(dataset, Path(skeleton))
    return _Input(
        identity={"uri": uri, "files": content_digest(files)},
        root=lambda: fetch(uri, scratch, only=folders),
    )


def _mounted(uri: str) -> Path | None:
    """The mounted path that `uri` names; None where it names none."""
    return local_path(uri) if uri else None


def _in_place(root: Path, files: Sequence[str]) -> str:
    """A URI of the mounted `root` that changes when one of `files` does."""
    return f"{root.resolve().as_uri()}#{fingerprint(root, files)[:16]}"


def _is_ingested(uri: str, folders: Sequence[str], others: Sequence[str]) -> bool:
    """Whether `uri` is a published data set with files in all `folders`, and the `others`."""
    files = read_index(uri) or {}
    present = all(name in files for name in others) and all(
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


def _files(pairs: Sequence[Pair]) -> list[str]:
    return [file for pair in pairs for file in (pair.image, pair.label)]


@contextlib.contextmanager
def _named_as_given(folder: Path | None, uri: str) -> Iterator[None]:
    """Names files of `folder` by where the user keeps them in the `InputError` that the block raises."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(folder), uri) if folder else str(error)) from None
