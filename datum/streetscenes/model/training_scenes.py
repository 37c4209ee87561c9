"""Drawing the training data: street scenes of as many domains as scenes, with several captions each.

Scenes are drawn by all processor cores into shards of a few hundred, each whole or absent, so that a run
that was stopped goes on with the shards that are missing.
"""

import concurrent.futures
import dataclasses
import functools
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from datum.labels import LABEL_ID_TO_TRAIN_ID
from datum.outputs import replacing
from datum.streetscenes.drawing import caption, draw_scene, emphasis_of, random_domain
from datum.streetscenes.model.tokenizer import CONTEXT
from datum.telemetry import Progress

RESOLUTION = 128
"""Side of a scene, in pixels."""
SHARD = 250
"""Scenes of a shard."""
CAPTIONS = 4
"""Captions of a scene."""
HELD_OUT = 10_000_000
"""First seed of scenes that no network is trained on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneSet:
    """Scenes in memory."""

    images: npt.NDArray[np.uint8]
    """RGB, uint8[scenes, height, width, 3]."""
    labels: npt.NDArray[np.uint8]
    """Train ids, uint8[scenes, height, width]."""
    captions: list[list[str]]
    """`CAPTIONS` captions of each scene."""

    def pixels(self) -> npt.NDArray[np.uint8]:
        """The images as networks take them, uint8[scenes, 3, height, width]."""
        return self.images.transpose(0, 3, 1, 2)


def draw_scenes(folder: Path, *, count: int, workers: int) -> list[Path]:
    """Draws scenes of seeds 0 to `count` - 1 in `workers` processes; returns the shards' files."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = {
        folder / f"scenes-{first:08d}.npz": range(first, min(first + SHARD, count))
        for first in range(0, count, SHARD)
    }
    missing = {file: seeds for file, seeds in shards.items() if not file.exists()}
    progress = Progress("scenes", count, unit="scenes", done=count - sum(map(len, missing.values())))
    # A server that imports everything once and is copied: copies of this process itself could wait forever
    # for a lock that one of its threads (torch has some) held at that moment.
    context = multiprocessing.get_context("forkserver")
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        for drawn in pool.map(draw_shard, missing, missing.values()):
            progress.advance(drawn)
    return list(shards)


def draw_shard(file: Path, seeds: Sequence[int]) -> int:
    """Draws the scenes of `seeds` into `file` and returns their number."""
    scenes = draw_set(seeds)
    text = np.array([[entry.encode("utf-8") for entry in entries] for entries in scenes.captions])
    with replacing(file) as temporary:
        np.savez(temporary, images=scenes.images, labels=scenes.labels, captions=text)
    return len(seeds)


def load_scenes(files: Sequence[Path]) -> SceneSet:
    """All scenes of the shards `files`, in order."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        shards = list(pool.map(_read_shard, files))
    return SceneSet(
        images=np.concatenate([shard.images for shard in shards]),
        labels=np.concatenate([shard.labels for shard in shards]),
        captions=[entries for shard in shards for entries in shard.captions],
    )


def load_tensors(
    files: Sequence[Path], tokenizer: CLIPTokenizer, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """The scenes as the training loops take them, on the device.

    Images, uint8[scenes, 3, height, width]; train ids, uint8[scenes, height, width]; captions as token ids,
    int64[scenes, captions, context].
    """
    scenes = load_scenes(files)
    flat = [entry for entries in scenes.captions for entry in entries]
    different = sorted(set(flat))
    tokens = tokenizer(different, padding="max_length", truncation=True, return_tensors="pt").input_ids
    position = {entry: index for index, entry in enumerate(different)}
    captions = tokens[[position[entry] for entry in flat]].view(len(scenes.images), -1, CONTEXT)
    images, labels = torch.from_numpy(scenes.pixels()), torch.from_numpy(scenes.labels)
    return images.to(device).contiguous(), labels.to(device), captions.to(device)


def draw_set(seeds: Sequence[int]) -> SceneSet:
    """Scenes of `seeds`, each in a random domain of its own, every second with a class large and near."""
    images, labels, captions = [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        emphasis = emphasis_of(seed)
        scene = draw_scene(seed, random_domain(rng), height=RESOLUTION, width=RESOLUTION, emphasis=emphasis)
        images.append(scene.image)
        labels.append(LABEL_ID_TO_TRAIN_ID[scene.label_ids])
        captions.append([caption(scene, rng) for _ in range(CAPTIONS)])
    return SceneSet(images=np.stack(images), labels=np.stack(labels), captions=captions)


@functools.cache
def held_out_set(count: int) -> SceneSet:
    """`count` scenes that no network is trained on."""
    return draw_set(range(HELD_OUT, HELD_OUT + count))


def _read_shard(file: Path) -> SceneSet:
    with np.load(file) as content:
        captions = [[entry.decode("utf-8") for entry in entries] for entries in content["captions"].tolist()]
        return SceneSet(images=content["images"], labels=content["labels"], captions=captions)
