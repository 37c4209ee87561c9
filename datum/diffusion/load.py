"""Loading a StableDiffusionPipeline, with what can be wrong about it said in one line."""

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import StableDiffusionPipeline
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from datum.diffusion.base_model import base_model_path
from datum.errors import InputError, TemporaryFaultError


def load_base_model(name: str) -> StableDiffusionPipeline:
    """The pipeline behind a hub id, a local folder or the name of a shipped model, in float32 on the CPU.

    Raises `InputError` where there is no such model or it cannot be loaded, and `TemporaryFaultError` where
    the hub is out of reach.
    """
    location = base_model_path(name)
    try:
        return _load(location, dtype=torch.float32)
    # The loaders raise a dozen unrelated classes for a damaged or missing file.
    except Exception as error:
        raise _explained(name, location, error) from error


def load_checkpoint(folder: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    """The pipeline in a local folder; raises `InputError` where it cannot be loaded."""
    try:
        return _load(folder, dtype=dtype, local_files_only=True)
    except Exception as error:
        raise InputError(
            f"--model {folder}: cannot be loaded as a StableDiffusionPipeline ({_reason(error)}); "
            "personalize again"
        ) from error


def prompt_length(pipeline: StableDiffusionPipeline, prompt: str, setting: str) -> int:
    """Tokens that the pipeline's text encoder takes; raises `InputError`, which names `setting`, where
    `prompt` has more of them and would be cut short."""
    tokenizer = pipeline.tokenizer
    length = min(tokenizer.model_max_length, pipeline.text_encoder.config.max_position_embeddings)
    tokens = len(tokenizer(prompt).input_ids)
    if tokens > length:
        raise InputError(
            f"{setting}: found {tokens} tokens in {prompt!r}, expected at most {length} for this model; "
            "shorten it"
        )
    return int(length)


def _load(location: str | Path, **options: Any) -> StableDiffusionPipeline:
    # Only our own progress is shown; what goes wrong arrives as an exception.
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    return StableDiffusionPipeline.from_pretrained(location, **options)


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _explained(name: str, location: str, error: Exception) -> Exception:
    reason = _reason(error)
    if Path(location).is_dir():
        return InputError(
            f"--base-model {name}: {location} cannot be loaded as a StableDiffusionPipeline: {reason}"
        )
    advice = f"download it where the hub is in reach (hf download {name}) and pass the folder"
    # Both are final answers: no such model or no access, and a hub that the user switched off.
    if error.__cause__ is None or isinstance(error.__cause__, (HfHubHTTPError, OfflineModeIsEnabled)):
        return InputError(f"--base-model {name}: cannot be loaded from the hub ({reason}); {advice}")
    return TemporaryFaultError(
        f"--base-model {name}: not in the local cache and the hub is out of reach; try again, or {advice}"
    )
