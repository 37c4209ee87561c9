"""The pipeline that draws, a batch at a time."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from datum.config import GenerationSettings
from datum.device import choose_device
from datum.diffusion.load import load_checkpoint, prompt_length
from datum.errors import InputError

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


class Painter:
    """A pipeline on its device, ready to draw.

    A prompt is encoded once, not once an image, and an image's noise comes from a CPU generator of its own,
    so it is the same on every device. Raises `InputError` for a pipeline that cannot be loaded, a prompt
    longer than the text encoder takes and a size that the pipeline cannot draw.
    """

    def __init__(self, folder: Path, settings: GenerationSettings, prompts: Sequence[str]) -> None:
        self._settings = settings
        device = choose_device()
        dtype = DTYPES[settings.precision] if device.type == "cuda" else torch.float32
        self._pipeline = load_checkpoint(folder, dtype)
        _check_size(settings.size, self._pipeline.vae_scale_factor)
        self._pipeline.set_progress_bar_config(disable=True)
        self._pipeline.to(device)
        if device.type == "cuda":
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
        """States of the text encoder for the prompt and for the empty prompt, each float[1, tokens,
        width]."""
        prompt_length(self._pipeline, prompt, "generation.prompt_template")
        wanted, unwanted = self._pipeline.encode_prompt(
            prompt,
            self._pipeline.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt="",
        )
        return wanted, unwanted


def _check_size(size: int, latent_cell: int) -> None:
    # The pipeline itself asks for multiples of 8, whatever its latent cell.
    multiple = max(8, latent_cell)
    if size < multiple or size % multiple:
        raise InputError(f"generation.size={size}: expected a multiple of {multiple} pixels")
