"""Prompts and names of the images against those of DATUM's own `dreambooth/generate_dreambooth.py`.

The values below were recorded from that script (DATUM aa36486), run with --num-images 23, its other defaults
and a pipeline that notes how it is called instead of drawing.
"""

import dataclasses
from pathlib import Path

from datum.formats.generated import read_manifest
from datum.generation.generate import generate
from datum.generation_settings import GenerationSettings

PROMPTS = [
    "a photo of sks traffic lights",
    "a photo of sks traffic signs",
    "a photo of sks persons",
    "a photo of sks riders",
    "a photo of sks cars",
    "a photo of sks trucks",
    "a photo of sks trains",
    "a photo of sks buses",
    "a photo of sks motorcycles",
    "a photo of sks bicycles",
]
FIRST_AND_LAST = {
    0: ("im_0_p0.png", "a photo of sks traffic lights"),
    9: ("im_9_p9.png", "a photo of sks bicycles"),
    10: ("im_10_p0.png", "a photo of sks traffic lights"),
    19: ("im_19_p9.png", "a photo of sks bicycles"),
    22: ("im_22_p2.png", "a photo of sks persons"),
}


def test_images_have_the_prompts_and_the_names_of_datums(model: Path, tmp_path: Path) -> None:
    settings = GenerationSettings(
        checkpoint_step=100, count=23, inference_steps=1, size=16, batch_size=8, precision="fp32"
    )
    generate(model=model, output=tmp_path / "output", settings=settings, seed=1)
    images = read_manifest(tmp_path / "output")
    assert [image.prompt for image in images] == (PROMPTS * 3)[:23]
    for index, (name, prompt) in FIRST_AND_LAST.items():
        assert (images[index].file, images[index].prompt) == (f"images/{name}", prompt)
    assert len(list((tmp_path / "output/images").glob("im_*_p*.png"))) == 23


def test_the_defaults_are_what_datums_script_calls_the_pipeline_with() -> None:
    settings = dataclasses.asdict(GenerationSettings())
    recorded = {"checkpoint_step": 200, "inference_steps": 50, "guidance_scale": 7.5, "precision": "fp16"}
    assert {name: settings[name] for name in recorded} == recorded
    # The default of its --num-images.
    assert settings["count"] == 2975
