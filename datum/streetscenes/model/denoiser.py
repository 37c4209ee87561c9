"""Training the UNet and the text encoder together, from scratch or further, on latents and captions."""

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTokenizer

from datum.streetscenes.model.architecture import new_scheduler, new_text_encoder, new_unet
from datum.streetscenes.optimization import TimedTraining, optimize

CAPTION_DROPOUT = 0.12
"""Share of captions replaced with the empty one, for classifier-free guidance (Ho and Salimans 2022)."""
SIGNAL_CAP = 5.0
"""Signal-to-noise ratio above which a step weighs less (gamma of min-SNR weighting, Hang et al. 2023)."""
LEARNING_RATE = 1e-3


def train_denoiser(
    latents: Tensor,
    captions: Tensor,
    tokenizer: CLIPTokenizer,
    training: TimedTraining,
    start: StableDiffusionPipeline | None = None,
) -> nn.ModuleDict:
    """`unet` and `text_encoder`, trained on the device of `latents`.

    `latents` are float16[scenes, 24, height/8, width/8] of deviation 1, `captions` token ids, int64[scenes,
    captions, context]: each time a scene is drawn, one of its captions is. Weights are those of `start`, a
    pipeline of the same architecture, or random ones.
    """
    device, batch = latents.device, training.batch
    unet = new_unet().to(device, memory_format=torch.channels_last)
    text_encoder = new_text_encoder(tokenizer).to(device)
    if start is not None:
        unet.load_state_dict(start.unet.state_dict())
        text_encoder.load_state_dict(start.text_encoder.state_dict())
    training.runtime.compiled(unet)
    signal = new_scheduler().alphas_cumprod.to(device)
    weights = velocity_weights(signal)
    empty = torch.tensor(tokenizer("", padding="max_length").input_ids, device=device)

    def losses() -> dict[str, Tensor]:
        scene = torch.randint(len(latents), (batch,), device=device)
        tokens = captions[scene, torch.randint(captions.shape[1], (batch,), device=device)]
        dropped = torch.rand(batch, 1, device=device) < CAPTION_DROPOUT
        states = text_encoder(input_ids=torch.where(dropped, empty, tokens)).last_hidden_state
        noisy, velocity, step = noised(latents[scene].float(), signal)
        predicted = unet(noisy, step, encoder_hidden_states=states).sample
        return {"velocity": velocity_loss(predicted, velocity, weights[step])}

    networks = nn.ModuleDict({"unet": unet, "text_encoder": text_encoder})
    return optimize(networks, losses, training, learning_rate=LEARNING_RATE)


def noised(clean: Tensor, signal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(noisy latents, their velocities, steps int64[batch]) of latents float32[batch, 24, height/8, width/8];
    `signal` is the share of signal that every step keeps."""
    noise = torch.randn_like(clean)
    step = _spread_steps(len(clean), len(signal), clean.device)
    kept = signal[step].view(-1, 1, 1, 1)
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * clean
    return noisy.contiguous(memory_format=torch.channels_last), velocity, step


def velocity_loss(predicted: Tensor, velocity: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error of each latent, weighed by float32[batch]."""
    errors = functional.mse_loss(predicted.float(), velocity, reduction="none").mean((1, 2, 3))
    return (weights * errors).mean()


def _spread_steps(batch: int, steps: int, device: torch.device) -> Tensor:
    """One step from each of `batch` equal stretches of the noise schedule: less noise in the loss."""
    place = (torch.arange(batch, device=device) + torch.rand(batch, device=device)) / batch
    return (place * steps).long().clamp(max=steps - 1)


def velocity_weights(signal: Tensor) -> Tensor:
    """Weight of the velocity error at each step, from the share of signal that the step keeps.

    1 while noise prevails, and above a signal-to-noise ratio of `SIGNAL_CAP` what min-SNR weighting gives.
    Min-SNR itself falls to 0 where no signal is left, and the last step, which decides whether a scene is
    dark or bright, would never be learned.
    """
    ratio = signal / (1 - signal)
    return ((SIGNAL_CAP + 1) / (ratio + 1)).clamp(max=1.0)
