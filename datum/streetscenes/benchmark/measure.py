"""What the base model promises, measured: color and sharpness, and that prompts decide what is drawn."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import Tensor, nn

from datum.labels import CLASSES
from datum.streetscenes.benchmark.judge import intersection_over_union, segment
from datum.streetscenes.drawing.captions import NAMED
from datum.streetscenes.octaves import finest_octave
from datum.streetscenes.optimization import Runtime

GENERIC_PROMPT = "a photo of a urban scene"
"""The prompt without a class that every class prompt is compared with."""
RARE_WORD = "sks"
LEAST_SHARE = 0.005
"""Share of the image that a class has to cover to count as seen: 82 pixels of 128x128."""
INFERENCE_STEPS, GUIDANCE_SCALE = 15, 3.0
"""A small model needs few steps, and little guidance to show a class."""


@torch.no_grad()
def reconstruct(autoencoder: AutoencoderKL, images: Tensor, batch: int = 16) -> Tensor:
    """`images`, uint8[scenes, 3, height, width], encoded and decoded again."""
    restored = []
    for part in images.split(batch):
        latents = autoencoder.encode(part.to(autoencoder.dtype) / 127.5 - 1).latent_dist.mean
        decoded = autoencoder.decode(latents).sample.float().clamp(-1, 1)
        restored.append(((decoded + 1) * 127.5).round().byte())
    return torch.cat(restored)


def reconstruction_quality(originals: Tensor, reconstructions: Tensor) -> dict[str, float]:
    """Of uint8[images, 3, height, width]: PSNR in decibels, and the ratios of two deviations.

    `psnr` is the mean over images, `psnr_of_mean_error` that of the mean squared error over all images.
    Chroma is a pixel's color less its gray, and what is fine its gray less that of its surroundings; the
    ratios are those of their standard deviations over all pixels.
    """
    errors = (originals.double() - reconstructions.double()).square().mean((1, 2, 3)) / 255**2
    return {
        "psnr": (-10 * errors.clamp(min=1e-10).log10()).mean().item(),
        "psnr_of_mean_error": -10 * errors.mean().log10().item(),
        "chroma_ratio": (_chroma(reconstructions) / _chroma(originals)).item(),
        "fine_ratio": (_fine(reconstructions) / _fine(originals)).item(),
    }


def draw(
    pipeline: StableDiffusionPipeline, prompt: str, seeds: range, batch: int = 64, side: int = 128
) -> Tensor:
    """uint8[seeds, 3, side, side]: an image of `prompt` for each seed."""
    drawn = []
    for first in range(0, len(seeds), batch):
        # Noise comes from the processor's generator, so a seed means the same image on every device.
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[first : first + batch]]
        images = pipeline(
            prompt,
            num_images_per_prompt=len(generators),
            generator=generators,
            num_inference_steps=INFERENCE_STEPS,
            guidance_scale=GUIDANCE_SCALE,
            height=side,
            width=side,
            output_type="pt",
        ).images
        drawn.append((images * 255).round().byte().cpu())
    return torch.cat(drawn)


def draw_prompts(pipeline: StableDiffusionPipeline, images: int) -> dict[str, Tensor]:
    """`images` images of the generic prompt, and of each class with and without DATUM's rare word, all from
    the same seeds, by prompt; see `draw`."""
    prompts = [_class_prompt(name, rare=rare) for name in NAMED for rare in (False, True)]
    return {prompt: draw(pipeline, prompt, range(images)) for prompt in (GENERIC_PROMPT, *prompts)}


def _class_prompt(name: str, *, rare: bool) -> str:
    return f"a photo of {RARE_WORD} {NAMED[name]}" if rare else f"a photo of {NAMED[name]}"


def class_response(drawn: Mapping[str, Tensor], network: nn.Module, runtime: Runtime) -> dict[str, Any]:
    """How often each class is seen with its prompt, with DATUM's rare word, and without.

    Of images by prompt, see `draw_prompts`, `seen` is the percentage in which the segmentation network finds
    at least `LEAST_SHARE` of the class, `area` the mean percentage of the image that it covers.
    """

    def shares(prompt: str) -> Tensor:
        found = segment(network, drawn[prompt], runtime)
        return torch.stack([(found == entry.train_id).float().mean((1, 2)) for entry in CLASSES], dim=1).cpu()

    generic = shares(GENERIC_PROMPT)
    result = {}
    for name in NAMED:
        plain, rare = (shares(_class_prompt(name, rare=rare)) for rare in (False, True))
        train_id = next(entry.train_id for entry in CLASSES if entry.name == name)
        by_prompt = {"generic": generic, "plain": plain, "sks": rare}
        result[name] = {
            measure: {key: round(100 * of(share[:, train_id]), 2) for key, share in by_prompt.items()}
            for measure, of in (("seen", _seen), ("area", _mean))
        }
    return result


def segmentation_quality(
    network: nn.Module, images: Tensor, labels: Tensor, runtime: Runtime
) -> dict[str, float | None]:
    """IoU of each class in percent on held-out scenes: how far the judge can be trusted."""
    scores = intersection_over_union(segment(network, images, runtime).cpu(), labels)
    return {entry.name: None if score is None else round(score, 1) for entry, score in zip(CLASSES, scores)}


def _seen(share: Tensor) -> float:
    return (share >= LEAST_SHARE).double().mean().item()


def _mean(share: Tensor) -> float:
    return share.double().mean().item()


def _chroma(images: Tensor) -> Tensor:
    colors = images.double()
    return (colors - colors.mean(1, keepdim=True)).std()


def _fine(images: Tensor) -> Tensor:
    return finest_octave(images.float().mean(1, keepdim=True)).std()
