"""Folders of street scenes in the layouts of GTA and Cityscapes."""

import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from datum.labels import CLASSES
from datum.layouts import CITYSCAPES, LAYOUTS
from datum.streetscenes.drawing.domain import SOURCE_DOMAIN, TARGET_DOMAIN, Domain
from datum.streetscenes.drawing.scene import draw_scene

_Job = tuple[int, Path, Path]
"""Seed, file of the picture, file of its label map."""


def write_gta(root: Path, *, seeds: range, height: int, width: int, workers: int = 1) -> None:
    """Write `root/images/00001.png` and `root/labels/00001.png` and so on, one pair per seed.

    Labels are palette PNGs of label ids, like GTA's. Height and width in pixels.
    """
    images, labels = root / LAYOUTS["gta"].images, root / LAYOUTS["gta"].labels
    jobs = [
        (seed, images / f"{number:05d}.png", labels / f"{number:05d}.png")
        for number, seed in enumerate(seeds, start=1)
    ]
    colors = np.zeros((256, 3), dtype=np.uint8)
    for entry in CLASSES:
        colors[entry.label_id] = entry.color
    _write_all(jobs, SOURCE_DOMAIN, height, width, palette=colors.tobytes(), workers=workers)


def write_cityscapes(
    root: Path, *, train_seeds: range, val_seeds: range, height: int, width: int, workers: int = 1
) -> None:
    """Write `root/leftImg8bit` and `root/gtFine` with the splits train and val, named as in Cityscapes.

    Labels are gray PNGs of label ids. Height and width in pixels.
    """
    jobs: list[_Job] = []
    city = "procedural"
    for split, seeds in (("train", train_seeds), ("val", val_seeds)):
        for number, seed in enumerate(seeds):
            stem = f"{city}_{number:06d}_000019"
            image = root / CITYSCAPES.images / split / city / f"{stem}{CITYSCAPES.image_suffix}"
            label = root / CITYSCAPES.labels / split / city / f"{stem}{CITYSCAPES.label_suffix}"
            jobs.append((seed, image, label))
    _write_all(jobs, TARGET_DOMAIN, height, width, palette=None, workers=workers)


def _write_all(
    jobs: list[_Job], domain: Domain, height: int, width: int, *, palette: bytes | None, workers: int
) -> None:
    for folder in {file.parent for _, *files in jobs for file in files}:
        folder.mkdir(parents=True, exist_ok=True)
    write = functools.partial(_write_scene, domain=domain, height=height, width=width, palette=palette)
    if workers == 1:
        for job in jobs:
            write(job)
        return
    # Spawned, not forked: the caller may hold threads (torch, OpenCV) that a fork would copy mid-work.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for _ in pool.map(write, jobs, chunksize=max(1, len(jobs) // (4 * workers))):
            pass  # an exception of a job is raised here


def _write_scene(job: _Job, *, domain: Domain, height: int, width: int, palette: bytes | None) -> None:
    seed, image_file, label_file = job
    scene = draw_scene(seed, domain, height=height, width=width)
    labels = Image.fromarray(scene.label_ids)
    if palette is not None:
        labels.putpalette(palette)
    labels.save(label_file)
    Image.fromarray(scene.image).save(image_file)
