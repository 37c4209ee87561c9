"""Diffusion models for tests that need one, but not what it has learned."""

import tempfile
from pathlib import Path

import torch
from diffusers import ControlNetModel, StableDiffusionPipeline

from datum.streetscenes.model.architecture import (
    assemble,
    new_autoencoder,
    new_controlnet,
    new_text_encoder,
    new_unet,
)
from datum.streetscenes.model.tokenizer import write_tokenizer


def untrained_pipeline(seed: int) -> StableDiffusionPipeline:
    """The demo's base model with random weights: the same parts and sizes, but it draws noise."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = write_tokenizer(Path(folder))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return assemble(new_autoencoder(), new_unet(), new_text_encoder(tokenizer), tokenizer)


def untrained_controlnet(channels: int, seed: int = 0) -> ControlNetModel:
    """A ControlNet for that model with random weights in all layers, so that its condition changes what is
    drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        controlnet = new_controlnet(new_unet(), channels)
        for parameter in controlnet.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    return controlnet
