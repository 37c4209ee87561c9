import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor

from datum.datasets.convert import convert
from datum.generation_settings import GenerationSettings
from datum.labels import LABEL_ID
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor, save_segmentor
from tests.base_models import untrained_controlnet, untrained_pipeline


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion pipeline of the demo's size with random weights."""
    folder = tmp_path_factory.mktemp("pipeline")
    untrained_pipeline(seed=0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(pipeline_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A personalization output with checkpoints of the steps 20 and 100."""
    folder = tmp_path_factory.mktemp("personalized")
    for step in (20, 100):
        shutil.copytree(pipeline_folder, folder / f"checkpoint-{step}")
    return folder


@pytest.fixture(scope="session")
def settings() -> GenerationSettings:
    """Seven images of 32 x 32 pixels in blocks of two, of two classes."""
    return GenerationSettings(
        checkpoint_step=100,
        count=7,
        prompt_classes=("cars", "vegetation"),
        inference_steps=2,
        guidance_scale=3.0,
        size=32,
        batch_size=2,
        precision="fp32",
    )


@pytest.fixture(scope="session")
def checked_model(pipeline_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline with a real safety checker of random weights that rejects about half of its images."""
    return _with_safety_checker(pipeline_folder, tmp_path_factory.mktemp("checked"), rejected_share=0.5)


@pytest.fixture(scope="session")
def rejecting_model(pipeline_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline with a safety checker that rejects every image."""
    return _with_safety_checker(pipeline_folder, tmp_path_factory.mktemp("rejecting"), rejected_share=1.0)


def _with_safety_checker(pipeline_folder: Path, output: Path, rejected_share: float) -> Path:
    torch.manual_seed(0)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**text, "image_size": 32, "patch_size": 8, "projection_dim": 16}
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    )
    torch.nn.init.normal_(checker.visual_projection.weight)
    torch.nn.init.normal_(checker.concept_embeds)
    torch.nn.init.constant_(checker.special_care_embeds_weights, 2.0)
    # An image is rejected whose cosine with a concept is above that concept's weight: never above 2.
    torch.nn.init.constant_(checker.concept_embeds_weights, 2.0)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pipeline = StableDiffusionPipeline.from_pretrained(pipeline_folder)
    pipeline.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        images = pipeline(["a photo of sks cars"] * 16, height=32, width=32, num_inference_steps=2).images
        pixels = processor(images, return_tensors="pt").pixel_values
        embeddings = checker.visual_projection(checker.vision_model(pixels)[1])
        cosines = torch.cosine_similarity(embeddings, checker.concept_embeds[:1])
    threshold = -2.0 if rejected_share == 1.0 else float(cosines.quantile(1 - rejected_share))
    checker.concept_embeds_weights[0] = threshold
    pipeline.register_modules(safety_checker=checker, feature_extractor=processor)
    pipeline.register_to_config(requires_safety_checker=True)
    pipeline.save_pretrained(output)
    return output


def labeled_source(root: Path, count: int = 4, size: tuple[int, int] = (56, 40)) -> Path:
    """A converted data set in GTA's layout: roads with a car or a person in another place of each image, and
    void at the bottom; `size` is (width, height)."""
    width, height = size
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        ids = np.full((height, width), LABEL_ID["road"], dtype=np.uint8)
        ids[: height // 3] = LABEL_ID["sky"]
        ids[-height // 8 :] = 0
        left = int(rng.integers(width - 8))
        name = "person" if index == 0 else "car"
        ids[height // 2 : height // 2 + 8, left : left + 8] = LABEL_ID[name]
        Image.fromarray(ids).save(root / f"labels/{index:05d}.png")
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"images/{index:05d}.png")
    convert("gta", root, workers=1)
    return root


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labeled_source(tmp_path_factory.mktemp("source") / "gta")


@pytest.fixture(scope="session")
def controlnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet of one-hot classes for the pipeline, with random weights."""
    folder = tmp_path_factory.mktemp("controlnet") / "one-hot"
    untrained_controlnet(20).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def colored_controlnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for Cityscapes' palette."""
    folder = tmp_path_factory.mktemp("controlnet") / "colored"
    untrained_controlnet(3).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmentation network with random weights."""
    file = tmp_path_factory.mktemp("judge") / "last.safetensors"
    torch.manual_seed(0)
    save_segmentor(file, build_segmentor(SegmentorConfig(encoder="resnet-18-half", head_channels=8)), {})
    return file


@pytest.fixture(scope="session")
def labeled_settings(settings: GenerationSettings, controlnet: Path, judge: Path) -> GenerationSettings:
    """Beside three unlabeled images, seven labeled ones, of which the judge drops about a third."""
    return dataclasses.replace(
        settings,
        count=3,
        labels="source",
        controlnet=str(controlnet),
        judge=str(judge),
        labeled_count=7,
        labeled_steps=2,
        labeled_conditioning_scale=1.5,
        labeled_temperature=1.0,
        labeled_dropped=0.34,
    )
