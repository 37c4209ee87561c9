"""Models that draw no pictures, and GPUs that are too small."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from datum.errors import InputError
from datum.formats.generated import read_manifest
from datum.generation.generate import generate
from datum.generation.painter import Painter
from datum.generation_settings import GenerationSettings


@pytest.mark.parametrize(
    ("part", "tensor", "value", "message"),
    [
        ("unet", "conv_in.weight", float("nan"), r"unet has values that are not finite in float32"),
        (
            "vae",
            "decoder.conv_in.weight",
            3e38,
            r"draws 'a photo of sks cars' with values that are not finite",
        ),
        ("vae", "decoder.conv_out.weight", 0.0, r"draws 'a photo of sks cars' in one color only"),
    ],
)
def test_a_model_that_draws_no_picture_is_refused(
    pipeline_folder: Path,
    settings: GenerationSettings,
    tmp_path: Path,
    part: str,
    tensor: str,
    value: float,
    message: str,
) -> None:
    broken = shutil.copytree(pipeline_folder, tmp_path / "broken")
    file = broken / part / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights[tensor].fill_(value)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=message):
        generate(model=broken, output=tmp_path / "output", settings=settings, seed=1)
    assert not (tmp_path / "output").exists()


def test_a_block_too_large_for_the_gpu_is_drawn_in_halves(
    model: Path,
    settings: GenerationSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    generate(model=model, output=tmp_path / "at once", settings=settings, seed=1)
    draw = Painter._draw

    def with_little_memory(painter: Painter, prompts: list[str], *further: Any) -> Any:
        if len(prompts) > 1:
            raise torch.OutOfMemoryError
        return draw(painter, prompts, *further)

    monkeypatch.setattr(Painter, "_draw", with_little_memory)
    generate(model=model, output=tmp_path / "output", settings=settings, seed=1)
    assert "memory does not suffice for 2 images at once; going on with 1" in capsys.readouterr().err
    for image in read_manifest(tmp_path / "output"):
        drawn = np.asarray(Image.open(tmp_path / "output" / image.file)).astype(int)
        together = np.asarray(Image.open(tmp_path / "at once" / image.file))
        # A batch of one rounds differently from a batch of two.
        assert np.abs(drawn - together).max() <= 1


def test_a_gpu_too_small_for_one_image_is_said_with_the_remedy(
    model: Path, settings: GenerationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory(*_: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Painter, "_draw", without_memory)
    with pytest.raises(
        InputError, match=r"does not suffice to draw one image; set generation\.precision=fp16"
    ):
        generate(model=model, output=tmp_path / "output", settings=settings, seed=1)
