import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor

from datum.generation_settings import GenerationSettings
from tests.base_models import untrained_pipeline


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
