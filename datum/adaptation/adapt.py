"""`datum adapt`: trains the segmentation network for the new place.

The loop is DAFormer's: the source loss, the feature distance to the ImageNet encoder, and the loss on
images mixed from source and target, whose target half is labelled by a mean teacher.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from datum import __version__
from datum.adaptation.feature_distance import FeatureDistance
from datum.adaptation.inputs import (
    BENCHMARKS,
    STATISTICS,
    check_labels,
    find_source,
    find_target,
)
from datum.adaptation.optimizer import build_optimizer, learning_rate_factor, set_learning_rate
from datum.adaptation.sampling import Batch, CropRules, TrainingSamples, batches
from datum.adaptation.self_training import REFERENCE_CROP, Teacher, augment, mix, pixel_loss
from datum.config import AdaptationSettings, EvaluationSettings, require_counts, to_dict
from datum.outputs import building, is_complete, replacing, sha256
from datum.segmentation.segmentor import Segmentor, SegmentorConfig, build_segmentor, save_segmentor
from datum.segmentation.validation import validate
from datum.segmentation.validation_set import ValidationImage, find_validation_images
from datum.store import open_store
from datum.telemetry import Progress, log
from datum.training_state import TrainingState, own_place

Losses = dict[str, torch.Tensor]


def adapt(
    *,
    benchmark: str,
    method: str,
    encoder: str,
    source: Path,
    target: Path | None,
    output: Path,
    settings: AdaptationSettings,
    evaluation: EvaluationSettings,
    seed: int,
    validation: Path | None = None,
    state_uri: str | None = None,
    device: str = "auto",
) -> None:
    """Trains the network and writes `last.safetensors`, `best.safetensors` (the best mIoU on the `val`
    split of `validation`; without one a copy of the last), `config.yaml`, `training.jsonl` and
    `provenance.json` to `output`.

    `method` is `daformer` (self-training on `target`, generated images), `one-image` (the same on the
    one-shot image alone) or `source-only`. Killed and started again with the same arguments, it resumes
    from its last saved state and ends with the same weights, on a CPU to the last bit. The state lives
    in the unfinished output, or in a folder of this training's own under `state_uri`.

    Raises `InputError` before anything is written; see `datum.adaptation.inputs` for what is checked.
    """
    require_counts("adaptation", settings)
    source_images = find_source(benchmark, source)
    target_images, street_scale = find_target(method, target)
    validation_images = find_validation_images(validation, "--validation") if validation else []
    rules = CropRules(
        size=settings.crop,
        class_max_ratio=settings.cat_max_ratio,
        rare_min_pixels=_in_crop(settings.rare_class_min_pixels, settings.crop),
        rare_min_crop_pixels=_in_crop(
            settings.rare_class_min_pixels * settings.rare_class_min_crop_ratio, settings.crop
        ),
        source_scale=settings.source_scale or BENCHMARKS[benchmark].scale,
        target_scale=settings.target_scale or street_scale,
    )
    samples = TrainingSamples(
        source=source_images,
        target=target_images,
        rules=rules,
        temperature=settings.rare_class_temperature,
        seed=seed,
    )
    torch.manual_seed(seed)
    student = build_segmentor(
        SegmentorConfig(
            encoder=encoder,
            head_channels=settings.head_channels,
            drop_path_rate=settings.drop_path_rate,
            dropout=settings.dropout,
        ),
        Path(settings.pretrained_encoder) if settings.pretrained_encoder else None,
    )
    provenance = _provenance(
        arguments={"benchmark": benchmark, "method": method, "encoder": encoder},
        inputs=_inputs(source, target, target_images, validation, settings),
        settings={"adaptation": to_dict(settings), "evaluation": to_dict(evaluation)},
        seed=seed,
        best="highest mIoU on the validation set" if validation_images else "copy of last: no validation set",
    )
    if is_complete(output, provenance):
        log(f"{output}: already complete")
        return
    check_labels(source_images, validation_images)
    with building(output, provenance) as folder:
        (folder / "config.yaml").write_text(yaml.safe_dump(provenance, sort_keys=False), encoding="utf-8")
        training = Training(
            student=student.to(_device(device)),
            settings=settings,
            evaluation=evaluation,
            validation=validation_images,
            seed=seed,
            state=TrainingState(
                open_store(own_place(state_uri, provenance) if state_uri else folder / "state"),
                scratch=folder / "state",
            ),
            log_file=folder / "training.jsonl",
        )
        training.run(samples)
        training.write(folder)
        shutil.rmtree(folder / "state", ignore_errors=True)


class Training:
    """One training: the student, its teacher, and everything that a resumed one needs."""

    def __init__(
        self,
        *,
        student: Segmentor,
        settings: AdaptationSettings,
        evaluation: EvaluationSettings,
        validation: Sequence[ValidationImage],
        seed: int,
        state: TrainingState,
        log_file: Path,
    ) -> None:
        self._student, self._settings, self._evaluation = student.train(), settings, evaluation
        self._validation, self._seed, self._state, self._log_file = validation, seed, state, log_file
        self._device = next(student.parameters()).device
        self._optimizer = build_optimizer(student, settings)
        self._teacher = Teacher(student)
        imagenet = settings.pretrained_encoder and settings.feature_distance_weight > 0
        self._distance = FeatureDistance(student, settings.feature_distance_min_ratio) if imagenet else None
        self._iteration = 0
        self._best: dict[str, Any] = {}
        self._records: list[dict[str, Any]] = []
        self._started = time.monotonic()

    def run(self, samples: TrainingSamples) -> None:
        """Trains from the last saved state, or from the start, to the last iteration."""
        self._resume()
        settings = self._settings
        progress = Progress("adapt", settings.iterations, unit="iterations", done=self._iteration)
        for batch in batches(
            samples,
            first=self._iteration,
            last=settings.iterations,
            batch_size=settings.batch_size,
            workers=settings.workers,
            device=self._device,
        ):
            losses = self._step(batch)
            self._iteration += 1
            note = self._log(losses)
            if self._due(settings.validate_every) and self._validation:
                self._validate()
            if self._due(settings.save_every):
                self._save()
            progress.advance(note=note)

    def write(self, folder: Path) -> None:
        """Writes the last and the best network to `folder`."""
        last = {"iteration": self._iteration}
        if self._validation:
            last["miou"] = self._records[-1]["miou"]
        save_segmentor(folder / "last.safetensors", self._student, last)
        if not self._validation:
            shutil.copyfile(folder / "last.safetensors", folder / "best.safetensors")
            return
        self._student.load_state_dict(self._best["weights"])
        best = {"iteration": self._best["iteration"], "miou": self._best["miou"]}
        save_segmentor(folder / "best.safetensors", self._student, best)

    def _step(self, batch: Batch) -> Losses:
        """One optimizer step. The gradients of the three losses add up, so that source loss and feature
        distance, which share a forward pass, share a backward pass too."""
        settings, iteration = self._settings, self._iteration
        rng = np.random.default_rng([self._seed, iteration, _MIXING])
        torch.manual_seed(int(np.random.SeedSequence([self._seed, iteration, _DROPOUT]).generate_state(1)[0]))
        set_learning_rate(self._optimizer, learning_rate_factor(iteration, settings))
        self._optimizer.zero_grad()
        if batch.target is None:
            losses = self._source_losses(batch, rng if settings.source_augmentation else None)
        else:
            self._teacher.update(self._student, iteration, settings.ema_alpha)
            losses = self._source_losses(batch, None)
            losses |= self._mixed_losses(batch, rng)
        self._optimizer.step()
        return losses

    def _source_losses(self, batch: Batch, rng: np.random.Generator | None) -> Losses:
        images = batch.source if rng is None else augment(batch.source, self._settings, rng)
        with self._autocast():
            features = self._student.encode(images)
            logits = self._student.decode(features)
            losses = {"source": pixel_loss(logits, batch.labels)}
            if self._distance:
                distance = self._distance(images, batch.labels, features[-1])
                losses["feature_distance"] = self._settings.feature_distance_weight * distance
        torch.stack(list(losses.values())).sum().backward()
        return losses

    def _mixed_losses(self, batch: Batch, rng: np.random.Generator) -> Losses:
        with self._autocast():
            mixed = mix(batch, self._teacher, self._settings, rng)
            loss = pixel_loss(self._student(mixed.images), mixed.labels, mixed.weights)
        loss.backward()
        return {"mixed": loss, "confident_share": mixed.confident_share}

    def _autocast(self) -> torch.autocast:
        enabled = self._settings.mixed_precision == "bf16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=enabled)

    def _due(self, every: int) -> bool:
        return self._iteration % every == 0 or self._iteration == self._settings.iterations

    def _log(self, losses: Losses) -> str:
        if not self._due(self._settings.log_every):
            return ""
        values = {name: round(float(loss.detach()), 6) for name, loss in losses.items()}
        self._record({**values, "learning_rate": self._optimizer.param_groups[0]["lr"]})
        return ", ".join(f"{name} {value:.3f}" for name, value in values.items())

    def _validate(self) -> None:
        miou = validate(self._student, self._validation, self._evaluation)
        self._record({"miou": miou})
        log(f"iteration {self._iteration}: mIoU {miou:.2f}")
        if miou > self._best.get("miou", -1.0):
            weights = {name: tensor.cpu().clone() for name, tensor in self._student.state_dict().items()}
            self._best = {"miou": miou, "iteration": self._iteration, "weights": weights}

    def _record(self, values: dict[str, Any]) -> None:
        seconds = round(time.monotonic() - self._started, 3)
        self._records.append({"iteration": self._iteration, **values, "seconds": seconds})
        with self._log_file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(self._records[-1]) + "\n")

    def _save(self) -> None:
        self._state.save(
            self._iteration,
            {
                "student": self._student.state_dict(),
                "teacher": self._teacher.segmentor.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "best": self._best,
                "records": self._records,
            },
        )

    def _resume(self) -> None:
        found = self._state.load_latest()
        if found:
            self._iteration, state = found
            self._student.load_state_dict(state["student"])
            self._teacher.segmentor.load_state_dict(state["teacher"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._best, self._records = state["best"], state["records"]
            log(f"resuming at iteration {self._iteration}")
        # What was logged after the state was saved will be logged again.
        with replacing(self._log_file) as temporary:
            temporary.write_text(
                "".join(json.dumps(record) + "\n" for record in self._records), encoding="utf-8"
            )
        self._started -= self._records[-1]["seconds"] if self._records else 0


_MIXING, _DROPOUT = 1, 2
"""Streams of random numbers of an iteration; each is seeded by (seed, iteration, stream)."""


def _in_crop(pixels: float, crop: int) -> float:
    return pixels * (crop / REFERENCE_CROP) ** 2


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _inputs(
    source: Path,
    target: Path | None,
    target_images: Sequence[Path],
    validation: Path | None,
    settings: AdaptationSettings,
) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        "source": {"path": str(source), STATISTICS: sha256(source / STATISTICS)},
        "validation": str(validation) if validation else None,
    }
    if target_images:
        manifest = Path(str(target)) / "manifest.jsonl"
        named = target_images[0] if len(target_images) == 1 else manifest
        # What a digest stands for may lie elsewhere when a run goes on: a task's inputs move with each run.
        known = {named.name: sha256(named)} if named.is_file() else {"path": str(target)}
        inputs["target"] = {"images": len(target_images), **known}
    if settings.pretrained_encoder:
        inputs["pretrained_encoder"] = sha256(Path(settings.pretrained_encoder))
    return inputs


def _provenance(
    *,
    arguments: dict[str, str],
    inputs: dict[str, Any],
    settings: dict[str, Any],
    seed: int,
    best: str,
) -> dict[str, Any]:
    return {
        "stage": "adapt",
        "datum_version": __version__,
        **arguments,
        "seed": seed,
        "inputs": inputs,
        "settings": settings,
        "best": best,
    }
