"""The training of DreamBooth: steps, checkpoints, and the state from which a run goes on."""

import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import DDPMScheduler, StableDiffusionPipeline

from datum.config import PersonalizationSettings
from datum.diffusion.checkpoint import (
    checkpoint_folder,
    download_checkpoint,
    remove_unfinished,
    upload_checkpoint,
    weight_digests,
    write_checkpoint,
)
from datum.diffusion.load import not_finite
from datum.errors import InputError
from datum.formats.training_log import TrainingLog
from datum.instruments import IMAGES, ITERATIONS, NOT_FINITE, StepClock, add
from datum.personalization.crops import random_crops
from datum.personalization.loss import denoising_losses, step_generator
from datum.stopping import Stopped, deferred, stop_asked
from datum.store import Store, open_store
from datum.telemetry import Progress, log
from datum.training_state import TrainingState

STATE = "state"
"""Folder of the resumable training state, in the unfinished output, where no other place is named."""

LEAST_SCALE = 1.0
"""Factor of the loss in fp16 below which training has diverged: it is halved where gradients overflow."""


def checkpoint_steps(settings: PersonalizationSettings) -> list[int]:
    """Steps after which a checkpoint is written: every `checkpoint_every`, and the last."""
    every, last = settings.checkpoint_every, settings.steps
    return sorted({*range(every, last + 1, every), last})


class DreamBooth:
    """One training run: models and optimizer on the device, checkpoints and state on disk or in a store.

    A state holds the optimizer and the digests of the checkpoints up to its step, the last of which has its
    weights. One that is saved between two checkpoints, because the process is to stop, has the weights
    itself.
    """

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        settings: PersonalizationSettings,
        folder: Path,
        store: Store | None,
    ) -> None:
        self._pipeline, self._settings, self._folder, self._store = pipeline, settings, folder, store
        self._states = TrainingState(store or open_store(folder / STATE), scratch=folder / STATE)
        self._log = TrainingLog(folder)
        # accelerate keeps the precision for the whole process, in which another run may have had its own.
        AcceleratorState._reset_state()
        self._accelerator = Accelerator(mixed_precision=settings.mixed_precision)
        self._device = self._accelerator.device
        self._at_once = settings.batch_size
        self._digests: dict[str, dict[str, str]] = {}
        self._uploader = ThreadPoolExecutor(max_workers=1)
        self._upload: Future[None] | None = None
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
        for model in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
            model.to(self._device)
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            eps=settings.epsilon,
        )
        # fp16 alone scales the loss; what is not enabled changes nothing.
        self._scaler = self._accelerator.scaler or torch.amp.GradScaler(self._device.type, enabled=False)
        for model in self._trained.values():
            model.train()

    def train(self, image: torch.Tensor, ids: torch.Tensor, seed: int) -> None:
        """Trains from the newest state to the last step; `image` as `resize_short_side` returns it.

        Raises `InputError` where a loss, a gradient or a weight is not finite, and where the GPU's memory
        does not suffice for a single crop; `Stopped`, with the state saved, where the process is to stop.
        """
        settings = self._settings
        scheduler = DDPMScheduler.from_config(self._pipeline.scheduler.config)
        ids = ids.expand(settings.batch_size, -1).to(self._device)
        remove_unfinished(self._folder)
        with deferred(), self._states, self._uploader:
            first = self._resume()
            progress = Progress("personalize", settings.steps, unit="steps", done=first)
            clock = StepClock()
            for step in range(first + 1, settings.steps + 1):
                self._states.check()
                started = time.monotonic()
                loss = self._step(scheduler, image, ids, seed, step)
                record = {"step": step, "loss": loss, "seconds": round(time.monotonic() - started, 4)}
                self._log.append(record)
                add(ITERATIONS)
                add(IMAGES, settings.batch_size)
                clock.part("computing")
                progress.advance(note=f"loss {loss:.3f}")
                if step in checkpoint_steps(settings):
                    self._save_checkpoint(step)
                if stop_asked() and step < settings.steps:
                    self._stop(step)
                clock.part("saving")

    def remove_local_state(self) -> None:
        """Deletes the state in the unfinished output, which the finished one does not need."""
        shutil.rmtree(self._folder / STATE, ignore_errors=True)

    def _step(
        self, scheduler: DDPMScheduler, image: torch.Tensor, ids: torch.Tensor, seed: int, step: int
    ) -> float:
        """One optimizer step; returns the loss."""
        loss = None
        while loss is None:
            loss = self._loss_with_gradients(scheduler, image, ids, step_generator(seed, step))
            if loss is None:
                self._halve()
        self._scaler.unscale_(self._optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.max_gradient_norm)
        # In fp16 gradients may overflow now and then: the scaler passes over such a step.
        overflows = self._scaler.is_enabled() and self._scaler.get_scale() >= LEAST_SCALE
        for name, value in (("loss", loss), ("norm of the gradients", norm.item())):
            if not (_is_finite(value) or (overflows and name != "loss")):
                raise self._diverged(step, f"the {name} is {value}")
        try:
            self._scaler.step(self._optimizer)
        except torch.OutOfMemoryError:
            raise self._out_of_memory("AdamW's step") from None
        self._scaler.update()
        self._optimizer.zero_grad()
        return loss

    def _loss_with_gradients(
        self, scheduler: DDPMScheduler, image: torch.Tensor, ids: torch.Tensor, generator: torch.Generator
    ) -> float | None:
        """The loss of the batch, with its gradients in place; None where the GPU's memory does not
        suffice."""
        settings = self._settings
        # Dropout, where a base model has any, draws from the global generators.
        torch.manual_seed(generator.initial_seed())
        pixels = random_crops(image, settings.crop, settings.batch_size, generator).to(self._device)
        losses = denoising_losses(self._pipeline, scheduler, pixels, ids, generator, self._at_once)
        total = 0.0
        try:
            while True:
                with self._accelerator.autocast():
                    loss = next(losses, None)
                if loss is None:
                    return total
                self._accelerator.backward(loss)
                total += loss.item()
        except torch.OutOfMemoryError:
            return None

    def _halve(self) -> None:
        """Goes on with half as many crops at once: their gradients add up to the same, but for rounding."""
        self._optimizer.zero_grad()
        torch.cuda.empty_cache()
        if self._at_once == 1:
            raise self._out_of_memory(f"one crop of {self._settings.crop} pixels")
        tried, self._at_once = self._at_once, self._at_once // 2
        log(
            f"personalize: the GPU's memory does not suffice for {tried} crops at once; going on with "
            f"{self._at_once} at once, {self._settings.batch_size} a step as before"
        )

    def _out_of_memory(self, what: str) -> InputError:
        return InputError(
            f"personalization: the GPU's memory does not suffice for {what}; set "
            "personalization.gradient_checkpointing=true or personalization.mixed_precision=bf16, or use a "
            "GPU with more memory"
        )

    def _diverged(self, step: int, found: str) -> InputError:
        add(NOT_FINITE)
        return InputError(
            f"personalization.learning_rate={self._settings.learning_rate}: in step {step} {found}, expected "
            "a finite number; lower it, or set personalization.mixed_precision=no"
        )

    def _save_checkpoint(self, step: int) -> None:
        """Writes the checkpoint of `step` and, but for the last step, saves the state."""
        self._require_finite(step)
        folder = checkpoint_folder(self._folder, step)
        write_checkpoint(folder, self._pipeline, self._trained, self._earlier(step))
        if step == self._settings.steps:
            return
        self._digests[str(step)] = weight_digests(folder, self._trained)
        self._await_upload()
        if self._store is not None:
            self._upload = self._uploader.submit(upload_checkpoint, folder, [*self._trained], self._store)
        self._save_state(step, {})

    def _save_state(self, step: int, models: dict[str, Any]) -> None:
        state = {
            "models": models,
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "history": self._log.records,
            "checkpoints": self._digests,
        }
        self._states.save(step, state)

    def _stop(self, step: int) -> None:
        """Saves what a run started again goes on from, and ends this one."""
        if str(step) not in self._digests:
            self._require_finite(step)
            self._save_state(step, {name: model.state_dict() for name, model in self._trained.items()})
        self._await_upload()
        self._states.wait()
        raise Stopped(f"stopped after step {step}")

    def _require_finite(self, step: int) -> None:
        for name, model in self._trained.items():
            if weight := not_finite(model):
                raise self._diverged(step, f"{name} has weights that are not finite ({weight})")

    def _await_upload(self) -> None:
        if self._upload is not None:
            self._upload.result()

    def _resume(self) -> int:
        """Restores the newest state whose checkpoints are there too; returns its step, else 0."""
        step, state = self._states.load_latest(self._has_checkpoints) or (0, {})
        if step:
            self._load_weights(step, state["models"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._scaler.load_state_dict(state["scaler"])
            self._digests = state["checkpoints"]
            log(f"resuming after step {step}")
        self._log.restore(state["history"] if step else [])
        return step

    def _load_weights(self, step: int, models: dict[str, Any]) -> None:
        for name, model in self._trained.items():
            if name not in models:
                kept = checkpoint_folder(self._folder, step) / name
                kind: Any = type(model)
                loaded = kind.from_pretrained(kept, dtype=torch.float32, local_files_only=True)
                models[name] = loaded.state_dict()
            model.load_state_dict(models[name])

    def _has_checkpoints(self, state: dict[str, Any]) -> bool:
        """Whether the checkpoints up to the state's step are what it says; brings them here from the
        store."""
        for step, digests in state["checkpoints"].items():
            folder = checkpoint_folder(self._folder, int(step))
            if weight_digests(folder, self._trained) == digests:
                continue
            earlier = self._earlier(int(step))
            if self._store is None or not download_checkpoint(
                folder, self._pipeline, [*self._trained], earlier, self._store
            ):
                return False
            if weight_digests(folder, self._trained) != digests:
                return False
        return True

    def _earlier(self, step: int) -> Path | None:
        """The checkpoint before that of `step`, if there is one."""
        steps = [other for other in checkpoint_steps(self._settings) if other < step]
        return checkpoint_folder(self._folder, steps[-1]) if steps else None


def _is_finite(value: float) -> bool:
    return bool(torch.isfinite(torch.tensor(value)))
