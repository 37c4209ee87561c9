"""Training the UNet, the text encoder and the ControlNet together, from scratch or further.

A ControlNet is otherwise trained beside a UNet that stays as it is, because Stable Diffusion's is too large
and too good to be touched. A UNet this small has no room to spare for label maps that it was never shown: so
every second image of a batch is drawn with its label map, and UNet and ControlNet learn from it together; the
others teach the UNet to draw without.
"""

import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTokenizer

from datum.diffusion.condition import condition_of
from datum.streetscenes.model.architecture import (
    new_controlnet,
    new_scheduler,
    new_text_encoder,
    new_unet,
)
from datum.streetscenes.optimization import TimedTraining, optimize

CAPTION_DROPOUT = 0.12
"""Share of captions replaced with the empty one, for classifier-free guidance (Ho and Salimans 2022)."""
CONDITIONED_CAPTION_DROPOUT = 0.5
"""The same beside a label map, so that the map has to say what is drawn (Zhang et al. 2023, "Adding
conditional control to text-to-image diffusion models")."""
SIGNAL_CAP = 5.0
"""Signal-to-noise ratio above which a step weighs less (gamma of min-SNR weighting, Hang et al. 2023)."""
LEARNING_RATE = 1e-3


def train_denoiser(
    latents: Tensor,
    labels: Tensor,
    captions: Tensor,
    tokenizer: CLIPTokenizer,
    training: TimedTraining,
    start: StableDiffusionPipeline | None = None,
    start_controlnet: ControlNetModel | None = None,
) -> nn.ModuleDict:
    """`unet`, `text_encoder` and `controlnet`, trained on the device of `latents`.

    `latents` are float16[scenes, 24, height/8, width/8] of deviation 1, `labels` train ids, uint8[scenes,
    height, width], `captions` token ids, int64[scenes, captions, context]: each time a scene is drawn, one of
    its captions is. Weights are those of `start`, a pipeline of the same architecture, or random ones; the
    ControlNet's those of `start_controlnet`, or a copy of the UNet's.
    """
    device, batch = latents.device, training.batch
    unet = new_unet().to(device, memory_format=torch.channels_last)
    text_encoder = new_text_encoder(tokenizer).to(device)
    if start is not None:
        unet.load_state_dict(start.unet.state_dict())
        text_encoder.load_state_dict(start.text_encoder.state_dict())
    controlnet = new_controlnet(unet).to(device, memory_format=torch.channels_last)
    if start_controlnet is not None:
        controlnet.load_state_dict(start_controlnet.state_dict())
    for network in (unet, controlnet):
        training.runtime.compiled(network)
    signal = new_scheduler().alphas_cumprod.to(device)
    weights = velocity_weights(signal)
    empty = torch.tensor(tokenizer("", padding="max_length").input_ids, device=device)
    dropout = torch.full((batch, 1), CAPTION_DROPOUT, device=device)
    dropout[::2] = CONDITIONED_CAPTION_DROPOUT

    def losses() -> dict[str, Tensor]:
        scene = torch.randint(len(latents), (batch,), device=device)
        tokens = captions[scene, torch.randint(captions.shape[1], (batch,), device=device)]
        dropped = torch.rand(batch, 1, device=device) < dropout
        states = text_encoder(input_ids=torch.where(dropped, empty, tokens)).last_hidden_state
        noisy, velocity, step = noised(latents[scene].float(), signal)
        condition = condition_of(labels[scene[::2]], "one-hot")
        down, middle = controlnet(noisy[::2], step[::2], states[::2], condition, return_dict=False)
        predicted = unet(
            noisy,
            step,
            encoder_hidden_states=states,
            down_block_additional_residuals=[_for_every_second(part, batch) for part in down],
            mid_block_additional_residual=_for_every_second(middle, batch),
        ).sample
        errors = velocity_errors(predicted, velocity) * weights[step]
        shares = {"velocity": errors[1::2], "velocity with labels": errors[::2]}
        return {name: part.sum() / batch for name, part in shares.items()}

    networks = nn.ModuleDict({"unet": unet, "text_encoder": text_encoder, "controlnet": controlnet})
    return optimize(networks, losses, training, learning_rate=LEARNING_RATE)


def _for_every_second(residual: Tensor, batch: int) -> Tensor:
    """`residual` of the even images of a batch, and nothing for the odd ones."""
    spread = residual.new_zeros(batch, *residual.shape[1:])
    spread[::2] = residual
    return spread


def noised(clean: Tensor, signal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(noisy latents, their velocities, steps int64[batch]) of latents float32[batch, 24, height/8, width/8];
    `signal` is the share of signal that every step keeps."""
    noise = torch.randn_like(clean)
    step = _spread_steps(len(clean), len(signal), clean.device)
    kept = signal[step].view(-1, 1, 1, 1)
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * clean
    return noisy.contiguous(memory_format=torch.channels_last), velocity, step


def velocity_errors(predicted: Tensor, velocity: Tensor) -> Tensor:
    """Mean squared error of each latent, float32[batch]."""
    return functional.mse_loss(predicted.float(), velocity, reduction="none").mean((1, 2, 3))


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
