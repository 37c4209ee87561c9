"""The promises of the model that is shipped with the package."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from datum.diffusion.base_model import base_model_path
from datum.diffusion.controlnet import find_controlnet
from datum.diffusion.load import load_controlnet
from datum.streetscenes.benchmark.measure import draw, reconstruct, reconstruction_quality
from datum.streetscenes.model.export import LARGEST_BYTES
from datum.streetscenes.model.label_response import condition_response
from datum.streetscenes.model.training_scenes import held_out_set
from datum.streetscenes.optimization import Runtime

FOLDER = Path(base_model_path("streetscenes"))


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    loaded = StableDiffusionPipeline.from_pretrained(FOLDER)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_the_model_takes_at_most_twelve_megabytes() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= LARGEST_BYTES


def test_the_controlnet_draws_what_the_label_map_says(pipeline: StableDiffusionPipeline) -> None:
    found = find_controlnet("streetscenes", FOLDER)
    files = [file for file in (*FOLDER.rglob("*"), *found.folder.rglob("*")) if file.is_file()]
    assert found.kind == "one-hot"
    # Sheets of pictures are for people to look at.
    assert sum(file.stat().st_size for file in files if file.suffix != ".jpg") <= 16_000_000
    controlnet = load_controlnet(found, torch.float32)
    errors = condition_response(pipeline, controlnet, Runtime(device=torch.device("cpu")), scenes=16)
    # Where noise prevails the layout is undecided, and the label map decides it.
    for step in ("999", "900", "700", "500"):
        assert errors[step]["own"] < 0.9 * errors[step]["none"] < errors[step]["other"]


def test_the_autoencoder_keeps_color_and_detail_of_held_out_scenes(
    pipeline: StableDiffusionPipeline,
) -> None:
    originals = torch.from_numpy(held_out_set(16).pixels())
    quality = reconstruction_quality(originals, reconstruct(pipeline.vae, originals))
    # Texture that is as strong as the scene's but not at its place costs a decibel.
    assert quality["psnr"] >= 27
    assert quality["chroma_ratio"] >= 0.8
    assert quality["fine_ratio"] >= 0.7


def test_an_image_follows_its_seed_and_its_prompt(pipeline: StableDiffusionPipeline) -> None:
    cars, again = (draw(pipeline, "a photo of cars", range(1)) for _ in range(2))
    assert torch.equal(cars, again)
    assert cars.shape == (1, 3, 128, 128)
    assert not torch.equal(draw(pipeline, "a photo of cars", range(1, 2)), cars)
    assert not torch.equal(draw(pipeline, "a photo of traffic signs", range(1)), cars)
    # A street is neither one color nor noise: neighbors resemble each other, distant places do not.
    image = cars[0].float()
    assert image.std() > 15
    assert (image[:, :, 1:] - image[:, :, :-1]).abs().mean() < 0.5 * image.std()
