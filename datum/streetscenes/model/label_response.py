"""What a label map changes in what a ControlNet has the base model draw."""

from typing import Any

import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from torch.nn import functional

from datum.diffusion.condition import condition_of
from datum.streetscenes.model.autoencoder import encode_images
from datum.streetscenes.model.training_scenes import held_out_set
from datum.streetscenes.optimization import Runtime

STEPS = (999, 900, 700, 500, 300, 100)
"""Steps of the noise schedule, from noise alone to a scene with little of it."""


@torch.no_grad()
def condition_response(
    pipeline: StableDiffusionPipeline, controlnet: ControlNetModel, runtime: Runtime, *, scenes: int
) -> dict[str, dict[str, float]]:
    """Mean squared error of the velocity (of deviation near 1) on held-out scenes, by step: with a scene's
    own label map (`own`), with another scene's (`other`), and without the ControlNet (`none`).

    The prompt is empty, and the noise of a step the same for all three.
    """
    device = runtime.device
    held_out = held_out_set(scenes)
    images = torch.from_numpy(held_out.pixels()).contiguous().to(device)
    own = torch.from_numpy(held_out.labels).to(device)
    latents = encode_images(pipeline.vae, images, runtime).float()
    empty = torch.tensor(pipeline.tokenizer("", padding="max_length").input_ids, device=device)
    states = pipeline.text_encoder(input_ids=empty.expand(scenes, -1)).last_hidden_state
    signal = pipeline.scheduler.alphas_cumprod.to(device)
    errors = {}
    for step in STEPS:
        # Drawn on the processor, so that every device measures with the same noise.
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(step)).to(device)
        noisy = signal[step].sqrt() * latents + (1 - signal[step]).sqrt() * noise
        velocity = signal[step].sqrt() * noise - (1 - signal[step]).sqrt() * latents
        at = torch.full((scenes,), step, device=device)
        row = {}
        for kind, labels in {"own": own, "other": own.roll(1, 0), "none": None}.items():
            added: dict[str, Any] = {}
            if labels is not None:
                condition = condition_of(labels, "one-hot")
                down, middle = controlnet(noisy, at, states, condition, return_dict=False)
                added = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
            predicted = pipeline.unet(noisy, at, encoder_hidden_states=states, **added).sample
            row[kind] = round(functional.mse_loss(predicted, velocity).item(), 4)
        errors[str(step)] = row
    return errors
