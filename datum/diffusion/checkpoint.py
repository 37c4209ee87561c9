"""Checkpoints: whole pipeline folders that `StableDiffusionPipeline.from_pretrained` loads as they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline

from datum.store import Store


def checkpoint_folder(output: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies in a personalization output."""
    return output / f"checkpoint-{step}"


def write_checkpoint(
    folder: Path, pipeline: StableDiffusionPipeline, trained: Mapping[str, Any], earlier: Path | None
) -> None:
    """Writes the pipeline as safetensors to `folder`, whole or not at all.

    `trained` holds the models that training changes, by their name in the pipeline. All else is hard-linked
    from the `earlier` checkpoint of the same run where there is one: of Stable Diffusion v1.4's 5.5 GB, a
    quarter never changes. A copied or uploaded checkpoint is whole, since a copy follows a hard link.
    """
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    if earlier is None:
        pipeline.save_pretrained(unfinished, safe_serialization=True)
    else:
        ignore = shutil.ignore_patterns(*trained)
        shutil.copytree(earlier, unfinished, ignore=ignore, copy_function=_link_or_copy)
        for name, model in trained.items():
            model.save_pretrained(unfinished / name, safe_serialization=True)
    _replace_folder(unfinished, folder)


def upload_checkpoint(folder: Path, store: Store) -> None:
    """Puts every file of a checkpoint in the store, under the folder's name."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            store.put(file, f"{folder.name}/{file.relative_to(folder).as_posix()}")


def download_checkpoint(folder: Path, store: Store) -> bool:
    """Brings back what `upload_checkpoint` put there; False where the store holds nothing under that name."""
    keys = store.list(f"{folder.name}/")
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for key in keys:
        file = unfinished / key.partition("/")[2]
        file.parent.mkdir(parents=True, exist_ok=True)
        store.get(key, file)
    if keys:
        _replace_folder(unfinished, folder)
    return bool(keys)


def _replace_folder(source: Path, target: Path) -> None:
    # A process killed after writing the checkpoint and before saving its state writes it once more.
    shutil.rmtree(target, ignore_errors=True)
    source.rename(target)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Not every network file system has hard links.
        shutil.copyfile(source, target)
