"""Trainings that several processes share: what one process does with the whole batch, up to rounding."""

import dataclasses
import datetime
import functools
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from datum.adaptation.learner import Learner
from datum.adaptation.processes import helped, require_gpus
from datum.adaptation.sampling import Batch
from datum.config import AdaptationSettings, load_settings
from datum.errors import InputError, TemporaryFaultError
from datum.global_batch import occurring, own, process_count
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


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_learns_of_the_whole_batch(case: str, tmp_path: Path) -> None:
    alone = _trained(case, tmp_path / "alone")
    with helped(2, CPU, functools.partial(_help, case)):
        together = _trained(case, tmp_path / "together")
    _assert_alike(together, alone)


def test_a_training_goes_on_in_another_number_of_processes(tmp_path: Path) -> None:
    case = "batch norm in the encoder"
    whole = _trained(case, tmp_path / "whole")
    _trained(case, tmp_path / "one first", last=2)
    with helped(2, CPU, functools.partial(_help, case)):
        _assert_alike(_trained(case, tmp_path / "one first"), whole)
    with helped(2, CPU, functools.partial(_help, case, last=2)):
        _trained(case, tmp_path / "two first", last=2)
    _assert_alike(_trained(case, tmp_path / "two first"), whole)


def test_a_personalization_before_in_the_same_process_is_in_nobodys_way() -> None:
    from accelerate import Accelerator

    Accelerator(cpu=True)
    with helped(2, CPU, _nothing):
        assert process_count() == 2
    assert process_count() == 1


def _nothing(device: torch.device) -> None:
    assert process_count() == 2


def _assert_alike(found: Trained, expected: Trained) -> None:
    # The log rounds to six decimals.
    assert found.losses == [pytest.approx(losses, abs=2e-6) for losses in expected.losses]
    assert len(expected.losses) == SETTINGS.iterations
    assert found.weights.keys() == expected.weights.keys()
    for name, value in expected.weights.items():
        torch.testing.assert_close(
            found.weights[name], value, rtol=0, atol=ROUNDING, msg=lambda text, name=name: f"{name}: {text}"
        )


def _trained(case: str, folder: Path, *, last: int | None = None) -> Trained:
    """What comes of a training with its output in `folder`; `last` breaks it off after a save."""
    folder.mkdir(exist_ok=True)
    training = bare_training(_student(case, seed=1), _settings(case), folder)
    with mock.patch("datum.adaptation.learner.batches", functools.partial(_batches, case, last)):
        training.run(None)  # type: ignore[arg-type]
    training._state.wait()
    networks = {"student": training._student, "teacher": training._teacher.segmentor}
    records = map(json.loads, (folder / "training.jsonl").read_text().splitlines())
    return Trained(
        weights={f"{n} {k}": v for n, network in networks.items() for k, v in network.state_dict().items()},
        losses=[{name: value for name, value in r.items() if name not in OF_THE_MACHINE} for r in records],
    )


def _help(case: str, device: torch.device, *, last: int | None = None) -> None:
    """Begins with other weights: they are to become those of the first process."""
    learner = Learner(student=_student(case, seed=2), settings=_settings(case), seed=0)
    with mock.patch("datum.adaptation.learner.batches", functools.partial(_batches, case, last)):
        learner.help(None)  # type: ignore[arg-type]


def _settings(case: str) -> AdaptationSettings:
    return dataclasses.replace(SETTINGS, **CASES[case][1])


def _student(case: str, seed: int) -> Segmentor:
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
    return student.double()


def _batches(
    case: str, before: int | None, samples: None, *, first: int, last: int, **_: Any
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
            source=own(source),
            labels=labels,
            classes=occurring(labels.unique().tolist()),
            target=None if case == "source alone" else own(target),
        )


def _refuse(device: torch.device) -> None:
    raise InputError("a.png: is damaged")


def _break(device: torch.device) -> None:
    raise ValueError("a defect")


def _die(device: torch.device) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("help", "error", "message"),
    [
        (_refuse, InputError, r"^a\.png: is damaged$"),
        (_die, TemporaryFaultError, r"^adaptation\.processes: process 2 of 2 died; where it happens again"),
        (_break, RuntimeError, "ValueError: a defect"),
    ],
)
def test_the_error_that_a_helper_ends_with_is_that_of_the_training(
    help: Callable[[torch.device], None], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message), helped(2, CPU, help):
        torch.distributed.all_reduce(torch.ones(1))
    assert process_count() == 1 and not multiprocessing.active_children()


def _help_to_add(device: torch.device) -> None:
    torch.distributed.all_reduce(torch.ones(1))


def test_a_group_that_nobody_else_came_to_does_not_keep_the_next_from_meeting(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{tmp_path}/meeting",
            rank=0,
            world_size=2,
            timeout=datetime.timedelta(seconds=0.2),
        )
    total = torch.ones(1)
    with helped(2, CPU, _help_to_add):
        torch.distributed.all_reduce(total)
    assert total == 2


def test_processes_that_cannot_share_a_batch_or_have_no_gpu_each_are_refused() -> None:
    message = r"^adaptation\.processes=3 .*: cannot share adaptation\.batch_size=2 evenly; set a batch size"
    with pytest.raises(InputError, match=message):
        load_settings("paper", ["adaptation.processes=3"])
    visible = torch.cuda.device_count()
    with pytest.raises(InputError, match=f"^adaptation.processes={visible + 1}: {visible} GPUs are visible"):
        require_gpus(visible + 1, torch.device("cuda"))
    require_gpus(2, CPU)
