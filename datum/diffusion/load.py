"""Loading the base model, with what can be wrong about it said in one line."""

from __future__ import annotations

from pathlib import Path

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
    _silence_libraries()
    location = base_model_path(name)
    try:
        return StableDiffusionPipeline.from_pretrained(location, dtype=torch.float32)
    # The loaders raise a dozen unrelated classes for a damaged or missing file.
    except Exception as error:
        raise _explained(name, location, error) from error


def prompt_ids(pipeline: StableDiffusionPipeline, prompt: str) -> torch.Tensor:
    """Token ids of the prompt, padded to the text encoder's length: int64, 1 x tokens.

    Raises `InputError` for an empty prompt and for one that the text encoder would cut short.
    """
    tokenizer = pipeline.tokenizer
    length = min(tokenizer.model_max_length, pipeline.text_encoder.config.max_position_embeddings)
    tokens = len(tokenizer(prompt).input_ids)
    if not prompt.strip():
        raise InputError(
            "personalization.instance_prompt: is empty, expected a prompt such as 'a photo of sks'"
        )
    if tokens > length:
        raise InputError(
            f"personalization.instance_prompt: found {tokens} tokens in {prompt!r}, expected at most "
            f"{length} for this base model; shorten it"
        )
    return tokenizer(prompt, padding="max_length", max_length=length, return_tensors="pt").input_ids


def _silence_libraries() -> None:
    """Only our own progress is shown; what goes wrong arrives as an exception."""
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def _explained(name: str, location: str, error: Exception) -> Exception:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
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
