"""Loading a StableDiffusionPipeline, with what can be wrong about it said in one line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from safetensors import safe_open
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from datum.diffusion.base_model import BaseModel, find_base_model
from datum.diffusion.controlnet import ControlNet
from datum.diffusion.fitness import require_fitting, variant_of, weight_files
from datum.errors import InputError

CLASSES: Mapping[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "safety_checker": StableDiffusionSafetyChecker,
}
"""Class of every part with weights (`datum.diffusion.fitness.MODELS`)."""

FLOATS = ("F32", "F16", "BF16", "F64")
"""Names in safetensors of what weights may be."""


def load_base_model(base: BaseModel | str) -> StableDiffusionPipeline:
    """The pipeline of a base model, in float32 on the CPU; a name is looked up first (`find_base_model`).

    Raises `InputError` where it cannot be loaded, where weights are missing or of another shape than its
    configuration says, and where one of them is not finite.
    """
    base = find_base_model(base) if isinstance(base, str) else base
    named, remedy = f"--base-model {base.name}", "download or copy it again"
    return _load(base.folder, base.variants(), torch.float32, named, remedy)


def load_checkpoint(folder: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    """The pipeline in a local folder; raises `InputError` as above, and for another kind of pipeline."""
    named = f"--model {folder}"
    parts = require_fitting(folder, named)
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    weights = weight_files(names, parts, "", named)
    variants = {part: variant_of(files[0]) for part, files in weights.items()}
    return _load(folder, variants, dtype, named, "personalize again")


def load_controlnet(controlnet: ControlNet, dtype: torch.dtype) -> ControlNetModel:
    """The model of a ControlNet, on the CPU; raises `InputError` as above."""
    named, remedy = controlnet.named, "download or copy it again"
    _quiet()
    try:
        return _load_model(ControlNetModel, controlnet.weights, controlnet.variant, dtype, named, remedy)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"{named}: cannot be loaded: {_first_line(error)}; {remedy}") from error


def prompt_length(pipeline: StableDiffusionPipeline, prompt: str, setting: str) -> int:
    """Tokens that the pipeline's text encoder takes; raises `InputError`, which names `setting`, where
    `prompt` has more of them and would be cut short."""
    return _require_fits(
        pipeline.tokenizer, pipeline.text_encoder.config.max_position_embeddings, prompt, setting
    )


def check_prompts(folder: Path, prompts: Mapping[str, Sequence[str]]) -> None:
    """Raises `InputError` where a prompt is longer than the pipeline in `folder` takes, before anything is
    loaded but its tokenizer; `prompts` are given by the setting that they come from."""
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    config = CLIPTextConfig.from_pretrained(folder / "text_encoder", local_files_only=True)
    for setting, texts in prompts.items():
        for text in texts:
            _require_fits(tokenizer, config.max_position_embeddings, text, setting)


def _require_fits(tokenizer: Any, positions: int, prompt: str, setting: str) -> int:
    """The smaller of what tokenizer and text encoder take, in tokens."""
    length = min(tokenizer.model_max_length, positions)
    tokens = len(tokenizer(prompt).input_ids)
    if tokens > length:
        raise InputError(
            f"{setting}: found {tokens} tokens in {prompt!r}, expected at most {length} for this model; "
            "shorten it"
        )
    return int(length)


def not_finite(model: torch.nn.Module) -> str:
    """Name of the first weight or buffer of `model` that is not finite; empty where all are."""
    for name, values in model.state_dict().items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            return name
    return ""


def _load(
    folder: Path, variants: Mapping[str, str], dtype: torch.dtype, named: str, remedy: str
) -> StableDiffusionPipeline:
    _quiet()
    models = {}
    # The loaders raise a dozen unrelated classes for a damaged or missing file.
    part = ""
    try:
        for part, variant in variants.items():
            whose = f"{named}: {part}"
            models[part] = _load_model(CLASSES[part], folder / part, variant, dtype, whose, remedy)
        part = "tokenizer or scheduler"
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder, dtype=dtype, local_files_only=True, **models
        )
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"{named}: cannot be loaded as a StableDiffusionPipeline: {part}: {_first_line(error)}; {remedy}"
        ) from error
    words, rows = len(pipeline.tokenizer), pipeline.text_encoder.config.vocab_size
    if words > rows:
        raise InputError(f"{named}: tokenizer has {words} tokens, the text encoder {rows}; {remedy}")
    return pipeline


def _load_model(kind: Any, folder: Path, variant: str, dtype: torch.dtype, whose: str, remedy: str) -> Any:
    """The model of class `kind` in `folder`; raises `InputError`, which begins with `whose`, for weights that
    are missing, of another shape, no floats or not finite, and what the loaders raise for all else."""
    _require_floats(folder, variant, whose, remedy)
    model, report = kind.from_pretrained(
        folder, variant=variant or None, dtype=dtype, local_files_only=True, output_loading_info=True
    )
    _require_all_weights(report, whose, remedy)
    if name := not_finite(model):
        raise InputError(
            f"{whose} has values that are not finite in {str(dtype).removeprefix('torch.')} ({name}), so "
            f"nothing can be drawn with it; {remedy}"
        )
    return model


def _quiet() -> None:
    # Only our own progress is shown; what goes wrong arrives as an exception.
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def _require_floats(folder: Path, variant: str, named: str, remedy: str) -> None:
    """Raises `InputError` for weights in whole numbers, which a loader would take for what they are not."""
    for file in sorted(folder.glob("*.safetensors")):
        if variant_of(file.name) != variant:
            continue
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                kind = tensors.get_slice(name).get_dtype()
                # Early Stable Diffusion files hold the numbers of the positions too.
                if kind not in FLOATS and not name.endswith("position_ids"):
                    raise InputError(
                        f"{named}: {file.name} holds {name} as {kind}, expected {', '.join(FLOATS)}; {remedy}"
                    )


def _require_all_weights(report: Any, named: str, remedy: str) -> None:
    """Raises `InputError` where a loader filled in random numbers for weights that the files lack."""
    for key, found in (("missing_keys", "lack"), ("mismatched_keys", "have another shape of")):
        odd = sorted(map(str, report[key]))
        if odd:
            raise InputError(
                f"{named}: its files {found} {len(odd)} tensors of its configuration, such as {odd[0]}; "
                f"{remedy}"
            )
