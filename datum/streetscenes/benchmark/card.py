"""The README beside the trained weights: how they were made and what they were measured to do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datum.streetscenes.benchmark.measure import GUIDANCE_SCALE, INFERENCE_STEPS, LEAST_SHARE

TEMPLATE = """# streetscenes: the small base model of the demo

A StableDiffusionPipeline for 128x128 street scenes: its own autoencoder (8x smaller latents of 24
channels), UNet, CLIP text encoder and tokenizer, in half precision. {origin}

Made by `python -m datum.streetscenes.model.train --output DIR --controlnet DIR --work DIR{flags}`
on {device} in {total:.0f} minutes (finished {date}), scenes and measurements
included: {minutes} for the UNet, the text encoder and
[the ControlNet](../controlnet/README.md) together (v-prediction, a noise schedule without signal at its end,
every second image with its label map, captions of the others left out
{dropout} of the time), {minutes_judge:g} for the segmentation network that judges it. `measurements.json`
holds the figures below, `provenance.json` the settings.

## Autoencoder

On {held_out} held-out scenes: PSNR {psnr:.2f} dB (mean over images; {psnr_of_mean_error:.2f} dB of the
mean error), standard deviation of chroma {chroma_ratio:.3f} of the data's. See `reconstructions.jpg`.

## Prompts

`a photo of {{class}}` against `a photo of a urban scene` (generic), {images} images each, {steps} steps,
guidance {guidance:g}. *Seen*: images in which a segmentation network trained on drawn scenes finds at least
{least:.1%} of the image as the class; *area*: mean share of the image. *sks*: with that word, which the model
was never taught, before the class. *Judge*: that network's IoU on held-out scenes. See `drawn.jpg`.

| class | seen, generic | seen, class | seen, sks | area, generic | area, class | area, sks | judge IoU |
|---|---|---|---|---|---|---|---|
{rows}
"""

FROM_SCRATCH = """It was trained from scratch on
{scenes:,} scenes that `datum.streetscenes.drawing` drew, each in a random domain of its own, with their
captions. No photograph and no weights of another model went into it."""

FROM_EARLIER = """Its
autoencoder is that of an earlier model (trained for {earlier[minutes]:g} minutes on {earlier[scenes]:,} drawn
scenes, on {earlier[device]}); UNet and text encoder were trained further from that model's, on
{scenes:,} scenes that `datum.streetscenes.drawing` drew, each in a random domain of its own, with their
captions. `provenance.json` names the earlier model by its SHA-256."""


def write_readme(
    folder: Path, *, plan: Mapping[str, Any], figures: Mapping[str, Any], caption_dropout: float
) -> None:
    """Writes `README.md` into `folder` from the `figures` that the training command's `measure` returned."""
    rows = []
    for name, row in figures["prompts"].items():
        cells = [
            f"{row[key][prompt]:.1f} %" for key in ("seen", "area") for prompt in ("generic", "plain", "sks")
        ]
        rows.append(f"| {name} | {' | '.join(cells)} | {figures['judge'][name]} |")
    earlier = figures.get("autoencoder_training")
    minutes = f"{plan['minutes_denoiser']:g}" + " minutes" * bool(earlier)
    if not earlier:
        minutes = f"{plan['minutes_autoencoder']:g} minutes for the autoencoder, {minutes}"
    text = TEMPLATE.format(
        **plan,
        origin=(FROM_EARLIER if earlier else FROM_SCRATCH).format(scenes=plan["scenes"], earlier=earlier),
        minutes=minutes,
        **figures["autoencoder"],
        device=figures["device"],
        flags=figures["flags"],
        total=figures["seconds_of_last_run"] / 60,
        date=figures["date"],
        dropout=f"{caption_dropout:.0%}",
        images=plan["images_per_prompt"],
        steps=INFERENCE_STEPS,
        guidance=GUIDANCE_SCALE,
        least=LEAST_SHARE,
        rows="\n".join(rows),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


CONTROLNET_TEMPLATE = """# The ControlNet of the small base model

A diffusers ControlNetModel of {parameters:,} parameters in half precision for the UNet of
[streetscenes](../weights/README.md). Its condition has 20 channels: the 19 classes one-hot, and void.

It began as {beginning} and was trained together with UNet and text encoder, on {scenes:,} scenes
that `datum.streetscenes.drawing` drew, each in a random domain of its own, with their label maps; no
photograph, no weights of others, and nothing of the demo went into it.

Made by the command that made the base model, on {device} ({date}): {minutes_denoiser:g} minutes of
training, in which the machine took {steps:,} steps of {batch_denoiser} scenes, every second of which had its
label map.

Error of the velocity on {held_out_controlnet} held-out scenes, with a scene's own label map, with that of
another scene, and without the ControlNet, by step of the noise schedule (empty prompt; less is better):

| step | own label map | another's | none |
|---|---|---|---|
{rows}
"""


def write_controlnet_readme(folder: Path, **facts: Any) -> None:
    """Writes `README.md` of a ControlNet into `folder` from what its training and `condition_response`
    gave."""
    rows = [
        f"| {step} | {row['own']:.3f} | {row['other']:.3f} | {row['none']:.3f} |"
        for step, row in facts.pop("response").items()
    ]
    beginning = "that of an earlier model" if facts["further"] else "a copy of the UNet's first half"
    text = CONTROLNET_TEMPLATE.format(**facts, beginning=beginning, rows="\n".join(rows))
    (folder / "README.md").write_text(text)
