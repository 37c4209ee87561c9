"""Trainings in float64 that one process or several do, of which the same comes, up to rounding."""

import dataclasses
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from datum.adaptation.learner import Learner
from datum.adaptation.sampling import Batch
from datum.config import AdaptationSettings
from datum.global_batch import occurring, own
from datum.labels import IGNORE
from datum.segmentation.segmentor import Segmentor, SegmentorConfig, build_segmentor
from tests.adaptation.small_training import bare_training

ROUNDING = 1e-9
"""Of weights. All is float64 here but shares of pixels, which are exact, being of a power of two of them.
AdamW divides a gradient that is nearly zero by 1e-8: one that is rounded by 1e-15 moves a weight by 1e-10 in
a step of 1e-3. Measured after three steps: up to 3e-10."""

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "daformer with mic": ("mit-b0", {"masked_consistency": True}),
    "hrda": ("mit-b0", {"multi_resolution": True, "crop": 128}),
    "batch norm in the encoder": ("resnet-18-half", {}),
    "vfm-uda": ("mit-b0", {"weak_color_jitter": True, "source_loss_over": "labeled"}),
    "source alone": ("resnet-18-half", {"pretrained_encoder": "random"}),
}

SETTINGS = AdaptationSettings(
    iterations=3,
    batch_size=2,
    crop=64,
    learning_rate=1e-3,
    warmup_iterations=0,
    pseudo_threshold=0.5,
    color_jitter_probability=1.0,
    blur_probability=1.0,
    drop_path_rate=0.3,
    dropout=0.3,
    feature_distance_weight=0.5,
    pretrained_encoder="as it is",
    cuda_graphs=False,
    log_every=1,
    save_every=2,
)

CPU = torch.device("cpu")

OF_THE_MACHINE = ("seconds", "images_per_second", "peak_memory")
"""What a line of the log holds that is not of the result."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """What comes of a training: the weights of student and teacher, and the losses of each iteration."""

    weights: dict[str, Tensor]
    losses: list[dict[str, float]]


def assert_alike(found: Trained, expected: Trained) -> None:
    # The log rounds to six decimals.
    assert found.losses == [pytest.approx(losses, abs=2e-6) for losses in expected.losses]
    assert len(expected.losses) == SETTINGS.iterations
    assert found.weights.keys() == expected.weights.keys()
    for name, value in expected.weights.items():
        torch.testing.assert_close(
            found.weights[name], value, rtol=0, atol=ROUNDING, msg=lambda text, name=name: f"{name}: {text}"
        )


def trained(case: str, folder: Path, *, last: int | None = None, device: torch.device = CPU) -> Trained:
    """What comes of a training with its output in `folder`; `last` breaks it off after a save."""
    folder.mkdir(exist_ok=True)
    training = bare_training(_student(case, 1, device), _settings(case), folder)
    with mock.patch("datum.adaptation.learner.batches", functools.partial(_batches, case, last)):
        training.run(None)  # type: ignore[arg-type]
    training._state.wait()
    networks = {"student": training._student, "teacher": training._teacher.segmentor}
    records = map(json.loads, (folder / "training.jsonl").read_text().splitlines())
    return Trained(
        weights={f"{n} {k}": v for n, network in networks.items() for k, v in network.state_dict().items()},
        losses=[{name: value for name, value in r.items() if name not in OF_THE_MACHINE} for r in records],
    )


def help_training(case: str, device: torch.device, *, last: int | None = None) -> None:
    """Begins with other weights: they are to become those of the first process."""
    learner = Learner(student=_student(case, 2, device), settings=_settings(case), seed=0)
    with mock.patch("datum.adaptation.learner.batches", functools.partial(_batches, case, last)):
        learner.help(None)  # type: ignore[arg-type]


def _settings(case: str) -> AdaptationSettings:
    return dataclasses.replace(SETTINGS, **CASES[case][1])


def _student(case: str, seed: int, device: torch.device) -> Segmentor:
    encoder, settings = CASES[case][0], _settings(case)
    torch.manual_seed(seed)
    config = SegmentorConfig(
        encoder=encoder,
        head_channels=16,
        drop_path_rate=settings.drop_path_rate,
        dropout=settings.dropout,
        multi_resolution=settings.multi_resolution,
        detail_crop=settings.crop // 2,
    )
    student = build_segmentor(config)
    with torch.no_grad():
        # As sure as a trained network is, of some of the pixels.
        student.head.conv_seg.weight.mul_(100)
    return student.to(device, torch.float64)


def _batches(
    case: str,
    before: int | None,
    samples: None,
    *,
    first: int,
    last: int,
    device: torch.device,
    **_: Any,
) -> Iterator[Batch]:
    """This process's part of batches in float64. Things fill more cells of one image than of the other."""
    settings = _settings(case)
    for iteration in range(first, before or last):
        rng = np.random.default_rng(iteration)
        shape = (settings.batch_size, 3, settings.crop, settings.crop)
        source, target = (torch.from_numpy(rng.normal(size=shape)) for _ in range(2))
        cells = rng.integers(0, [[[10]], [[20]]], (2, settings.crop // 32, settings.crop // 32))
        labels = torch.from_numpy(np.where(cells == 19, IGNORE, cells).repeat(32, 1).repeat(32, 2))
        labels = own(labels)
        yield Batch(
            source=own(source).to(device),
            labels=labels.to(device),
            classes=occurring(labels.unique().tolist()),
            target=None if case == "source alone" else own(target).to(device),
        )
