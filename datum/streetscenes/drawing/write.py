"""Folders of street scenes in the layouts of GTA and Cityscapes."""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from datum.labels import CLASSES
from datum.streetscenes.drawing.domain import SOURCE_DOMAIN, TARGET_DOMAIN, Domain
from datum.streetscenes.drawing.scene import draw_scene

_Job = tuple[int, Path, Path]  # seed, file of the picture, file of its label map


def write_gta(
    root: Path, *, seeds: range, domain: Domain = SOURCE_DOMAIN, height: int, width: int, workers: int = 1
) -> None:
    """Write `root/images/00001.png` and `root/labels/00001.png` and so on, one pair a seed.

    Labels are palette PNGs of label ids, like GTA's. Height and width in pixels.
    """
    jobs = [
        (seed, root / "images" / f"{number:05d}.png", root / "labels" / f"{number:05d}.png")
        for number, seed in enumerate(seeds, start=1)
    ]
    _write_all(jobs, domain, height, width, palette=True, workers=workers)


def write_cityscapes(
    root: Path,
    *,
    train_seeds: range,
    val_seeds: range,
    domain: Domain = TARGET_DOMAIN,
    city: str = "procedural",
    height: int,
    width: int,
    workers: int = 1,
) -> None:
    """Write `root/leftImg8bit` and `root/gtFine` with the splits train and val, named as in Cityscapes.

    Labels are grey PNGs of label ids. Height and width in pixels.
    """
    jobs: list[_Job] = []
    for split, seeds in (("train", train_seeds), ("val", val_seeds)):
        for number, seed in enumerate(seeds):
            stem = f"{city}_{number:06d}_000019"
            image = root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
            label = root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png"
            jobs.append((seed, image, label))
    _write_all(jobs, domain, height, width, palette=False, workers=workers)


def _write_all(
    jobs: list[_Job], domain: Domain, height: int, width: int, *, palette: bool, workers: int
) -> None:
    for folder in {path.parent for job in jobs for path in job[1:]}:
        folder.mkdir(parents=True, exist_ok=True)
    write = functools.partial(_write_scene, domain=domain, height=height, width=width, palette=palette)
    if workers == 1:
        _exhaust(map(write, jobs))
        return
    # Spawned, not forked: the caller may hold threads (torch, OpenCV) that a fork would copy mid-work.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        _exhaust(pool.map(write, jobs, chunksize=max(1, len(jobs) // (4 * workers))))


def _exhaust(results: Iterable[None]) -> None:
    for _ in results:
        pass


def _write_scene(job: _Job, *, domain: Domain, height: int, width: int, palette: bool) -> None:
    seed, image_file, label_file = job
    scene = draw_scene(seed, domain, height=height, width=width)
    labels = _with_palette(scene.label_ids) if palette else Image.fromarray(scene.label_ids)
    _save(labels, label_file)
    _save(Image.fromarray(scene.image), image_file)


def _with_palette(label_ids: npt.NDArray[np.uint8]) -> Image.Image:
    colors = np.zeros((256, 3), dtype=np.uint8)
    for c in CLASSES:
        colors[c.label_id] = c.color
    labels = Image.fromarray(label_ids)
    labels.putpalette(colors.tobytes())
    return labels


def _save(picture: Image.Image, path: Path) -> None:
    """Write a PNG whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        picture.save(temporary, format="PNG")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
