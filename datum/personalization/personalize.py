"""DreamBooth on one image: the UNet and the text encoder learn it under a rare token.

Ruiz et al., DreamBooth (CVPR 2023), without prior preservation, as DATUM uses it (Benigmim et al., 2023,
section 3.2; `dreambooth/train_dreambooth.py`).
"""

import hashlib
import shutil
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch.nn import functional

from datum.config import PersonalizationSettings, require_counts
from datum.device import choose_device
from datum.diffusion.checkpoint import (
    checkpoint_folder,
    download_checkpoint,
    upload_checkpoint,
    write_checkpoint,
)
from datum.diffusion.load import load_base_model, prompt_length
from datum.errors import InputError
from datum.formats.training_log import TrainingLog
from datum.outputs import building, is_complete, sha256
from datum.personalization.crops import random_crops, resize_short_side
from datum.photographs import open_one_shot_image
from datum.provenance import Provenance
from datum.store import Store, open_store
from datum.telemetry import Progress, log
from datum.training_state import TrainingState, state_place

STATE = "state"
"""Folder of the resumable training state, in the unfinished output, where no other place is named."""


def personalize(
    *, image: Path, output: Path, settings: PersonalizationSettings, seed: int, state_uri: str | None = None
) -> None:
    """Trains on `image` and writes `output/checkpoint-<step>/` every `checkpoint_every` steps and at the end.

    Beside them: `training.jsonl` (step, loss, seconds of that step) and `provenance.json`. Random numbers are
    a function of seed and step alone, and the state is saved with every checkpoint: a run that was killed and
    started again ends with the same weights, bit for bit on a CPU.

    `state_uri` names a store for the state and the finished checkpoints, so that a run can go on on another
    machine; without it they live in the unfinished output and the state is deleted at the end.

    Raises `InputError` for an unusable image, base model, prompt or setting, before anything is written, and
    `TemporaryFaultError` where the hub or the store is out of reach.
    """
    photograph = open_one_shot_image(image)
    provenance = Provenance(
        stage="personalize",
        settings=settings,
        inputs={"image": image.name, "image_sha256": sha256(image)},
        seed=seed,
    )
    if is_complete(output, provenance):
        return
    _check(settings)
    pipeline = load_base_model(settings.base_model)
    _check_crop(settings.crop, pipeline.vae_scale_factor)
    ids = prompt_ids(pipeline, settings.instance_prompt)
    store = open_store(state_place(state_uri, provenance)) if state_uri else None
    with building(output, provenance) as partial:
        run = _Run(pipeline, settings, partial, store)
        run.train(resize_short_side(photograph, settings.short_side), ids, seed)
        run.remove_local_state()


def denoising_loss(
    pipeline: StableDiffusionPipeline,
    scheduler: DDPMScheduler,
    pixels: torch.Tensor,
    ids: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Mean squared error of the UNet's prediction for one batch, a scalar.

    `pixels` float32[batch, 3, height, width] reach from -1 to 1, `ids` are int64[batch, tokens]; both on the
    models' device.
    Random numbers come from the CPU `generator` in this order: latent sample, noise, timesteps. The scheduler
    says whether the UNet predicts the noise or the velocity.
    """
    posterior = pipeline.vae.encode(pixels).latent_dist
    latents = posterior.sample(generator).float() * pipeline.vae.config.scaling_factor
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    last = scheduler.config.num_train_timesteps
    timesteps = torch.randint(0, last, (len(latents),), generator=generator).to(latents.device)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    prediction = pipeline.unet(noisy, timesteps, pipeline.text_encoder(ids)[0]).sample
    if scheduler.config.prediction_type == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)
    else:
        target = noise
    return functional.mse_loss(prediction.float(), target.float())


def step_generator(seed: int, step: int) -> torch.Generator:
    """The CPU generator of one training step: seeded by the first 4 bytes of the SHA-256 of
    "<seed> <step>" (PyTorch's Mersenne twister takes no more)."""
    digest = hashlib.sha256(f"{seed} {step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))


class _Run:
    """One training run: models and optimizer on the device, checkpoints and state on disk or in a store."""

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        settings: PersonalizationSettings,
        folder: Path,
        store: Store | None,
    ) -> None:
        self._pipeline, self._settings, self._folder, self._store = pipeline, settings, folder, store
        self._state = TrainingState(store or open_store(folder / STATE), scratch=folder / STATE)
        self._log = TrainingLog(folder)
        self._accelerator = Accelerator(mixed_precision=settings.mixed_precision)
        self._prepare()

    def _prepare(self) -> None:
        pipeline, settings = self._pipeline, self._settings
        pipeline.vae.requires_grad_(False)
        pipeline.text_encoder.requires_grad_(settings.train_text_encoder)
        self._trained: dict[str, torch.nn.Module] = {"unet": pipeline.unet}
        if settings.train_text_encoder:
            self._trained["text_encoder"] = pipeline.text_encoder
        if settings.gradient_checkpointing:
            pipeline.unet.enable_gradient_checkpointing()
            if settings.train_text_encoder:
                pipeline.text_encoder.activation_checkpointing_enable()
        self._parameters = [parameter for model in self._trained.values() for parameter in model.parameters()]
        optimizer = torch.optim.AdamW(
            self._parameters,
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            eps=settings.epsilon,
        )
        for model in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
            model.to(self._accelerator.device)
        self._optimizer = self._accelerator.prepare(optimizer)
        for model in self._trained.values():
            model.train()

    def train(self, image: torch.Tensor, ids: torch.Tensor, seed: int) -> None:
        """Trains from the newest state to the last step; `image` as `resize_short_side` returns it."""
        settings, accelerator = self._settings, self._accelerator
        scheduler = DDPMScheduler.from_config(self._pipeline.scheduler.config)
        ids = ids.expand(settings.batch_size, -1).to(accelerator.device)
        first = self._resume()
        progress = Progress("personalize", settings.steps, unit="steps", done=first)
        for step in range(first + 1, settings.steps + 1):
            started = time.monotonic()
            generator = step_generator(seed, step)
            # Dropout, where a base model has any, draws from the global generators.
            torch.manual_seed(generator.initial_seed())
            pixels = random_crops(image, settings.crop, settings.batch_size, generator)
            with accelerator.autocast():
                loss = denoising_loss(
                    self._pipeline, scheduler, pixels.to(accelerator.device), ids, generator
                )
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(self._parameters, settings.max_gradient_norm)
            self._optimizer.step()
            self._optimizer.zero_grad()
            record = {"step": step, "loss": loss.item(), "seconds": round(time.monotonic() - started, 4)}
            self._log.append(record)
            progress.advance(note=f"loss {record['loss']:.3f}")
            if step in self._checkpoint_steps():
                self._save(step)

    def remove_local_state(self) -> None:
        """Deletes the state in the unfinished output, which the finished one does not need."""
        shutil.rmtree(self._folder / STATE, ignore_errors=True)

    def _checkpoint_steps(self) -> list[int]:
        every, last = self._settings.checkpoint_every, self._settings.steps
        return sorted({*range(every, last + 1, every), last})

    def _save(self, step: int) -> None:
        folder = checkpoint_folder(self._folder, step)
        earlier = [
            checkpoint_folder(self._folder, other) for other in self._checkpoint_steps() if other < step
        ]
        write_checkpoint(folder, self._pipeline, self._trained, earlier[-1] if earlier else None)
        if self._store is not None:
            upload_checkpoint(folder, self._store)
        scaler = self._accelerator.scaler
        state = {
            "models": {name: model.state_dict() for name, model in self._trained.items()},
            "optimizer": self._optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else {},
            "history": self._log.records,
        }
        self._state.save(step, state)

    def _resume(self) -> int:
        """Restores the newest state, if its checkpoints are there too; returns its step, else 0."""
        step, state = self._state.load_latest() or (0, {})
        if not all(self._has_checkpoint(due) for due in self._checkpoint_steps() if due <= step):
            log(f"the state of step {step} lacks its checkpoints; starting from step 0")
            step = 0
        if step:
            for name, model in self._trained.items():
                model.load_state_dict(state["models"][name])
            self._optimizer.load_state_dict(state["optimizer"])
            if self._accelerator.scaler:
                self._accelerator.scaler.load_state_dict(state["scaler"])
            log(f"resuming after step {step}")
        self._log.restore(state["history"] if step else [])
        return step

    def _has_checkpoint(self, step: int) -> bool:
        folder = checkpoint_folder(self._folder, step)
        return folder.is_dir() or (self._store is not None and download_checkpoint(folder, self._store))


def prompt_ids(pipeline: StableDiffusionPipeline, prompt: str) -> torch.Tensor:
    """Token ids of the prompt, padded to the text encoder's length: int64[1, tokens].

    Raises `InputError` for an empty prompt and for one that the text encoder would cut short.
    """
    setting = "personalization.instance_prompt"
    if not prompt.strip():
        raise InputError(f"{setting}: is empty, expected a prompt such as 'a photo of sks'")
    length = prompt_length(pipeline, prompt, setting)
    return pipeline.tokenizer(prompt, padding="max_length", max_length=length, return_tensors="pt").input_ids


def _check(settings: PersonalizationSettings) -> None:
    if settings.mixed_precision == "fp16" and choose_device().type != "cuda":
        raise InputError("personalization.mixed_precision=fp16: needs a GPU; on a CPU use no or bf16")
    require_counts("personalization", settings)
    if settings.crop > settings.short_side:
        raise InputError(
            f"personalization.crop={settings.crop}: the image is resized to a short side of only "
            f"{settings.short_side} pixels; raise personalization.short_side or lower the crop"
        )


def _check_crop(crop: int, multiple: int) -> None:
    if crop % multiple:
        raise InputError(
            f"personalization.crop={crop}: expected a multiple of {multiple}, the base model's latent cell"
        )
