"""Folders of street scenes in the layouts of GTA, SYNTHIA and Cityscapes."""

import functools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from datum.labels import CLASSES
from datum.layouts import CITYSCAPES, LAYOUTS
from datum.methods import DatasetName
from datum.streetscenes.drawing.domain import SOURCE_DOMAIN, TARGET_DOMAIN, Domain
from datum.streetscenes.drawing.emphasis import emphasis_of
from datum.streetscenes.drawing.scene import draw_scene
from datum.streetscenes.drawing.town import town_domain

_Job = tuple[int, Path, Path]
"""Seed, file of the picture, file of its label map."""

DomainOf = Callable[[int], Domain]
"""The domain that the scene of a seed is drawn in; a function that other processes can be sent."""

_SaveLabel = Callable[[np.ndarray, Path], None]
"""Writes a map of Cityscapes' label ids, uint8[height, width], as the data set of a layout has it."""


def _source(seed: int) -> Domain:
    return SOURCE_DOMAIN


def write_gta(
    root: Path,
    *,
    seeds: range,
    height: int,
    width: int,
    workers: int = 1,
    domain_of: DomainOf = _source,
    emphasized: bool = False,
) -> None:
    """Write `root/images/00001.png` and `root/labels/00001.png` and so on, one pair per seed.

    Labels are palette PNGs of label ids, like GTA's. Height and width in pixels. Scenes are the source's but
    where `domain_of` says another domain; `emphasized` shows a class large and near in every second
    (`emphasis_of`).
    """
    colors = np.zeros((256, 3), dtype=np.uint8)
    for entry in CLASSES:
        colors[entry.label_id] = entry.color
    save = functools.partial(_save_gray, palette=colors.tobytes())
    jobs = _source_jobs("gta", root, seeds)
    _write_all(jobs, domain_of, height, width, save=save, workers=workers, emphasized=emphasized)


def write_synthia(root: Path, *, seeds: range, height: int, width: int, workers: int = 1) -> None:
    """Write `root/RGB/00001.png` and `root/GT/LABELS/00001.png` and so on, one pair per seed.

    Labels have three channels of 16 bits with SYNTHIA's id in the first, like SYNTHIA's. Height and width in
    pixels.
    """
    jobs = _source_jobs("synthia", root, seeds)
    _write_all(jobs, _source, height, width, save=_save_synthia, workers=workers)


def _target(seed: int) -> Domain:
    return TARGET_DOMAIN


def write_cityscapes(
    root: Path, *, train_seeds: range, val_seeds: range, height: int, width: int, workers: int = 1
) -> None:
    """Write `root/leftImg8bit` and `root/gtFine` with the splits train and val, named as in Cityscapes.

    Labels are gray PNGs of label ids. Height and width in pixels.
    """
    jobs = _target_jobs(root, train_seeds, val_seeds)
    _write_all(jobs, _target, height, width, save=_save_gray, workers=workers)


def write_town(
    root: Path, *, train_seeds: range, val_seeds: range, height: int, width: int, workers: int = 1
) -> None:
    """Write the same files as `write_cityscapes`, with the scenes of the town."""
    jobs = _target_jobs(root, train_seeds, val_seeds)
    _write_all(jobs, town_domain, height, width, save=_save_gray, workers=workers)


def _target_jobs(root: Path, train_seeds: range, val_seeds: range) -> list[_Job]:
    jobs: list[_Job] = []
    city = "procedural"
    for split, seeds in (("train", train_seeds), ("val", val_seeds)):
        for number, seed in enumerate(seeds):
            stem = f"{city}_{number:06d}_000019"
            image = root / CITYSCAPES.images / split / city / f"{stem}{CITYSCAPES.image_suffix}"
            label = root / CITYSCAPES.labels / split / city / f"{stem}{CITYSCAPES.label_suffix}"
            jobs.append((seed, image, label))
    return jobs


def _source_jobs(dataset: DatasetName, root: Path, seeds: range) -> list[_Job]:
    images, labels = root / LAYOUTS[dataset].images, root / LAYOUTS[dataset].labels
    return [
        (seed, images / f"{number:05d}.png", labels / f"{number:05d}.png")
        for number, seed in enumerate(seeds, start=1)
    ]


def _write_all(
    jobs: list[_Job],
    domain_of: DomainOf,
    height: int,
    width: int,
    *,
    save: _SaveLabel,
    workers: int,
    emphasized: bool = False,
) -> None:
    for folder in {file.parent for _, *files in jobs for file in files}:
        folder.mkdir(parents=True, exist_ok=True)
    write = functools.partial(
        _write_scene, domain_of=domain_of, emphasized=emphasized, height=height, width=width, save=save
    )
    if workers == 1:
        for job in jobs:
            write(job)
        return
    # Spawned, not forked: the caller may hold threads (torch, OpenCV) that a fork would copy mid-work.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for _ in pool.map(write, jobs, chunksize=max(1, len(jobs) // (4 * workers))):
            pass  # an exception of a job is raised here


def _write_scene(
    job: _Job,
    *,
    domain_of: DomainOf,
    emphasized: bool,
    height: int,
    width: int,
    save: _SaveLabel,
) -> None:
    seed, image_file, label_file = job
    emphasis = emphasis_of(seed) if emphasized else None
    scene = draw_scene(seed, domain_of(seed), height=height, width=width, emphasis=emphasis)
    save(scene.label_ids, label_file)
    Image.fromarray(scene.image).save(image_file)


def _save_gray(label_ids: np.ndarray, file: Path, palette: bytes | None = None) -> None:
    labels = Image.fromarray(label_ids)
    if palette is not None:
        labels.putpalette(palette)
    labels.save(file)


def _save_synthia(label_ids: np.ndarray, file: Path) -> None:
    pixels = np.zeros((*label_ids.shape, 3), dtype=np.uint16)
    # OpenCV's order is blue, green, red.
    pixels[..., 2] = _SYNTHIA_IDS[label_ids]
    # The other channels number the instances, which nothing here reads.
    file.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


_OF_LABEL_ID = {entry.label_id: entry.synthia_id for entry in CLASSES}
_SYNTHIA_IDS = np.array([_OF_LABEL_ID.get(label_id, 0) for label_id in range(256)], dtype=np.uint16)
"""Cityscapes' label id -> SYNTHIA's, 0 (void) for every other id."""
