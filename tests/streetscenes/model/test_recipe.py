"""The recipe at toy size: what it makes, and that it goes on where it was stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from datum.diffusion.base_model import PACKAGED_FOLDER, find_base_model
from datum.diffusion.controlnet import PACKAGED_CONTROLNET, find_controlnet
from datum.diffusion.load import load_base_model, load_controlnet
from datum.streetscenes.benchmark.measure import reconstruct
from datum.streetscenes.model.architecture import LATENT_CHANNELS, new_autoencoder, new_scheduler
from datum.streetscenes.model.autoencoder import (
    OPPONENT,
    encode_images,
    reconstruction_losses,
    standardize,
    texture_loss,
)
from datum.streetscenes.model.denoiser import velocity_weights
from datum.streetscenes.model.training_scenes import draw_scenes, load_scenes
from datum.streetscenes.optimization import Runtime

CPU = Runtime(device=torch.device("cpu"))


def test_one_command_makes_a_pipeline_with_its_controlnet_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    output, controlnet, work = tmp_path / "model", tmp_path / "controlnet", tmp_path / "work"
    size = ("--scenes", "12", "--held-out", "2", "--held-out-controlnet", "2", "--images-per-prompt", "1")
    batches = (
        "--batch-autoencoder",
        "2",
        "--batch-decoder",
        "2",
        "--batch-denoiser",
        "4",
        "--batch-judge",
        "2",
    )
    parts = ("autoencoder", "decoder", "denoiser", "judge")
    minutes = [word for part in parts for word in (f"--minutes-{part}", "0.01")]
    command = [sys.executable, "-m", "datum.streetscenes.model.train", "--device", "cpu"]
    command += ["--output", str(output), "--controlnet", str(controlnet), "--work", str(work)]
    command += [*size, *batches, *minutes]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert first.stderr is not None
    for line in first.stderr:
        if line.startswith("denoiser:"):
            first.send_signal(signal.SIGKILL)
            break
    first.wait()
    first.stderr.close()
    assert not output.exists() and not controlnet.exists()
    drawn_at = next((work / "scenes").iterdir()).stat().st_mtime_ns
    latents_at = (work / "latents.pt").stat().st_mtime_ns

    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert next((work / "scenes").iterdir()).stat().st_mtime_ns == drawn_at
    assert (work / "latents.pt").stat().st_mtime_ns == latents_at
    pipeline = StableDiffusionPipeline.from_pretrained(output)
    drawn = pipeline("a photo of cars", num_inference_steps=1, height=128, width=128, output_type="np").images
    assert drawn.shape == (1, 128, 128, 3)
    figures = json.loads((output / "measurements.json").read_text())
    assert set(figures["judged"]["prompts"]["car"]["seen"]) == {"generic", "plain", "sks"}
    assert {"README.md", "drawn.jpg", "reconstructions.jpg"} <= {file.name for file in output.iterdir()}
    found = find_controlnet(str(controlnet), output)
    assert found.kind == "one-hot"
    assert load_controlnet(found, torch.float32).config.conditioning_channels == 20
    trained = [training["trained"] for training in figures["trainings"]]
    assert trained == ["autoencoder", "its decoder", "UNet, text encoder and ControlNet"]
    card = (output / "README.md").read_text()
    assert all(f"| {part} | 0.01 | 12 | " in card for part in trained)
    assert f"| {trained[-1]} | 0.01 | 12 | " in (controlnet / "README.md").read_text()

    shutil.rmtree(controlnet)
    model_at = (output / "README.md").stat().st_mtime_ns
    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert (controlnet / "README.md").exists()
    assert (output / "README.md").stat().st_mtime_ns == model_at


def test_an_earlier_model_is_trained_further_and_keeps_its_encoder(tmp_path: Path) -> None:
    output, controlnet, work = tmp_path / "model", tmp_path / "controlnet", tmp_path / "work"
    command = [sys.executable, "-m", "datum.streetscenes.model.train", "--device", "cpu"]
    command += ["--from", str(PACKAGED_FOLDER), str(PACKAGED_CONTROLNET)]
    command += ["--output", str(output), "--controlnet", str(controlnet), "--work", str(work)]
    command += ["--scenes", "12", "--held-out", "2", "--held-out-controlnet", "2", "--images-per-prompt", "1"]
    command += ["--batch-decoder", "2", "--batch-denoiser", "4", "--batch-judge", "2"]
    command += ["--minutes-decoder", "0.02", "--minutes-denoiser", "0.02", "--minutes-judge", "0.01"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert not list(work.rglob("autoencoder.pt"))
    before, after = load_base_model(str(PACKAGED_FOLDER)), load_base_model(str(output))
    for kept in ("encoder", "quant_conv"):
        pairs = _weights(getattr(before.vae, kept), getattr(after.vae, kept))
        assert all(torch.equal(*pair) for pair in pairs)
    trained = {part: (getattr(before, part), getattr(after, part)) for part in ("unet", "text_encoder")}
    trained["decoder"] = (before.vae.decoder, after.vae.decoder)
    trained["controlnet"] = (
        load_controlnet(find_controlnet("streetscenes", PACKAGED_FOLDER), torch.float32),
        load_controlnet(find_controlnet(str(controlnet), output), torch.float32),
    )
    for networks in trained.values():
        pairs = _weights(*networks)
        change = sum((a - b).square().sum() for a, b in pairs) / sum(a.square().sum() for a, _ in pairs)
        assert 0 < change < 0.1  # further from those weights, not from random ones
    record = json.loads((output / "provenance.json").read_text())
    assert record["inputs"]["base_model_sha256"] == find_base_model(str(PACKAGED_FOLDER)).digest()
    assert record["settings"]["minutes_autoencoder"] == 0
    trainings = [json.loads((part / "measurements.json").read_text()) for part in (PACKAGED_FOLDER, output)]
    earlier, all_of_them = (figures["trainings"] for figures in trainings)
    assert all_of_them[:-2] == earlier
    assert [training["minutes"] for training in all_of_them[-2:]] == [0.02, 0.02]
    again = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert again.stderr.count("already complete") == 2


def _weights(one: torch.nn.Module, two: torch.nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    other = two.state_dict()
    return [(value, other[name]) for name, value in one.state_dict().items() if value.is_floating_point()]


def test_scenes_are_drawn_once_and_the_same_each_time(tmp_path: Path) -> None:
    files = draw_scenes(tmp_path / "one", count=6, workers=2)
    again = draw_scenes(tmp_path / "two", count=6, workers=1)
    one, two = load_scenes(files), load_scenes(again)
    assert one.images.shape == (6, 128, 128, 3)
    assert (one.images == two.images).all()
    assert (one.labels == two.labels).all()
    assert one.captions == two.captions
    written = files[0].stat().st_mtime_ns
    assert draw_scenes(tmp_path / "one", count=6, workers=1) == files
    assert files[0].stat().st_mtime_ns == written


def test_standardized_latents_are_centered_and_reconstructions_stay() -> None:
    torch.manual_seed(0)
    autoencoder = new_autoencoder().requires_grad_(False).eval()
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    before = reconstruct(autoencoder, images)
    changed = standardize(autoencoder, encode_images(autoencoder, images, CPU))
    assert torch.allclose(changed.float().mean((0, 2, 3)), torch.zeros(LATENT_CHANNELS), atol=2e-3)
    assert torch.allclose(
        changed.float().transpose(0, 1).flatten(1).std(1), torch.ones(LATENT_CHANNELS), atol=2e-3
    )
    assert torch.allclose(encode_images(autoencoder, images, CPU).float(), changed.float(), atol=5e-3)
    assert (reconstruct(autoencoder, images).int() - before.int()).abs().max() <= 1


def test_gray_reconstructions_cost_more_than_noisy_ones_of_the_same_error() -> None:
    torch.manual_seed(0)
    matrix = torch.tensor([[1.0], [1.5], [1.5]]) * torch.tensor(OPPONENT)
    luminance = torch.randn(1, 1, 32, 32).expand(1, 3, 32, 32) / 3**0.5
    red_to_blue = torch.randn(1, 1, 32, 32) * torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1) / 2**0.5
    gray = sum(reconstruction_losses(red_to_blue, matrix).values())
    noisy = sum(reconstruction_losses(luminance, matrix).values())
    assert gray > 1.3 * noisy


def test_a_flat_picture_lacks_texture_that_the_same_texture_elsewhere_does_not() -> None:
    torch.manual_seed(0)
    textured = 0.2 * torch.randn(1, 3, 32, 32)
    flat, moved = torch.zeros_like(textured), textured.roll(1, dims=3)
    assert texture_loss(textured, textured) == 0
    assert texture_loss(moved, textured) < 0.3 * texture_loss(flat, textured)


def test_the_last_noise_step_is_learned_and_clean_steps_weigh_less() -> None:
    signal = new_scheduler().alphas_cumprod
    weights = velocity_weights(signal)
    assert signal[-1] == 0
    assert weights[-1] == 1
    assert weights[0] < 0.05
    assert (weights.diff() >= 0).all()
