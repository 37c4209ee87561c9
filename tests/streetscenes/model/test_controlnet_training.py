"""The ControlNet's training at toy size: what it makes, that it learns, and that it goes on."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline

from datum.diffusion.base_model import PACKAGED_FOLDER
from datum.diffusion.condition import condition_of
from datum.diffusion.controlnet import find_controlnet
from datum.diffusion.load import load_base_model, load_controlnet
from datum.streetscenes.model.architecture import new_controlnet
from datum.streetscenes.model.autoencoder import encode_images
from datum.streetscenes.model.controlnet_training import train_controlnet
from datum.streetscenes.model.training_scenes import draw_scenes, load_tensors
from datum.streetscenes.optimization import Runtime, TimedTraining

CPU = Runtime(device=torch.device("cpu"))


def test_the_command_makes_a_controlnet_for_the_packaged_model_and_goes_on_after_a_kill(
    tmp_path: Path,
) -> None:
    output, work = tmp_path / "controlnet", tmp_path / "work"
    command = [sys.executable, "-m", "datum.streetscenes.model.train", "--device", "cpu"]
    command += ["--output", str(PACKAGED_FOLDER), "--work", str(work), "--controlnet", str(output)]
    command += ["--scenes", "12", "--minutes-controlnet", "0.1", "--batch-controlnet", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    before = {file: file.stat().st_mtime_ns for file in PACKAGED_FOLDER.rglob("*")}

    first = subprocess.Popen([*command, "--minutes-controlnet", "9"], stderr=subprocess.PIPE, env=environment)
    assert first.stderr is not None
    for line in first.stderr:
        if line.startswith(b"controlnet:"):
            first.send_signal(signal.SIGTERM)
            break
    first.wait()
    first.stderr.close()
    assert not output.exists()
    (latents,) = work.glob("controlnet-*/latents.pt")
    made = latents.stat().st_mtime_ns

    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert latents.stat().st_mtime_ns == made
    assert re.search(r"controlnet: \d+ steps, 6/6 s", done.stderr)
    found = find_controlnet(str(output), PACKAGED_FOLDER)
    assert found.kind == "one-hot"
    assert load_controlnet(found, torch.float32).config.conditioning_channels == 20
    assert sum((output / file).stat().st_size for file in found.files) < 5_000_000
    assert {file: file.stat().st_mtime_ns for file in PACKAGED_FOLDER.rglob("*")} == before
    again = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert "already complete" in again.stderr


def test_a_new_controlnet_changes_nothing_and_a_trained_one_lowers_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datum.streetscenes.model.controlnet_training.optimize", by_thirty_steps)
    pipeline = load_base_model("streetscenes")
    images, labels, captions = load_tensors(
        draw_scenes(tmp_path / "scenes", count=4, workers=1), pipeline.tokenizer, CPU.device
    )
    latents = encode_images(pipeline.vae, images, CPU)
    training = TimedTraining(
        name="controlnet", seconds=0, batch=4, runtime=CPU, state_file=tmp_path / "state.pt"
    )
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    trained = train_controlnet(pipeline, latents, labels, captions, training)
    assert all(torch.equal(value, before[name]) for name, value in pipeline.unet.state_dict().items())
    new = new_controlnet(pipeline.unet)
    ids = labels[:1]
    errors = {}
    for name, network in (("without", None), ("new", new), ("trained", trained)):
        errors[name] = error_of(pipeline, network, latents, ids)
    assert errors["new"] == errors["without"]
    assert errors["trained"] < 0.99 * errors["new"]


def by_thirty_steps(
    network: ControlNetModel, losses: Callable[[], dict[str, torch.Tensor]], *_: Any, **__: Any
) -> ControlNetModel:
    """In place of a training by time, which goes further on a faster machine."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4)
    for _ in range(30):
        optimizer.zero_grad()
        losses()["velocity"].backward()
        optimizer.step()
    return network


@torch.no_grad()
def error_of(
    pipeline: StableDiffusionPipeline,
    controlnet: ControlNetModel | None,
    latents: torch.Tensor,
    ids: torch.Tensor,
) -> float:
    """Mean squared error of the velocity over many steps of one scene, without a prompt."""
    signal = pipeline.scheduler.alphas_cumprod
    steps = torch.arange(20, 1000, 60)
    generator = torch.Generator().manual_seed(0)
    clean = latents[:1].float().expand(len(steps), -1, -1, -1)
    noise = torch.randn(clean.shape, generator=generator)
    kept = signal[steps].view(-1, 1, 1, 1)
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * clean
    tokens = pipeline.tokenizer("", padding="max_length", return_tensors="pt").input_ids
    states = pipeline.text_encoder(tokens).last_hidden_state.expand(len(steps), -1, -1)
    residuals = {}
    if controlnet is not None:
        condition = condition_of(ids, "one-hot").expand(len(steps), -1, -1, -1)
        down, middle = controlnet(noisy, steps, states, condition, return_dict=False)
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    predicted = pipeline.unet(noisy, steps, encoder_hidden_states=states, **residuals).sample
    return float((predicted - velocity).square().mean())
