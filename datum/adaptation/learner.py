"""The steps of the training of the segmentation network.

A step is DAFormer's: the source loss, the feature distance to the ImageNet encoder, and the loss on images
mixed from source and target, whose target half is labeled by a mean teacher.
"""

import functools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from datum.adaptation.cuda_graphs import Recorder
from datum.adaptation.feature_distance import FeatureDistance
from datum.adaptation.masking import Masked, masked
from datum.adaptation.optimizer import (
    add_gradients,
    build_optimizer,
    learning_rate_factor,
    set_learning_rate,
)
from datum.adaptation.processes import begin_alike
from datum.adaptation.sampling import Batch, TrainingSamples, batches, telling_of_dead_processes
from datum.adaptation.self_training import Mixed, Teacher, augment, mix
from datum.adaptation.student_pass import pass_student
from datum.adaptation.weak_jitter import weak_jitter
from datum.config import AdaptationSettings
from datum.device import keep_freed_memory, on_device
from datum.global_batch import average_gradients, mean, process_count
from datum.segmentation.multi_resolution import draw_corner
from datum.segmentation.pretrained_file import RANDOM
from datum.segmentation.segmentor import Segmentor
from datum.segmentation.shared_layers import share_layers

Losses = dict[str, Tensor]


class Learner:
    """The student, its teacher, and the steps of their training. Where several processes share the batches,
    each has these, and all learn the same."""

    def __init__(
        self,
        *,
        student: Segmentor,
        settings: AdaptationSettings,
        seed: int,
        imagenet: Segmentor | None = None,
    ) -> None:
        """`imagenet` has the pretrained encoder, where the student starts from another one."""
        if process_count() > 1:
            share_layers(student)
        self._student, self._settings, self._seed = student.train(), settings, seed
        self._device = next(student.parameters()).device
        if self._device.type == "cpu":
            keep_freed_memory()
        # Convolutions of float32 take TF32 anyway, by PyTorch's default, where a GPU has it (since Ampere).
        torch.backends.cuda.matmul.allow_tf32 = settings.mixed_precision == "tf32"
        self._optimizer = build_optimizer(student, settings)
        self._teacher = Teacher(student)
        pretrained = settings.pretrained_encoder not in ("", RANDOM) and settings.feature_distance_weight > 0
        self._distance = (
            FeatureDistance(imagenet or student, settings.feature_distance_min_ratio) if pretrained else None
        )
        self._iteration = 0
        recorder = Recorder(list(student.parameters()), settings, self._device)
        self._learn_source = recorder.recorded(self._source_pass)
        self._label = recorder.recorded(self._pseudo_labels)
        self._learn_mixed = recorder.recorded(functools.partial(self._pass, "mixed"))
        self._learn_masked = recorder.recorded(functools.partial(self._pass, "masked"))

    def help(self, samples: TrainingSamples) -> None:
        """Does this process's share of the training that another one runs, to its last iteration."""
        with telling_of_dead_processes():
            for batch in self._batches(samples):
                self._step(batch)
                self._iteration += 1

    def _batches(self, samples: TrainingSamples) -> Iterator[Batch]:
        """Those that are left, from where the training's first process is."""
        settings, distance = self._settings, self._distance
        networks = [self._student, self._teacher.segmentor, *([distance.encoder] if distance else [])]
        self._iteration = begin_alike(networks, self._optimizer, self._iteration)
        return batches(
            samples,
            first=self._iteration,
            last=settings.iterations,
            batch_size=settings.batch_size,
            workers=settings.workers,
            device=self._device,
        )

    def _step(self, batch: Batch) -> Losses:
        """One optimizer step. The gradients of all losses add up, so that source loss and feature distance,
        which share a forward pass, share a backward pass too."""
        settings, iteration = self._settings, self._iteration
        rng, boxes, masks = (self._draws(stream) for stream in (_MIXING, _BOXES, _MASKS))
        torch.manual_seed(int(np.random.SeedSequence([self._seed, iteration, _DROPOUT]).generate_state(1)[0]))
        set_learning_rate(self._optimizer, learning_rate_factor(iteration, settings))
        self._optimizer.zero_grad()
        if batch.target is None:
            losses = self._source_losses(batch, rng if settings.source_augmentation else None, boxes)
        else:
            self._teacher.update(self._student, iteration, settings.ema_alpha)
            losses = self._source_losses(batch, None, boxes)
            mixed, found = self._mixed_losses(batch, rng, boxes)
            losses |= found
            hidden = None
            if settings.masked_consistency:
                hidden, found = self._masked_losses(batch.target, mixed, boxes, masks)
                losses |= found
            self._draw_if_due(batch, mixed, hidden)
        average_gradients(self._student.parameters())
        self._optimizer.step()
        return _averaged(losses)

    def _source_losses(
        self, batch: Batch, rng: np.random.Generator | None, boxes: np.random.Generator
    ) -> Losses:
        images = self._weakly_jittered(batch.source, _SOURCE_JITTER)
        images = images if rng is None else augment(images, self._settings, rng)
        return self._learn_source(images, batch.labels, self._corner(boxes))

    def _mixed_losses(
        self, batch: Batch, rng: np.random.Generator, boxes: np.random.Generator
    ) -> tuple[Mixed, Losses]:
        assert batch.target is not None
        target = self._weakly_jittered(batch.target, _TARGET_JITTER)
        mixed = mix(batch, target, self._label, self._settings, rng)
        losses = self._learn_mixed(mixed.images, mixed.labels, mixed.weights, self._corner(boxes))
        return mixed, losses | {"confident_share": mixed.confident_share}

    def _masked_losses(
        self, target: Tensor, mixed: Mixed, boxes: np.random.Generator, masks: np.random.Generator
    ) -> tuple[Masked, Losses]:
        """The images of which most is hidden, and what is lost on them."""
        given = masked(target, self._settings, masks)
        # A tensor of inference mode cannot be the target of a loss.
        labels = mixed.pseudo_labels.clone()
        corner = self._corner(boxes)
        losses = self._learn_masked(given.images, labels, mixed.pseudo_weights, corner, given.hidden)
        return given, losses

    def _weakly_jittered(self, images: Tensor, stream: int) -> Tensor:
        return weak_jitter(images, self._draws(stream)) if self._settings.weak_color_jitter else images

    def _draws(self, stream: int) -> np.random.Generator:
        """The random numbers of one purpose in the iteration at hand."""
        return np.random.default_rng([self._seed, self._iteration, stream])

    def _corner(self, boxes: np.random.Generator) -> Tensor | None:
        """Where in this pass a network of two resolutions sees the detail."""
        if not self._student.config.multi_resolution:
            return None
        return on_device(draw_corner(self._settings.crop, boxes), torch.int64, self._device)

    def _source_pass(self, images: Tensor, labels: Tensor, corner: Tensor | None) -> Losses:
        with self._autocast():
            passed = pass_student(
                self._student,
                images,
                labels,
                None,
                name="source",
                corner=corner,
                over_labeled=self._settings.source_loss_over == "labeled",
            )
            losses = passed.losses
            if self._distance:
                distance = self._distance(passed.seen, labels, passed.features)
                losses["feature_distance"] = self._settings.feature_distance_weight * distance
        return self._backward(losses)

    def _pseudo_labels(self, images: Tensor) -> dict[str, Tensor]:
        with self._autocast():
            return self._teacher.predict(images, mirrored=self._settings.mirrored_pseudo_labels)

    def _pass(
        self,
        name: str,
        images: Tensor,
        labels: Tensor,
        weights: Tensor,
        corner: Tensor | None,
        hidden: Tensor | None = None,
    ) -> Losses:
        with self._autocast():
            passed = pass_student(
                self._student, images, labels, weights, name=name, corner=corner, hidden=hidden
            )
        return self._backward(passed.losses)

    def _backward(self, losses: Losses) -> Losses:
        """Adds the gradients of the sum of the losses to those that are there, and returns the losses.

        Without their way back: who keeps them would keep its nodes, which belong to the stream that the step
        ran in, and no CUDA graph can be recorded in another one."""
        loss, *others = losses.values()
        add_gradients(torch.stack([loss, *others]).sum() if others else loss, self._optimizer)
        return {name: loss.detach() for name, loss in losses.items()}

    def _autocast(self) -> torch.autocast:
        enabled = self._settings.mixed_precision == "bf16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=enabled)

    def _draw_if_due(self, batch: Batch, mixed: Mixed, hidden: Masked | None) -> None:
        """Draws what the step at hand is shown, in the first process alone."""


def _averaged(losses: Losses) -> Losses:
    """The losses of the whole batch, in every process that has a part of it."""
    if process_count() == 1:
        return losses
    return dict(zip(losses, mean(torch.stack([loss.detach().double() for loss in losses.values()])).unbind()))


_MIXING, _DROPOUT, _BOXES, _MASKS, _SOURCE_JITTER, _TARGET_JITTER = 1, 2, 3, 4, 5, 6
"""Streams of random numbers of an iteration; each is seeded by (seed, iteration, stream)."""
