"""Training UNet, text encoder and ControlNet together, at toy size: what it changes and what it leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from torch import Tensor, nn

from datum.diffusion.base_model import PACKAGED_FOLDER
from datum.diffusion.condition import condition_of
from datum.diffusion.controlnet import find_controlnet
from datum.diffusion.load import load_base_model, load_controlnet
from datum.streetscenes.model.architecture import new_controlnet
from datum.streetscenes.model.autoencoder import encode_images
from datum.streetscenes.model.denoiser import train_denoiser
from datum.streetscenes.model.training_scenes import draw_scenes, load_tensors
from datum.streetscenes.optimization import Runtime, TimedTraining

CPU = Runtime(device=torch.device("cpu"))
Losses = Callable[[], dict[str, Tensor]]


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return load_base_model("streetscenes")


@pytest.fixture(scope="module")
def scenes(pipeline: StableDiffusionPipeline, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """Latents, labels and captions of a few scenes."""
    files = draw_scenes(tmp_path_factory.mktemp("scenes"), count=4, workers=1)
    images, labels, captions = load_tensors(files, pipeline.tokenizer, CPU.device)
    return {"latents": encode_images(pipeline.vae, images, CPU), "labels": labels, "captions": captions}


def test_a_new_controlnet_changes_nothing_and_a_trained_one_lowers_the_loss(
    pipeline: StableDiffusionPipeline, scenes: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datum.streetscenes.model.denoiser.optimize", by_sixty_steps)
    trained = train_denoiser(**scenes, tokenizer=pipeline.tokenizer, training=toy_training(), start=pipeline)
    new = new_controlnet(pipeline.unet)
    before = error_of(pipeline, pipeline.unet, None, scenes)
    assert error_of(pipeline, pipeline.unet, new, scenes) == before
    assert error_of(pipeline, trained["unet"], trained["controlnet"], scenes) < 0.95 * before
    shuffled = scenes | {"labels": scenes["labels"].roll(1, 0)}
    own, another = (error_of(pipeline, trained["unet"], trained["controlnet"], s) for s in (scenes, shuffled))
    assert own < another


def test_label_maps_reach_every_second_image_and_no_other(
    pipeline: StableDiffusionPipeline, scenes: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    controlnet = load_controlnet(find_controlnet("streetscenes", PACKAGED_FOLDER), torch.float32)
    found = []
    for labels in (scenes["labels"], torch.full_like(scenes["labels"], 10)):
        kept: list[Losses] = []
        monkeypatch.setattr("datum.streetscenes.model.denoiser.optimize", keeping(kept))
        train_denoiser(
            **scenes | {"labels": labels},
            tokenizer=pipeline.tokenizer,
            training=toy_training(),
            start=pipeline,
            start_controlnet=controlnet,
        )
        torch.manual_seed(0)
        with torch.no_grad():
            found.append(kept[0]())
    own, sky = found
    assert own["velocity"] == sky["velocity"]
    assert own["velocity with labels"] < sky["velocity with labels"]


def toy_training() -> TimedTraining:
    return TimedTraining(name="denoiser", seconds=0, batch=4, runtime=CPU, state_file=Path("unused"))


def keeping(kept: list[Losses]) -> Callable[..., nn.Module]:
    """In place of a training: keeps the losses that it would lower."""

    def optimize(networks: nn.Module, losses: Losses, *_: Any, **__: Any) -> nn.Module:
        kept.append(losses)
        return networks

    return optimize


def by_sixty_steps(networks: nn.Module, losses: Losses, *_: Any, **__: Any) -> nn.Module:
    """In place of a training by time, which goes further on a faster machine."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(networks.parameters(), lr=3e-4)
    for _ in range(60):
        optimizer.zero_grad()
        sum(losses().values(), torch.zeros(())).backward()
        optimizer.step()
    return networks


@torch.no_grad()
def error_of(
    pipeline: StableDiffusionPipeline,
    unet: nn.Module,
    controlnet: ControlNetModel | None,
    scenes: dict[str, Tensor],
) -> float:
    """Mean squared error of the velocity over many steps of one scene, without a prompt."""
    signal = pipeline.scheduler.alphas_cumprod
    steps = torch.arange(20, 1000, 60)
    generator = torch.Generator().manual_seed(0)
    clean = scenes["latents"][:1].float().expand(len(steps), -1, -1, -1)
    noise = torch.randn(clean.shape, generator=generator)
    kept = signal[steps].view(-1, 1, 1, 1)
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * clean
    tokens = pipeline.tokenizer("", padding="max_length", return_tensors="pt").input_ids
    states = pipeline.text_encoder(tokens).last_hidden_state.expand(len(steps), -1, -1)
    residuals = {}
    if controlnet is not None:
        condition = condition_of(scenes["labels"][:1], "one-hot").expand(len(steps), -1, -1, -1)
        down, middle = controlnet(noisy, steps, states, condition, return_dict=False)
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    predicted = unet(noisy, steps, encoder_hidden_states=states, **residuals).sample
    return float((predicted - velocity).square().mean())
