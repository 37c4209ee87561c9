"""Whether a pipeline folder fits, told from its small configuration files alone, before anything is loaded.

What fits is Stable Diffusion 1.x and 2.x, of any size: one CLIP text encoder, one UNet that takes latents and
text alone, one autoencoder. Neither torch nor diffusers is imported here, so that a run asks before its first
task.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.formats.json_files import read_json

MODEL_INDEX = "model_index.json"
"""File that makes a folder a diffusers pipeline."""

FITS = "a StableDiffusionPipeline of Stable Diffusion 1.x or 2.x"
"""What messages say is expected."""

CLASSES: Mapping[str, Collection[str]] = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
}
"""Parts that every pipeline has, and the classes that each may be of."""

OPTIONAL = ("safety_checker", "feature_extractor")
"""Parts that a pipeline may have beside a scheduler; any other part makes it another kind of pipeline."""

MODELS = ("unet", "vae", "text_encoder", "safety_checker")
"""Parts with weights."""

SCHEDULERS = (
    *("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "LMSDiscreteScheduler", "DEISMultistepScheduler"),
    *("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"),
    *("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "UniPCMultistepScheduler"),
    *("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler"),
)
"""Schedulers whose noise schedule DDPM's training shares: the others are of other processes (flow matching,
EDM) or of distilled models, which DreamBooth's loss would train towards something else."""

PREDICTION_TYPES = ("epsilon", "v_prediction")
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
"""Those of diffusers' DDPMScheduler."""

_CONDITIONS = (
    *("class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim", "time_cond_proj_dim"),
)
"""Settings of a UNet that takes more than latents, a timestep and a text."""

_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.(\w+))?(?:-\d{5}-of-\d{5})?(?:\.(\w+))?\.(safetensors|bin)"
)
"""Names of files with weights: plain, of a variant (`model.fp16.safetensors`), in several pieces."""


def require_fitting(folder: Path, named: str) -> list[str]:
    """The parts of the pipeline in `folder`, by the names of their folders.

    Raises `InputError`, which begins with `named` (`--base-model X`), for another kind of pipeline, for parts
    that do not fit each other, and for a missing or damaged configuration file.
    """
    index = _read(folder, MODEL_INDEX, named)
    found = index.get("_class_name")
    if found != "StableDiffusionPipeline":
        raise _unfit(named, f"is a {found}")
    parts = [name for name, value in index.items() if isinstance(value, list) and any(value)]
    for part, classes in CLASSES.items():
        kind = index[part][-1] if part in parts else None
        if kind not in classes:
            raise _unfit(named, f"{part} is {kind or 'missing'}, expected {' or '.join(classes)}")
    if odd := sorted({*parts} - {*CLASSES, *OPTIONAL, "scheduler"}):
        raise _unfit(named, f"has a part more, {odd[0]}")
    unet, vae, text = (
        _read(folder, f"{part}/config.json", named) for part in ("unet", "vae", "text_encoder")
    )
    _require_fitting_sizes(named, unet, vae, text)
    if not any((folder / "tokenizer" / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise _unfit(named, "tokenizer has neither tokenizer.json nor vocab.json")
    return parts


def require_denoising_scheduler(folder: Path, named: str) -> None:
    """Raises `InputError` where DreamBooth's loss is not what the scheduler's model was trained for."""
    scheduler = _read(folder, "scheduler/scheduler_config.json", named)
    kind, prediction = scheduler.get("_class_name"), scheduler.get("prediction_type", "epsilon")
    betas, steps = scheduler.get("beta_schedule", "linear"), scheduler.get("num_train_timesteps", 1000)
    if kind not in SCHEDULERS or scheduler.get("use_flow_sigmas"):
        flow = " with flow sigmas" if kind in SCHEDULERS else ""
        raise _unfit(
            named, f"scheduler is {kind}{flow}, expected one with DDPM's noise, such as PNDMScheduler"
        )
    if prediction not in PREDICTION_TYPES:
        raise _unfit(named, f"scheduler has prediction_type={prediction}, expected epsilon or v_prediction")
    if betas not in BETA_SCHEDULES or not isinstance(steps, int) or steps < 1:
        raise _unfit(
            named,
            f"scheduler has beta_schedule={betas} and num_train_timesteps={steps}, expected one of "
            f"{', '.join(BETA_SCHEDULES)} and 1 or more",
        )


def weight_files(
    names: Collection[str], parts: Collection[str], variant: str, named: str
) -> dict[str, list[str]]:
    """Files with the weights of every part, by part: safetensors before pickles, those of `variant` before
    plain ones; without a `variant` plain ones, or those of the only variant that is there.

    `names` are all files of the pipeline, relative to its folder. Raises `InputError` for a part without
    weights and for a `variant` that no part has.
    """
    chosen = {}
    for part in (model for model in MODELS if model in parts):
        there = weights_by_variant(names, part)
        plain_or_only = "" if "" in there or len(there) != 1 else next(iter(there))
        wanted = variant if variant in there else plain_or_only
        if wanted not in there:
            variants = ", ".join(sorted(there)) or "none"
            raise InputError(
                f"{named}: {part} has no weights{f' of variant {variant}' if variant else ''} (variants that "
                f"are there: {variants}); name one with --variant, or another model"
            )
        chosen[part] = there[wanted]
    if variant and not any(variant in weights_by_variant(names, part) for part in chosen):
        raise InputError(
            f"{named}: has no weights of variant {variant}; leave --variant out, or name another"
        )
    return chosen


def variant_of(file: str) -> str:
    """The variant that the name of a file with weights tells; empty for plain ones."""
    match = _WEIGHTS.fullmatch(file.rpartition("/")[2])
    return (match[1] or match[2] or "") if match else ""


def configuration_files(names: Collection[str], parts: Collection[str]) -> list[str]:
    """Files of the pipeline that say how it is built: JSON, and the tokenizer's texts."""
    folders = {*parts}
    return [
        name
        for name in sorted(names)
        if name == MODEL_INDEX
        or (name.count("/") == 1 and name.partition("/")[0] in folders and name.endswith((".json", ".txt")))
    ]


def weights_by_variant(names: Collection[str], part: str) -> dict[str, list[str]]:
    """Variant -> files with the weights in the folder `part`, in the better format of those that there
    are."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in sorted(names):
        folder, _, file = name.rpartition("/")
        match = _WEIGHTS.fullmatch(file) if folder == part else None
        if match:
            kinds = found.setdefault(match[1] or match[2] or "", {})
            kinds.setdefault(match[3], []).append(name)
    return {variant: kinds.get("safetensors") or kinds["bin"] for variant, kinds in found.items()}


def _require_fitting_sizes(
    named: str, unet: Mapping[str, Any], vae: Mapping[str, Any], text: Mapping[str, Any]
) -> None:
    latents, width = vae.get("latent_channels", 4), text.get("hidden_size", 512)
    for key in ("in_channels", "out_channels"):
        if unet.get(key, 4) != latents:
            raise _unfit(
                named,
                f"unet has {key}={unet.get(key, 4)} and the vae {latents} latent channels, expected the same "
                "(9 are an inpainting model's, 5 a depth model's, 7 and 8 an upscaler's)",
            )
        if vae.get(key, 3) != 3:
            raise _unfit(named, f"vae has {key}={vae.get(key, 3)}, expected 3 of RGB")
    if unet.get("cross_attention_dim", 1280) != width:
        raise _unfit(
            named,
            f"unet has cross_attention_dim={unet.get('cross_attention_dim', 1280)} and the text encoder "
            f"hidden_size={width}, expected the same",
        )
    if odd := [key for key in _CONDITIONS if unet.get(key) is not None]:
        raise _unfit(named, f"unet has {odd[0]}={unet[odd[0]]}, and so takes more than latents and a text")


def _read(folder: Path, name: str, named: str) -> dict[str, Any]:
    try:
        return read_json(folder / name)
    except InputError as error:
        raise InputError(f"{named}: {name} is missing or damaged ({error})") from None


def _unfit(named: str, found: str) -> InputError:
    return InputError(
        f"{named}: {found}; expected {FITS} (SDXL, inpainting, depth and flow models do not fit)"
    )
