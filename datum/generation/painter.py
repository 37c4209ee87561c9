"""The pipeline that draws, a batch at a time."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from datum.device import choose_device
from datum.diffusion.load import load_checkpoint, prompt_length
from datum.errors import InputError
from datum.generation_settings import GenerationSettings
from datum.stopping import Stopped, stop_asked
from datum.telemetry import log

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def dtype_on(device: torch.device, settings: GenerationSettings) -> torch.dtype:
    """Arithmetic of the models on `device`."""
    return DTYPES[settings.precision] if device.type == "cuda" else torch.float32


def load_pipeline(folder: Path, settings: GenerationSettings) -> StableDiffusionPipeline:
    """The pipeline in `folder`, on the device that draws. Raises `InputError` for one that cannot be
    loaded."""
    device = choose_device()
    pipeline = load_checkpoint(folder, dtype_on(device, settings))
    pipeline.to(device)
    if device.type == "cuda":
        # Tensor cores work on channels-last; a processor core gains nothing from it.
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
    return pipeline


class Painter:
    """A pipeline on its device, ready to draw.

    A prompt of `prompts` is encoded once, not once an image, and an image's noise comes from a CPU generator
    of its own, so it is the same on every device. Raises `InputError` for a prompt longer than the text
    encoder takes.
    """

    prompt_setting = "generation.prompt_template"
    """Where its prompts come from."""

    def __init__(
        self, pipeline: StableDiffusionPipeline, settings: GenerationSettings, prompts: Sequence[str]
    ) -> None:
        self._settings, self._pipeline = settings, pipeline
        self._pipeline.set_progress_bar_config(disable=True)
        self._embeddings = {prompt: self._encode(prompt) for prompt in prompts}
        self._at_once = sys.maxsize

    def draw(
        self, prompts: Sequence[str], seeds: Sequence[int], conditions: Sequence[Any] = ()
    ) -> list[tuple[Image.Image, bool]]:
        """One (RGB image, whether the safety checker painted it black) for each prompt, seed and, where the
        pipeline takes one, condition.

        Where the GPU's memory does not suffice they are drawn in halves, which differ by rounding alone.

        Raises `InputError` for an image that is none (a model that has diverged draws black ones, which
        nothing may take for data), and where the memory does not suffice for a single one; `Stopped` where
        the process is to stop.
        """
        drawn: list[tuple[Image.Image, bool]] = []
        while len(drawn) < len(prompts):
            end = min(len(prompts), len(drawn) + self._at_once)
            part = slice(len(drawn), end)
            try:
                drawn += self._draw(prompts[part], seeds[part], conditions[part])
            except torch.OutOfMemoryError:
                out_of_memory = True
            else:
                out_of_memory = False
            # Not in the handler, where the error keeps what was computed in memory.
            if out_of_memory:
                self._halve(end - len(drawn))
        return drawn

    @torch.inference_mode()
    def _draw(
        self, prompts: Sequence[str], seeds: Sequence[int], conditions: Sequence[Any]
    ) -> list[tuple[Image.Image, bool]]:
        states = [self._embeddings.get(prompt) or self._encode(prompt) for prompt in prompts]
        wanted, unwanted = zip(*states)
        drawn = self._pipeline(
            prompt_embeds=torch.cat(wanted),
            negative_prompt_embeds=torch.cat(unwanted),
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            height=self._settings.size,
            width=self._settings.size,
            output_type="pt",
            callback_on_step_end=self._watch,
            **self._arguments(conditions),
        )
        blackened = drawn.nsfw_content_detected or [False] * len(prompts)
        for prompt, pixels, black in zip(prompts, drawn.images, blackened):
            if not black:
                self._require_picture(pixels, prompt)
        # What the pipeline itself does to return images and not tensors.
        pictures = self._pipeline.image_processor.numpy_to_pil(
            self._pipeline.image_processor.pt_to_numpy(drawn.images)
        )
        return list(zip(pictures, blackened))

    def _arguments(self, conditions: Sequence[Any]) -> dict[str, Any]:
        """What else the pipeline is called with."""
        return {
            "num_inference_steps": self._settings.inference_steps,
            "guidance_scale": self._settings.guidance_scale,
        }

    def _watch(self, _: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """Called after every denoising step."""
        if stop_asked():
            raise Stopped("stopped while drawing")
        return {}

    def _require_picture(self, pixels: torch.Tensor, prompt: str) -> None:
        """Raises `InputError` for float[3, height, width] that is not finite or has one color only."""
        if not bool(torch.isfinite(pixels).all()):
            found = "with values that are not finite"
        elif bool((pixels == pixels[:, :1, :1]).all()):
            found = "in one color only"
        else:
            return
        raise InputError(
            f"--model: draws {prompt!r} {found} in generation.precision={self._settings.precision}, expected "
            "a picture; draw with generation.precision=fp32, or personalize with a lower learning rate"
        )

    def _halve(self, tried: int) -> None:
        torch.cuda.empty_cache()
        if tried == 1:
            raise InputError(
                f"generation.size={self._settings.size}: the GPU's memory does not suffice to draw one "
                "image; set generation.precision=fp16, draw smaller images, or use a GPU with more memory"
            )
        self._at_once = tried // 2
        log(
            f"generate: the GPU's memory does not suffice for {tried} images at once; going on with "
            f"{self._at_once}"
        )

    @torch.inference_mode()
    def _encode(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        """States of the text encoder for the prompt and for the empty prompt, each float[1, tokens,
        width]."""
        prompt_length(self._pipeline, prompt, self.prompt_setting)
        wanted, unwanted = self._pipeline.encode_prompt(
            prompt,
            self._pipeline.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt="",
        )
        return wanted, unwanted
