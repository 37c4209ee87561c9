"""Makes the small base model and its ControlNet.

    python -m datum.streetscenes.model.train --output DIR --controlnet DIR --work DIR

Draws the scenes, trains the autoencoder, its decoder once more, the UNet with the text encoder and a
ControlNet, and a judge, writes the pipeline and the ControlNet in half precision, measures both and draws
sheets. It takes what the machine has: on a GPU with 16 cores a quarter of an hour, on two cores four and a
half hours. `--from PIPELINE CONTROLNET` goes on from folders that this command made: what a latent means
stays as it is, the rest is trained further, but for what is given no minutes: with `--minutes-denoiser 0` the
decoder alone, and what a judge saw before is not measured again.
Everything resumable lies in `--work`: stopped at any moment and started again, the command goes on where it
was.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionPipeline
from torch import Tensor

from datum.device import choose_device
from datum.diffusion.base_model import BaseModel, find_base_model
from datum.diffusion.controlnet import CONFIGURATION, ControlNet, find_controlnet
from datum.diffusion.fitness import MODEL_INDEX
from datum.diffusion.load import load_base_model, load_controlnet
from datum.outputs import building, is_complete, replacing, write_json
from datum.processors import processors
from datum.provenance import NAMED, Provenance
from datum.streetscenes.benchmark.card import write_controlnet_readme, write_readme
from datum.streetscenes.benchmark.judge import train_segmentation
from datum.streetscenes.benchmark.measure import (
    RARE_WORD,
    class_response,
    draw_prompts,
    reconstruct,
    reconstruction_quality,
    segmentation_quality,
)
from datum.streetscenes.benchmark.sheet import save_sheet
from datum.streetscenes.model.architecture import assemble, new_autoencoder
from datum.streetscenes.model.autoencoder import (
    encode_images,
    standardize,
    train_autoencoder,
    train_decoder,
)
from datum.streetscenes.model.denoiser import CAPTION_DROPOUT, train_denoiser
from datum.streetscenes.model.export import export
from datum.streetscenes.model.label_response import condition_response
from datum.streetscenes.model.tokenizer import write_tokenizer
from datum.streetscenes.model.training_scenes import draw_scenes, held_out_set, load_tensors
from datum.streetscenes.optimization import Runtime, TimedTraining, figures_device
from datum.telemetry import log

Drawn = dict[str, Tensor]
"""Images by prompt, uint8[images, 3, height, width]."""

MEASUREMENTS = "measurements.json"
CONTROLNET = "ControlNet"
AUTOENCODER, DECODER, DENOISER = "autoencoder", "its decoder", f"UNet, text encoder and {CONTROLNET}"
"""What is trained, as cards name it."""
THINGS = "random"
"""What things are made of in its scenes, as cards say it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of everything; times in minutes of training."""

    scenes: int
    minutes_autoencoder: float
    minutes_decoder: float
    minutes_denoiser: float
    minutes_judge: float
    batch_autoencoder: int
    batch_decoder: int
    batch_denoiser: int
    batch_judge: int
    held_out: int = 256
    """Scenes that the autoencoder and the judge are measured on."""
    held_out_controlnet: int = 64
    """Scenes that the ControlNet is measured on."""
    images_per_prompt: int = 64
    """Images drawn of each prompt to measure what prompts change."""

    def training(self, name: str, work: Path, runtime: Runtime) -> TimedTraining:
        """What this plan gives one network: `autoencoder`, `decoder`, `denoiser` or `judge`."""
        return TimedTraining(
            name=name,
            seconds=60 * getattr(self, f"minutes_{name}"),
            batch=getattr(self, f"batch_{name}"),
            runtime=runtime,
            state_file=work / f"{name}.pt",
        )


GPU_PLAN = Plan(
    scenes=72_000,
    minutes_autoencoder=3.1,
    minutes_decoder=0.5,
    minutes_denoiser=8.0,
    minutes_judge=0.5,
    batch_autoencoder=24,
    batch_decoder=24,
    batch_denoiser=128,
    batch_judge=64,
)
"""With the drawing of scenes and the measurements, a quarter of an hour."""
CPU_PLAN = Plan(
    scenes=24_000,
    minutes_autoencoder=40.0,
    minutes_decoder=10.0,
    minutes_denoiser=180.0,
    minutes_judge=10.0,
    batch_autoencoder=8,
    batch_decoder=8,
    batch_denoiser=32,
    batch_judge=8,
    images_per_prompt=24,
)
"""With the drawing of scenes and the measurements, four and a half hours on two cores."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Earlier:
    """A pipeline and its ControlNet that this command made before."""

    pipeline: BaseModel
    controlnet: ControlNet
    figures: Mapping[str, Any]
    """What was measured of it, and the trainings that it came from."""

    @classmethod
    def find(cls, pipeline: Path, controlnet: Path) -> "Earlier":
        """In their folders."""
        found = find_base_model(str(pipeline))
        figures = _figures_of(found.folder)
        return cls(pipeline=found, controlnet=find_controlnet(str(controlnet), found.folder), figures=figures)

    def inputs(self) -> dict[str, Any]:
        """What a provenance says of them."""
        digests = {
            "base_model_sha256": self.pipeline.digest(),
            "controlnet_sha256": self.controlnet.digest(),
        }
        return digests | {NAMED: {"base_model": self.pipeline.name, "controlnet": self.controlnet.name}}

    def load(self) -> tuple[StableDiffusionPipeline, ControlNetModel]:
        """Both, on the processor."""
        return load_base_model(self.pipeline), load_controlnet(self.controlnet, torch.float32)


def make_models(
    output: Path, controlnet: Path, work: Path, plan: Plan, runtime: Runtime, earlier: Earlier | None = None
) -> None:
    """Writes the trained pipeline, its measurements and its sheets to `output`, its ControlNet to
    `controlnet`.

    With `earlier`, its encoder is kept and the rest is trained further; state of that training in `work`
    goes before its weights.
    """
    place, inputs = work, {}
    if earlier is not None:
        inputs = earlier.inputs()
        # Latents and state belong to the models that they were made with, and no time goes to an autoencoder.
        place = work / f"from-{inputs['base_model_sha256'][:16]}-{inputs['controlnet_sha256'][:16]}"
        plan = dataclasses.replace(plan, minutes_autoencoder=0.0)
    provenance = Provenance(stage="base-model", settings=plan, inputs=inputs)
    if is_complete(output, provenance) and is_complete(controlnet, _of_controlnet(output, plan, inputs)):
        return
    torch.manual_seed(time.time_ns() % 2**31)
    torch.set_float32_matmul_precision("high")
    started = time.monotonic()
    place.mkdir(parents=True, exist_ok=True)
    start, start_controlnet = earlier.load() if earlier else (None, None)
    tokenizer = start.tokenizer if start else write_tokenizer(work / "tokenizer")
    files = draw_scenes(work / "scenes", count=plan.scenes, workers=processors())
    images, labels, captions = load_tensors(files, tokenizer, runtime.device)
    log(f"scenes: {len(images)} on {runtime.device} after {time.monotonic() - started:.0f} s")

    autoencoder, latents = _autoencoder_and_latents(images, plan, runtime, place, start)
    autoencoder = train_decoder(autoencoder, images, plan.training("decoder", place, runtime))
    _log_quality(autoencoder, plan, runtime)
    training = plan.training("denoiser", place, runtime)
    networks = train_denoiser(latents, labels, captions, tokenizer, training, start, start_controlnet)
    if not is_complete(output, provenance):
        pipeline = assemble(autoencoder, networks["unet"], networks["text_encoder"], tokenizer)
        with building(output, provenance) as folder:
            log(f"export: {export(pipeline, folder):,} bytes")
            figures, drawn = measure_model(folder, place, plan, runtime)
            if earlier and not plan.minutes_denoiser:
                judged = earlier.figures["judged"]
            else:
                training = plan.training("judge", place, runtime)
                judge = train_segmentation(images, labels, autoencoder, training)
                judged = _judged(drawn, judge, plan, runtime)
            figures |= _circumstances(started, plan, runtime, earlier) | {"judged": judged}
            write_json(folder / MEASUREMENTS, figures)
            write_readme(folder, plan.held_out, figures, caption_dropout=CAPTION_DROPOUT)
    with building(controlnet, _of_controlnet(output, plan, inputs)) as folder:
        _write_controlnet(folder, networks["controlnet"], output, plan.held_out_controlnet, runtime)
    log(f"done: {output} and {controlnet} after {time.monotonic() - started:.0f} s")


def _circumstances(started: float, plan: Plan, runtime: Runtime, earlier: Earlier | None) -> dict[str, Any]:
    """How the model came about, for its card; its trainings are those of the earlier model and this one's."""
    flags = " --from PIPELINE CONTROLNET" * bool(earlier)
    flags += " --capture" * runtime.capture + " --compile" * runtime.compile
    date, seconds = time.strftime("%Y-%m-%d"), round(time.monotonic() - started)
    trainings = list(earlier.figures["trainings"]) if earlier else []
    scenes = {"scenes": plan.scenes, "things": THINGS}
    place = {"device": figures_device(runtime), "date": date}
    for what, minutes in (
        (AUTOENCODER, plan.minutes_autoencoder),
        (DECODER, plan.minutes_decoder),
        (DENOISER, plan.minutes_denoiser),
    ):
        if minutes:
            trainings.append({"trained": what, "minutes": minutes, **scenes, **place})
    return {"flags": flags, "date": date, "seconds_of_last_run": seconds, "trainings": trainings}


def _figures_of(folder: Path) -> dict[str, Any]:
    """What was measured of the model in `folder`."""
    figures: dict[str, Any] = json.loads((folder / MEASUREMENTS).read_text(encoding="utf-8"))
    return figures


def _of_controlnet(base: Path, plan: Plan, inputs: dict[str, Any]) -> Provenance:
    """Provenance of the ControlNet that was trained with the pipeline in the folder `base`."""
    digest = find_base_model(str(base)).digest()
    return Provenance(stage="controlnet", settings=plan, inputs=inputs | {"made_with_sha256": digest})


def _write_controlnet(
    folder: Path, controlnet: ControlNetModel, base: Path, scenes: int, runtime: Runtime
) -> None:
    """Writes the ControlNet in half precision, and what a label map changes in what the pipeline in the
    folder `base` draws, on `scenes` held-out scenes."""
    pipeline = load_base_model(find_base_model(str(base))).to(runtime.device)
    controlnet.half().save_pretrained(folder, safe_serialization=True)
    # Measured as it will be loaded, in half precision.
    response = condition_response(pipeline, controlnet.float(), runtime, scenes=scenes)
    for step, errors in response.items():
        log(f"controlnet: step {step}, errors {errors}")
    figures = {
        "parameters": sum(weight.numel() for weight in controlnet.parameters()),
        "device": figures_device(runtime),
        "scenes": scenes,
        "response": response,
    }
    write_json(folder / MEASUREMENTS, figures)
    trainings = [training for training in _figures_of(base)["trainings"] if CONTROLNET in training["trained"]]
    write_controlnet_readme(folder, figures, trainings)


def measure_model(folder: Path, work: Path, plan: Plan, runtime: Runtime) -> tuple[dict[str, Any], Drawn]:
    """What the autoencoder of the model in `folder` promises, measured as it will be loaded, and images by
    prompt; writes sheets of both beside it."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder).to(runtime.device)
    pipeline.set_progress_bar_config(disable=True)
    originals = torch.from_numpy(held_out_set(plan.held_out).pixels())
    restored = reconstruct(pipeline.vae, originals.to(runtime.device)).cpu()
    save_sheet({"scene": originals, "reconstruction": restored}, folder / "reconstructions.jpg")
    drawn = draw_prompts(pipeline, plan.images_per_prompt)
    save_sheet(drawn, work / "drawn.png")
    taught = {prompt: images for prompt, images in drawn.items() if f" {RARE_WORD} " not in prompt}
    save_sheet(taught, folder / "drawn.jpg")
    quality = reconstruction_quality(originals, restored)
    log(f"autoencoder: {quality}")
    return {"device": figures_device(runtime), "autoencoder": quality}, drawn


def _judged(drawn: Drawn, judge: torch.nn.Module, plan: Plan, runtime: Runtime) -> dict[str, Any]:
    """What the judge sees in images by prompt, how far it is to be trusted, and how it came about."""
    scenes = held_out_set(plan.held_out)
    originals, labels = torch.from_numpy(scenes.pixels()), torch.from_numpy(scenes.labels)
    response = class_response(drawn, judge, runtime)
    quality = segmentation_quality(judge, originals, labels, runtime)
    for name, row in response.items():
        log(f"prompts: {name}: seen {row['seen']}, area {row['area']}")
    log(f"judge: {quality}")
    return {
        "minutes": plan.minutes_judge,
        "images_per_prompt": plan.images_per_prompt,
        "device": figures_device(runtime),
        "date": time.strftime("%Y-%m-%d"),
        "prompts": response,
        "judge": quality,
    }


def _autoencoder_and_latents(
    images: Tensor, plan: Plan, runtime: Runtime, work: Path, start: StableDiffusionPipeline | None
) -> tuple[AutoencoderKL, Tensor]:
    """The autoencoder with standardized latents, that of `start` if there is one, and the latents of all
    images."""
    file = work / "latents.pt"
    if file.exists():
        state = torch.load(file, map_location=runtime.device, weights_only=True)
        autoencoder = new_autoencoder().to(runtime.device).requires_grad_(False).eval()
        autoencoder.load_state_dict(state["autoencoder"])
        return autoencoder, state["latents"]
    if start is not None:
        autoencoder = start.vae.to(runtime.device).requires_grad_(False).eval()
        # Its latents are standardized already, over the scenes that it was trained on.
        latents = encode_images(autoencoder, images, runtime)
    else:
        autoencoder = train_autoencoder(images, plan.training("autoencoder", work, runtime))
        latents = standardize(autoencoder, encode_images(autoencoder, images, runtime))
    with replacing(file) as temporary:
        torch.save({"autoencoder": autoencoder.state_dict(), "latents": latents}, temporary)
    return autoencoder, latents


def _log_quality(autoencoder: AutoencoderKL, plan: Plan, runtime: Runtime) -> None:
    """The colors are looked at before anything is trained on the latents."""
    originals = torch.from_numpy(held_out_set(plan.held_out).pixels()).to(runtime.device)
    log(f"autoencoder: {reconstruction_quality(originals, reconstruct(autoencoder, originals))}")


def main() -> None:
    """Reads the command line and makes the model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder that becomes the pipeline")
    parser.add_argument("--controlnet", type=Path, required=True, help="folder that becomes its ControlNet")
    parser.add_argument("--work", type=Path, required=True, help="folder of scenes and resumable state")
    parser.add_argument(
        "--from",
        type=Path,
        nargs=2,
        metavar=("PIPELINE", "CONTROLNET"),
        help="folders of an earlier model that is trained further",
    )
    parser.add_argument(
        "--device", default="auto", help="cuda, cpu, or auto: a GPU where there is one (default)"
    )
    parser.add_argument("--capture", action="store_true", help="capture training steps as CUDA graphs")
    parser.add_argument("--compile", action="store_true", help="compile the networks with torch.compile")
    for name, value in vars(GPU_PLAN).items():
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=type(value),
            help=f"default {value} on a GPU, else {getattr(CPU_PLAN, name)}",
        )
    options = vars(parser.parse_args())
    folders = options["from"]
    for folder, files in zip(folders or (), ((MODEL_INDEX, MEASUREMENTS), (CONFIGURATION,))):
        for file in files:
            if not (folder / file).is_file():
                parser.error(f"--from {folder}: found no {file} in it, expected a model of this command")
    device = choose_device(options["device"])
    plan = GPU_PLAN if device.type == "cuda" else CPU_PLAN
    given = {name: options[name] for name in vars(plan) if options[name] is not None}
    runtime = Runtime(device=device, capture=options["capture"], compile=options["compile"])
    make_models(
        options["output"],
        options["controlnet"],
        options["work"],
        dataclasses.replace(plan, **given),
        runtime,
        Earlier.find(*folders) if folders else None,
    )


if __name__ == "__main__":
    main()
