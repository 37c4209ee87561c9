"""Trainings that several processes share: what one process does with the whole batch, up to rounding."""

import datetime
import functools
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datum.adaptation.processes import helped, require_gpus
from datum.config import load_settings
from datum.errors import InputError, TemporaryFaultError
from datum.global_batch import process_count
from tests.adaptation.shared_training import CASES, CPU, assert_alike, help_training, trained


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_learns_of_the_whole_batch(case: str, tmp_path: Path) -> None:
    alone = trained(case, tmp_path / "alone")
    with helped(2, CPU, functools.partial(help_training, case)):
        together = trained(case, tmp_path / "together")
    assert_alike(together, alone)


def test_a_training_goes_on_in_another_number_of_processes(tmp_path: Path) -> None:
    case = "batch norm in the encoder"
    whole = trained(case, tmp_path / "whole")
    trained(case, tmp_path / "one first", last=2)
    with helped(2, CPU, functools.partial(help_training, case)):
        assert_alike(trained(case, tmp_path / "one first"), whole)
    with helped(2, CPU, functools.partial(help_training, case, last=2)):
        trained(case, tmp_path / "two first", last=2)
    assert_alike(trained(case, tmp_path / "two first"), whole)


def test_a_personalization_before_in_the_same_process_is_in_nobodys_way() -> None:
    from accelerate import Accelerator

    Accelerator(cpu=True)
    with helped(2, CPU, _nothing):
        assert process_count() == 2
    assert process_count() == 1


def _nothing(device: torch.device) -> None:
    assert process_count() == 2


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
