"""Checkpoints: whole pipeline folders that `StableDiffusionPipeline.from_pretrained` loads as they are."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datum.errors import InputError
from datum.kept_folder import get_folder, put_folder
from datum.outputs import link_or_copy, sha256
from datum.store import Store

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

PREFIX = "checkpoint-"
"""What the name of a checkpoint's folder adds to its step."""


def checkpoint_folder(output: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies in a personalization output."""
    return output / f"{PREFIX}{step}"


def write_checkpoint(
    folder: Path, pipeline: StableDiffusionPipeline, trained: Mapping[str, Any], earlier: Path | None
) -> None:
    """Writes the pipeline as safetensors to `folder`, whole or not at all.

    `trained` holds the models that training changes, by their name in the pipeline. All else is hard-linked
    from the `earlier` checkpoint of the same run where there is one: of Stable Diffusion v1.4's 5.5 GB, a
    quarter never changes. A copied or uploaded checkpoint is whole, since a copy follows a hard link.
    """
    unfinished = _unfinished(folder)
    if earlier is None:
        pipeline.save_pretrained(unfinished, safe_serialization=True)
    else:
        ignore = shutil.ignore_patterns(*trained)
        shutil.copytree(earlier, unfinished, ignore=ignore, copy_function=link_or_copy)
        for name, model in trained.items():
            model.save_pretrained(unfinished / name, safe_serialization=True)
    _replace_folder(unfinished, folder)


def upload_checkpoint(folder: Path, store: Store) -> None:
    """Puts every file of a checkpoint in the store, under the folder's name."""
    put_folder(store, folder, f"{folder.name}/")


def download_checkpoint(folder: Path, store: Store) -> bool:
    """Brings back what `upload_checkpoint` put there; False where the store holds nothing under that name."""
    unfinished = _unfinished(folder)
    found = get_folder(store, f"{folder.name}/", unfinished)
    if found:
        _replace_folder(unfinished, folder)
    return found


def find_checkpoint(model: Path, step: int) -> Path:
    """The pipeline folder that `model` names: itself, or the checkpoint of that step in it.

    Raises `InputError` where there is none; the message names the steps that there are.
    """
    for folder in (model, checkpoint_folder(model, step)):
        if (folder / "model_index.json").is_file():
            return folder
    if not model.is_dir():
        raise InputError(f"--model {model}: no such folder, expected a pipeline or a personalization output")
    names = [found.parent.name for found in model.glob(f"{PREFIX}*/model_index.json")]
    steps = sorted(int(name.removeprefix(PREFIX)) for name in names)
    if not steps:
        raise InputError(
            f"--model {model}: found neither model_index.json nor checkpoint-<step> folders, expected a "
            "diffusers pipeline or the output of `datum personalize`"
        )
    raise InputError(
        f"generation.checkpoint_step={step}: {model} has no such checkpoint, expected one of "
        f"{', '.join(map(str, steps))}"
    )


def model_digest(pipeline: Path) -> str:
    """Hexadecimal SHA-256 over the pipeline's files (their relative paths and SHA-256, sorted by path).

    Weights, tokenizer and scheduler all count, since all of them make the images.
    """
    digest = hashlib.sha256()
    for file in sorted(file for file in pipeline.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(pipeline).as_posix()} {sha256(file)}\n".encode())
    return digest.hexdigest()


def _unfinished(folder: Path) -> Path:
    """An absent folder beside `folder`, to build it in."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    return unfinished


def _replace_folder(source: Path, target: Path) -> None:
    # A process killed after writing the checkpoint and before saving its state writes it once more.
    shutil.rmtree(target, ignore_errors=True)
    source.rename(target)
