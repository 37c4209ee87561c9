"""Training the base model's own ControlNet: it learns to draw what a label map says, the model stays as it
is."""

import dataclasses
import time
from pathlib import Path

import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from torch import Tensor

from datum.diffusion.base_model import find_base_model
from datum.diffusion.condition import condition_of
from datum.diffusion.load import load_base_model
from datum.outputs import building, is_complete, replacing, write_json
from datum.processors import processors
from datum.provenance import NAMED, Provenance
from datum.streetscenes.benchmark.card import write_controlnet_readme
from datum.streetscenes.model.architecture import new_controlnet
from datum.streetscenes.model.autoencoder import encode_images
from datum.streetscenes.model.denoiser import noised, velocity_loss, velocity_weights
from datum.streetscenes.model.label_response import condition_response
from datum.streetscenes.model.training_scenes import draw_scenes, load_tensors
from datum.streetscenes.optimization import Runtime, TimedTraining, figures_device, optimize, steps_of
from datum.telemetry import log

CAPTION_DROPOUT = 0.5
"""Share of captions replaced with the empty one, so that the label map has to say what is drawn (Zhang et al.
2023, "Adding conditional control to text-to-image diffusion models")."""
LEARNING_RATE = 1e-3
"""That of the UNet itself: the time is short."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlNetPlan:
    """How much of everything; times in minutes of training."""

    scenes: int
    minutes_controlnet: float
    batch_controlnet: int
    held_out_controlnet: int = 64
    """Scenes that it is measured on."""


def make_controlnet(output: Path, base: Path, work: Path, plan: ControlNetPlan, runtime: Runtime) -> None:
    """Writes a ControlNet in half precision for the pipeline in the folder `base`, of 20 condition channels,
    to `output`."""
    model = find_base_model(str(base))
    digest = model.digest()
    provenance = Provenance(
        stage="controlnet",
        settings=plan,
        inputs={"base_model_sha256": digest, NAMED: {"base_model": str(base)}},
    )
    if is_complete(output, provenance):
        return
    # Latents and state belong to the model that they were made with.
    place = work / f"controlnet-{digest[:16]}-{plan.scenes}"
    place.mkdir(parents=True, exist_ok=True)
    pipeline = load_base_model(model).to(runtime.device)
    files = draw_scenes(work / "scenes", count=plan.scenes, workers=processors())
    images, labels, captions = load_tensors(files, pipeline.tokenizer, runtime.device)
    latents = _latents(pipeline, images, runtime, place / "latents.pt")
    training = TimedTraining(
        name="controlnet",
        seconds=60 * plan.minutes_controlnet,
        batch=plan.batch_controlnet,
        runtime=runtime,
        state_file=place / "state.pt",
    )
    controlnet = train_controlnet(pipeline, latents, labels, captions, training)
    with building(output, provenance) as folder:
        controlnet.half().save_pretrained(folder, safe_serialization=True)
        # Measured as it will be loaded, in half precision.
        response = condition_response(pipeline, controlnet.float(), runtime, scenes=plan.held_out_controlnet)
        for step, errors in response.items():
            log(f"controlnet: step {step}, errors {errors}")
        facts = {
            "parameters": sum(weight.numel() for weight in controlnet.parameters()),
            "steps": steps_of(training.state_file),
            "device": figures_device(runtime),
            "date": time.strftime("%Y-%m-%d"),
        }
        write_json(folder / "measurements.json", {**facts, "response": response})
        write_controlnet_readme(folder, **dataclasses.asdict(plan), **facts, response=response)
    log(f"done: {output}")


def train_controlnet(
    pipeline: StableDiffusionPipeline,
    latents: Tensor,
    labels: Tensor,
    captions: Tensor,
    training: TimedTraining,
) -> ControlNetModel:
    """A ControlNet for the UNet of `pipeline`, trained on the device of `latents`.

    `latents` are float16[scenes, 24, height/8, width/8], `labels` train ids, uint8[scenes, height, width],
    and `captions` token ids, int64[scenes, captions, context].
    """
    device, batch = latents.device, training.batch
    unet = pipeline.unet.requires_grad_(False).eval()
    text_encoder = pipeline.text_encoder.requires_grad_(False).eval()
    controlnet = new_controlnet(unet).to(device, memory_format=torch.channels_last)
    for network in (unet, controlnet):
        training.runtime.compiled(network)
    signal = pipeline.scheduler.alphas_cumprod.to(device)
    weights = velocity_weights(signal)
    empty = torch.tensor(pipeline.tokenizer("", padding="max_length").input_ids, device=device)

    def losses() -> dict[str, Tensor]:
        scene = torch.randint(len(latents), (batch,), device=device)
        tokens = captions[scene, torch.randint(captions.shape[1], (batch,), device=device)]
        dropped = torch.rand(batch, 1, device=device) < CAPTION_DROPOUT
        states = text_encoder(input_ids=torch.where(dropped, empty, tokens)).last_hidden_state
        noisy, velocity, step = noised(latents[scene].float(), signal)
        condition = condition_of(labels[scene], "one-hot")
        down, middle = controlnet(noisy, step, states, condition, return_dict=False)
        predicted = unet(
            noisy,
            step,
            encoder_hidden_states=states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        return {"velocity": velocity_loss(predicted, velocity, weights[step])}

    return optimize(controlnet, losses, training, learning_rate=LEARNING_RATE)


def _latents(pipeline: StableDiffusionPipeline, images: Tensor, runtime: Runtime, file: Path) -> Tensor:
    """Latents of the scenes, on the device, kept in `file`."""
    if file.exists():
        kept: Tensor = torch.load(file, map_location=runtime.device, weights_only=True)
        return kept
    latents = encode_images(pipeline.vae, images, runtime)
    with replacing(file) as temporary:
        torch.save(latents, temporary)
    return latents
