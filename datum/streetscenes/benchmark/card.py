"""The README beside the trained weights: how they were made and what they were measured to do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datum.streetscenes.benchmark.measure import GUIDANCE_SCALE, INFERENCE_STEPS, LEAST_SHARE

TEMPLATE = """# streetscenes: the small base model of the demo

A StableDiffusionPipeline for 128x128 street scenes: its own autoencoder (8x smaller latents of 24
channels), UNet, CLIP text encoder and tokenizer, in half precision. All of it was trained on scenes that
`datum.streetscenes.drawing` drew, each in a random domain of its own (light, weather and camera, and where
the table says so what things are made of), with their captions and label maps; no photograph and no weights
of others went into it. In this order:

{trainings}

Latents mean what the autoencoder's training made of them; later trainings leave its encoder as it is. The
UNet learns with text encoder and [ControlNet](../controlnet/README.md): v-prediction, a noise schedule
without signal at its end, every second image with its label map, captions of the others left out {dropout} of
the time. `provenance.json` holds the last settings, and the SHA-256 of the model before.

Last made by `python -m datum.streetscenes.model.train --output DIR --controlnet DIR --work DIR{flags}`
on {device} in {total:.0f} minutes (finished {date}), scenes and measurements included.
`measurements.json` holds the figures below.

## Autoencoder

On {held_out} held-out scenes: PSNR {psnr:.2f} dB (mean over images; {psnr_of_mean_error:.2f} dB of the
mean error), standard deviation of chroma {chroma_ratio:.3f} of the data's, of the finest octave of gray
{fine_ratio:.3f}. See `reconstructions.jpg`.

## Prompts

`a photo of {{class}}` against `a photo of a urban scene` (generic), {images} images each, {steps} steps,
guidance {guidance:g}; measured {judged_date} on {judged_device}, and not again
after trainings of the decoder alone. *Seen*: images in which a segmentation network, trained on drawn scenes
for {minutes:g} minutes, finds at least {least:.1%} of the image as the class; *area*: mean share of the
image. *sks*: with that word, which the model was never taught, before the class. *Judge*: that network's IoU
on held-out scenes. See `drawn.jpg`.

| class | seen, generic | seen, class | seen, sks | area, generic | area, class | area, sks | judge IoU |
|---|---|---|---|---|---|---|---|
{rows}
"""


def write_readme(folder: Path, held_out: int, figures: Mapping[str, Any], *, caption_dropout: float) -> None:
    """Writes `README.md` into `folder` from the `figures` that the training command measured, those of the
    autoencoder on `held_out` scenes."""
    judged = figures["judged"]
    rows = []
    for name, row in judged["prompts"].items():
        cells = [
            f"{row[key][prompt]:.1f} %" for key in ("seen", "area") for prompt in ("generic", "plain", "sks")
        ]
        rows.append(f"| {name} | {' | '.join(cells)} | {judged['judge'][name]} |")
    text = TEMPLATE.format(
        trainings=_table(figures["trainings"]),
        held_out=held_out,
        **figures["autoencoder"],
        device=figures["device"],
        flags=figures["flags"],
        total=figures["seconds_of_last_run"] / 60,
        date=figures["date"],
        dropout=f"{caption_dropout:.0%}",
        images=judged["images_per_prompt"],
        minutes=judged["minutes"],
        judged_date=judged["date"],
        judged_device=judged["device"],
        steps=INFERENCE_STEPS,
        guidance=GUIDANCE_SCALE,
        least=LEAST_SHARE,
        rows="\n".join(rows),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


CONTROLNET_TEMPLATE = """# The ControlNet of the small base model

A diffusers ControlNetModel of {parameters:,} parameters in half precision for the UNet of
[streetscenes](../weights/README.md). Its condition has 20 channels: the 19 classes one-hot, and void.

It began as a copy of the UNet's first half, and was trained on scenes that `datum.streetscenes.drawing` drew,
each in a random domain of its own, with their label maps, of late together with the UNet; no photograph, no
weights of others, and nothing of the demo went into it. The command that makes the base model makes both.

{trainings}

Error of the velocity on {scenes} held-out scenes, with a scene's own label map, with that of
another scene, and without the ControlNet, by step of the noise schedule (empty prompt; less is better):

| step | own label map | another's | none |
|---|---|---|---|
{rows}
"""


def write_controlnet_readme(
    folder: Path, figures: Mapping[str, Any], trainings: Sequence[Mapping[str, Any]]
) -> None:
    """Writes `README.md` of a ControlNet into `folder` from its figures and the trainings that it was in."""
    rows = [
        f"| {step} | {row['own']:.3f} | {row['other']:.3f} | {row['none']:.3f} |"
        for step, row in figures["response"].items()
    ]
    text = CONTROLNET_TEMPLATE.format(**figures, trainings=_table(trainings), rows="\n".join(rows))
    (folder / "README.md").write_text(text, encoding="utf-8")


def _table(trainings: Sequence[Mapping[str, Any]]) -> str:
    """Trainings, a row each."""
    rows = [
        f"| {row['trained']} | {row['minutes']:g} | {row['scenes']:,} | {row['things']} "
        f"| {row['device']} | {row['date']} |"
        for row in trainings
    ]
    heading = "| trained | minutes | scenes | what things are made of | on | finished |"
    return "\n".join((heading, "|---|---|---|---|---|---|", *rows))
