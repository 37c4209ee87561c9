"""Parts of a step as CUDA graphs, whose kernels a stand-in replays on the processor.

On a GPU `tests/benchmarks/bench_gpu.py` compares losses of steps in graphs and without.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from datum.adaptation.cuda_graphs import WARM_UP_CALLS, Recorder
from datum.config import AdaptationSettings
from tests.benchmarks.bench_adaptation import made_batch, made_training

GPU = torch.device("cuda")


class Weight:
    """A parameter, and a part of a step that gives it a gradient and counts how often Python runs it."""

    def __init__(self) -> None:
        self.parameter = nn.Parameter(torch.tensor(2.0))
        self.runs = 0

    def part(self, images: Tensor, hidden: None) -> dict[str, Tensor]:
        self.runs += 1
        loss = self.parameter * images.sum()
        loss.backward()
        return {"loss": loss}


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """`torch.cuda` without a GPU: the graph, whose `replay` does in place of kernels what a test gives it."""
    graph = mock.Mock()
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: contextlib.nullcontext())
    return graph


def _kernels_of(recorded: Any) -> Callable[[], None]:
    """What a graph of `Weight.part` computes: from where its inputs are to where its results are."""

    def replay() -> None:
        images = recorded._inputs[0]
        recorded._found["loss"].copy_(2 * images.sum())
        recorded._gradients[0].copy_(images.sum())

    return replay


def test_a_part_runs_as_a_graph_from_its_third_call_on_with_the_results_of_each_input(
    replayed: mock.Mock,
) -> None:
    weight = Weight()
    recorded = Recorder([weight.parameter], AdaptationSettings(), GPU).recorded(weight.part)
    replayed.replay.side_effect = _kernels_of(recorded)
    found = []
    for call in range(1, 7):
        weight.parameter.grad = None
        found.append(recorded(torch.full((2,), float(call)), None)["loss"])
        assert float(weight.parameter.grad) == 2 * call
    # The last of them is the recording.
    assert weight.runs == WARM_UP_CALLS + 1
    assert [float(loss.detach()) for loss in found] == [4.0 * call for call in range(1, 7)]


@pytest.mark.parametrize(
    "settings, device, processes",
    [
        (AdaptationSettings(cuda_graphs=False), GPU, 1),
        (AdaptationSettings(), torch.device("cpu"), 1),
        (AdaptationSettings(), GPU, 2),
    ],
)
def test_unwanted_on_a_processor_and_beside_other_processes_a_part_stays_as_it_is(
    replayed: mock.Mock, settings: AdaptationSettings, device: torch.device, processes: int
) -> None:
    weight = Weight()
    with mock.patch("datum.adaptation.cuda_graphs.process_count", return_value=processes):
        recorder = Recorder([weight.parameter], settings, device)
    assert recorder.recorded(weight.part) == weight.part


def test_losses_of_a_step_keep_nothing_of_its_way_back(tmp_path: Path) -> None:
    """A graph could not be recorded while nodes of an earlier step are kept: seen on a GPU."""
    training = made_training("resnet-18-half", 64, tmp_path, masked_consistency=True)
    losses = training._step(made_batch(2, 64))
    assert {"source", "feature_distance", "mixed", "masked"} <= losses.keys()
    assert not any(loss.requires_grad for loss in losses.values())
