"""DreamBooth's loss, and the random numbers of a training step."""

import hashlib
from collections.abc import Iterator

import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch.nn import functional


def denoising_loss(
    pipeline: StableDiffusionPipeline,
    scheduler: DDPMScheduler,
    pixels: torch.Tensor,
    ids: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Mean squared error of the UNet's prediction for one batch, a scalar.

    `pixels` float32[batch, 3, height, width] reach from -1 to 1, `ids` are int64[batch, tokens]; both on the
    models' device.
    Random numbers come from the CPU `generator` in this order: latent sample, noise, timesteps. The scheduler
    says whether the UNet predicts the noise or the velocity.
    """
    return next(denoising_losses(pipeline, scheduler, pixels, ids, generator, len(pixels)))


def denoising_losses(
    pipeline: StableDiffusionPipeline,
    scheduler: DDPMScheduler,
    pixels: torch.Tensor,
    ids: torch.Tensor,
    generator: torch.Generator,
    at_once: int,
) -> Iterator[torch.Tensor]:
    """The same in parts of `at_once` images, each its share of the mean: they add up to it, and so do their
    gradients. The random numbers are those of the whole batch."""
    with torch.no_grad():
        encoded = [pipeline.vae.encode(part).latent_dist.parameters for part in pixels.split(at_once)]
    posterior = DiagonalGaussianDistribution(torch.cat(encoded))
    latents = posterior.sample(generator).float() * pipeline.vae.config.scaling_factor
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    last = scheduler.config.num_train_timesteps
    timesteps = torch.randint(0, last, (len(latents),), generator=generator).to(latents.device)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    if scheduler.config.prediction_type == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)
    else:
        target = noise
    for start in range(0, len(pixels), at_once):
        part = slice(start, start + at_once)
        states = pipeline.text_encoder(ids[part])[0]
        prediction = pipeline.unet(noisy[part], timesteps[part], states).sample
        loss = functional.mse_loss(prediction.float(), target[part].float())
        yield loss * (len(prediction) / len(pixels))


def step_generator(seed: int, step: int) -> torch.Generator:
    """The CPU generator of one training step: seeded by the first 4 bytes of the SHA-256 of
    "<seed> <step>" (PyTorch's Mersenne twister takes no more)."""
    digest = hashlib.sha256(f"{seed} {step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
