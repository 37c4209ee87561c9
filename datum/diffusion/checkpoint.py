"""Checkpoints: whole pipeline folders that `StableDiffusionPipeline.from_pretrained` loads as they are."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datum.disk import flush_folder
from datum.errors import InputError
from datum.kept_folder import get_folder, put_folder
from datum.outputs import link_or_copy, sha256
from datum.store import Store

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

PREFIX = "checkpoint-"
"""What the name of a checkpoint's folder adds to its step."""

_STEP = re.compile(rf"{PREFIX}(\d{{1,9}})")
"""Names of checkpoints; others, such as `checkpoint-best`, are the user's own."""

_UNFINISHED = ".unfinished"
"""What is added to the name of one that is being written."""


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
    unfinished = _with_rest(folder, pipeline, trained, earlier)
    # Without an earlier one, all of the pipeline is there by now.
    for name, model in trained.items() if earlier else ():
        model.save_pretrained(unfinished / name, safe_serialization=True)
    _publish(unfinished, folder)


def upload_checkpoint(folder: Path, trained: Iterable[str], store: Store) -> None:
    """Puts the `trained` models of a checkpoint in the store, under the folder's name: the rest is the base
    model's, which whoever goes on has too."""
    for name in trained:
        put_folder(store, folder / name, f"{folder.name}/{name}/")


def download_checkpoint(
    folder: Path,
    pipeline: StableDiffusionPipeline,
    trained: Iterable[str],
    earlier: Path | None,
    store: Store,
) -> bool:
    """Brings back what `upload_checkpoint` put there; False where the store lacks one of the models."""
    unfinished = _with_rest(folder, pipeline, trained, earlier)
    for name in trained:
        shutil.rmtree(unfinished / name, ignore_errors=True)
    found = all(get_folder(store, f"{folder.name}/{name}/", unfinished / name) for name in trained)
    if found:
        _publish(unfinished, folder)
    else:
        shutil.rmtree(unfinished)
    return found


def weight_digests(folder: Path, trained: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files of a checkpoint's `trained` models, by relative name; none where one is
    missing."""
    return {
        file.relative_to(folder).as_posix(): sha256(file)
        for name in trained
        for file in sorted((folder / name).glob("*"))
    }


def remove_unfinished(output: Path) -> None:
    """Removes the checkpoints of `output` that a killed process was writing."""
    for folder in output.glob(f"{PREFIX}*{_UNFINISHED}"):
        shutil.rmtree(folder)


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
    steps = sorted(int(match[1]) for match in map(_STEP.fullmatch, names) if match)
    if not steps:
        raise InputError(
            f"--model {model}: found neither model_index.json nor checkpoint-<step> folders, expected a "
            "diffusers pipeline or the output of `datum personalize`"
        )
    raise InputError(
        f"generation.checkpoint_step={step}: {model} has no such checkpoint, expected one of "
        f"{', '.join(map(str, steps))}"
    )


def _with_rest(
    folder: Path, pipeline: StableDiffusionPipeline, trained: Iterable[str], earlier: Path | None
) -> Path:
    """A new folder beside `folder` with all of the pipeline that training leaves as it is."""
    unfinished = folder.with_name(folder.name + _UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)
    if earlier is None:
        pipeline.save_pretrained(unfinished, safe_serialization=True)
    else:
        ignore = shutil.ignore_patterns(*trained)
        shutil.copytree(earlier, unfinished, ignore=ignore, copy_function=link_or_copy)
    return unfinished


def _publish(unfinished: Path, folder: Path) -> None:
    flush_folder(unfinished)
    # A process killed after writing the checkpoint and before saving its state writes it once more.
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
