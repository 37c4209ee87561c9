"""DreamBooth on one image: the UNet and the text encoder learn it under a rare token.

Ruiz et al., DreamBooth (CVPR 2023), without prior preservation, as DATUM uses it (Benigmim et al., 2023,
section 3.2; `dreambooth/train_dreambooth.py`).
"""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from datum.config import PersonalizationSettings, require_counts
from datum.device import choose_device
from datum.diffusion.base_model import find_base_model
from datum.diffusion.load import load_base_model, prompt_length
from datum.diffusion.sizes import latent_cell, require_cells_of_crop, require_crop
from datum.errors import InputError
from datum.outputs import building, is_complete, sha256
from datum.personalization.crops import resize_short_side
from datum.personalization.dreambooth import DreamBooth, checkpoint_steps
from datum.personalization.room_to_personalize import require_room_to_personalize
from datum.photographs import open_one_shot_image
from datum.prompts import require_prompt
from datum.provenance import NAMED, Provenance
from datum.store import open_store
from datum.telemetry import log
from datum.training_state import state_place


def personalize(
    *, image: Path, output: Path, settings: PersonalizationSettings, seed: int, state_uri: str | None = None
) -> None:
    """Trains on `image` and writes `output/checkpoint-<step>/` every `checkpoint_every` steps and at the end.

    Beside them: `training.jsonl` (step, loss, seconds of that step) and `provenance.json`. Random numbers are
    a function of seed and step alone, and the state is saved with every checkpoint but the last, and on
    SIGTERM: a run that was killed and started again ends with the same weights, bit for bit on a CPU.

    `state_uri` names a store for the state and the checkpoints that it needs, so that a run can go on on
    another machine; without it they live in the unfinished output and the state is deleted at the end.

    Raises `InputError` for an unusable image, base model, prompt or setting, before anything is written, and
    where the training diverges; `TemporaryFaultError` where the hub or the store stays out of reach.
    """
    require_utf8(output)
    photograph = open_one_shot_image(image)
    _check(settings)
    base = find_base_model(settings.base_model, settings.revision, settings.variant)
    require_cells_of_crop(settings.crop, latent_cell(base.folder))
    digest = base.digest()
    named = {"image": image.name, "base_model": base.name, "revision": base.commit}
    provenance = Provenance(
        stage="personalize",
        settings=settings,
        inputs={"image_sha256": sha256(image), "base_model_sha256": digest, NAMED: named},
        seed=seed,
    )
    if is_complete(output, provenance):
        return
    place = state_place(state_uri, provenance) if state_uri else None
    require_room_to_personalize(base, output, settings, len(checkpoint_steps(settings)), place)
    pipeline = load_base_model(base)
    of_commit = f", commit {base.commit}" if base.commit else ""
    log(f"personalize: starts from {base.name}{of_commit}: {len(base.files)} files, sha256 {digest[:16]}…")
    ids = prompt_ids(pipeline, settings.instance_prompt)
    pixels = resize_short_side(photograph, settings.short_side)
    _say_enlarged(image, photograph, settings.short_side)
    store = open_store(place) if place else None
    if store:
        # This asks for a key: a wrong endpoint or secret is said before anything is written.
        store.exists("any")
    with building(output, provenance) as partial:
        run = DreamBooth(pipeline, settings, partial, store)
        run.train(pixels, ids, seed)
        run.remove_local_state()


def prompt_ids(pipeline: StableDiffusionPipeline, prompt: str) -> torch.Tensor:
    """Token ids of the prompt, padded to the text encoder's length: int64[1, tokens].

    Raises `InputError` for an empty prompt and for one that the text encoder would cut short.
    """
    setting = "personalization.instance_prompt"
    length = prompt_length(pipeline, prompt, setting)
    return pipeline.tokenizer(prompt, padding="max_length", max_length=length, return_tensors="pt").input_ids


def require_utf8(output: Path) -> None:
    """Raises `InputError` for a path that is not UTF-8: safetensors writes to no other."""
    try:
        str(output.absolute()).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"--output {str(output)!a}: is not UTF-8, expected a name that is; name another"
        ) from None


def _say_enlarged(image: Path, photograph: Image.Image, short_side: int) -> None:
    width, height = photograph.size
    if min(width, height) < short_side:
        log(
            f"{image}: is {width}x{height} pixels and is enlarged to a short side of {short_side} "
            "(personalization.short_side): details that it lacks are not learned"
        )


def _check(settings: PersonalizationSettings) -> None:
    if settings.mixed_precision == "fp16" and choose_device().type != "cuda":
        raise InputError("personalization.mixed_precision=fp16: needs a GPU; on a CPU use no or bf16")
    require_counts("personalization", settings)
    require_prompt("personalization.instance_prompt", settings.instance_prompt)
    require_crop(settings.crop, settings.short_side)
