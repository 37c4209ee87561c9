"""The pipeline that draws: found, checked, loaded, and called for a batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import StableDiffusionPipeline
from PIL import Image

from datum.config import GenerationSettings
from datum.errors import InputError
from datum.outputs import sha256

CHECKPOINT_PREFIX = "checkpoint-"
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def find_pipeline(model: Path, checkpoint_step: int) -> Path:
    """The pipeline folder that `model` names: itself, or the checkpoint of that step in it.

    Raises `InputError` where there is none; the message names the steps that there are.
    """
    if (model / "model_index.json").is_file():
        return model
    folder = model / f"{CHECKPOINT_PREFIX}{checkpoint_step}"
    if (folder / "model_index.json").is_file():
        return folder
    if not model.is_dir():
        raise InputError(f"--model {model}: no such folder, expected a pipeline or a personalization output")
    names = [found.parent.name for found in model.glob(f"{CHECKPOINT_PREFIX}*/model_index.json")]
    steps = sorted(int(name.removeprefix(CHECKPOINT_PREFIX)) for name in names)
    if not steps:
        raise InputError(
            f"--model {model}: found neither model_index.json nor checkpoint-<step> folders, expected a "
            "diffusers pipeline or the output of `datum personalize`"
        )
    raise InputError(
        f"generation.checkpoint_step={checkpoint_step}: {model} has no such checkpoint, expected one of "
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


class Painter:
    """A pipeline on its device, ready to draw.

    A prompt is encoded once, not once an image, and an image's noise comes from a CPU generator of its own,
    so it is the same on every device. Raises `InputError` for a pipeline that cannot be loaded, a prompt
    longer than the text encoder takes and a size that the pipeline cannot draw.
    """

    def __init__(self, folder: Path, settings: GenerationSettings, prompts: Sequence[str]) -> None:
        self._settings = settings
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = DTYPES[settings.precision] if device == "cuda" else torch.float32
        self._pipeline = _load(folder, dtype)
        _check_size(settings.size, self._pipeline.vae_scale_factor)
        self._pipeline.set_progress_bar_config(disable=True)
        self._pipeline.to(device)
        if device == "cuda":
            # Tensor cores work on channels-last; a processor core gains nothing from it.
            self._pipeline.unet.to(memory_format=torch.channels_last)
            self._pipeline.vae.to(memory_format=torch.channels_last)
        self._embeddings = {prompt: self._encode(prompt) for prompt in prompts}

    @torch.inference_mode()
    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[tuple[Image.Image, bool]]:
        """One (RGB image, whether the safety checker painted it black) for each prompt and seed."""
        wanted, unwanted = zip(*(self._embeddings[prompt] for prompt in prompts))
        drawn = self._pipeline(
            prompt_embeds=torch.cat(wanted),
            negative_prompt_embeds=torch.cat(unwanted),
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            height=self._settings.size,
            width=self._settings.size,
            num_inference_steps=self._settings.inference_steps,
            guidance_scale=self._settings.guidance_scale,
        )
        return list(zip(drawn.images, drawn.nsfw_content_detected or [False] * len(prompts)))

    @torch.inference_mode()
    def _encode(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        """States of the text encoder for the prompt and for the empty prompt, each 1 x tokens x width."""
        length = self._pipeline.text_encoder.config.max_position_embeddings
        tokens = len(self._pipeline.tokenizer(prompt).input_ids)
        if tokens > length:
            raise InputError(
                f"generation.prompt_template: found {tokens} tokens in {prompt!r}, expected at most {length} "
                "for this model; shorten it"
            )
        wanted, unwanted = self._pipeline.encode_prompt(
            prompt,
            self._pipeline.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt="",
        )
        return wanted, unwanted


def _load(folder: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    # Only our own progress is shown; what goes wrong arrives as an exception or in the manifest.
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    try:
        return StableDiffusionPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)
    # The loaders raise a dozen unrelated classes for a damaged or missing file.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"--model {folder}: cannot be loaded as a StableDiffusionPipeline ({reason}); personalize again"
        ) from error


def _check_size(size: int, latent_cell: int) -> None:
    # The pipeline itself asks for multiples of 8, whatever its latent cell.
    multiple = max(8, latent_cell)
    if size < multiple or size % multiple:
        raise InputError(f"generation.size={size}: expected a multiple of {multiple} pixels")
