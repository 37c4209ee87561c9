"""The pipeline that draws from label maps: diffusers' own ControlNet pipelines around a personalized model.

From a ControlNet of one-hot classes an image is drawn as DGInStyle draws its first pass: from noise. From one
of Cityscapes' palette, as most are that were trained for other things, it is drawn as ZoDi draws: from the
noised source image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
)

from datum.diffusion.condition import condition_of
from datum.diffusion.controlnet import ConditionKind, ControlNet
from datum.diffusion.load import load_controlnet
from datum.generation.label_maps import LabelMap
from datum.generation.painter import Painter
from datum.generation_settings import GenerationSettings

GUIDANCE: dict[ConditionKind, float] = {"one-hot": 7.5, "colored": 9.0}
"""Guidance of DGInStyle and of ZoDi."""


class LabelPainter(Painter):
    """Draws with the parts of `pipeline` and a ControlNet. Raises `InputError` for a ControlNet that cannot
    be loaded, and for a prompt of `longest` that is longer than the text encoder takes."""

    prompt_setting = "generation.labeled_prompt"

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        controlnet: ControlNet,
        settings: GenerationSettings,
        longest: str,
    ) -> None:
        self._kind = controlnet.kind
        model = load_controlnet(controlnet, pipeline.dtype).to(pipeline.device)
        if pipeline.device.type == "cuda":
            model.to(memory_format=torch.channels_last)
        whole = {
            "one-hot": StableDiffusionControlNetPipeline,
            "colored": StableDiffusionControlNetImg2ImgPipeline,
        }[self._kind]
        scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
        parts = pipeline.components | {"controlnet": model, "scheduler": scheduler}
        checked = pipeline.safety_checker is not None
        super().__init__(whole(**parts, requires_safety_checker=checked), settings, [])
        self._encode(longest)

    def _arguments(self, conditions: Sequence[LabelMap]) -> dict[str, Any]:
        guidance = self._settings.labeled_guidance_scale
        arguments: dict[str, Any] = {
            "num_inference_steps": self._settings.labeled_steps,
            "guidance_scale": GUIDANCE[self._kind] if guidance is None else guidance,
            "controlnet_conditioning_scale": self._settings.labeled_conditioning_scale,
        }
        ids = np.stack([label_map.ids for label_map in conditions])
        condition = condition_of(torch.from_numpy(ids), self._kind)
        if self._kind == "one-hot":
            return arguments | {"image": condition}
        images = np.stack([np.asarray(label_map.image) for label_map in conditions])
        start = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        strength = self._settings.labeled_strength
        return arguments | {"image": start, "control_image": condition, "strength": strength}
