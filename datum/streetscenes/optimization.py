"""One training loop for the three networks of the recipe: time-boxed, resumable, averaged.

The loop knows nothing of what it trains: a network, a function that draws a batch and returns the losses,
and a budget. On a GPU the whole step (batch, forward, backward, update) can be captured as one CUDA graph,
because networks this small wait for kernel launches, not for arithmetic.
"""

import copy
import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from datum.outputs import replacing
from datum.telemetry import log

Network = TypeVar("Network", bound=nn.Module)

AVERAGE_EVERY = 10
"""Steps between two updates of the averaged weights."""
AVERAGE_DECAY = 0.99
"""Decay of the averaged weights an update: a memory of about 1000 steps."""
WARMUP_STEPS = 200
"""Steps of linear warm-up of the learning rate."""
SYNCHRONIZE_EVERY = 20
"""Steps between two looks at the losses; each waits for the device."""
LOG_SECONDS = 10.0
SAVE_SECONDS = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and how networks are trained."""

    device: torch.device
    capture: bool = False
    """Capture the training step as a CUDA graph (GPU only)."""
    compile: bool = False
    """Compile the networks with torch.compile."""

    @property
    def accelerated(self) -> bool:
        return self.device.type == "cuda"

    def autocast(self) -> torch.autocast:
        """bfloat16 on a GPU, float32 elsewhere. The cache of casts has to be off inside a CUDA graph."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.accelerated, cache_enabled=False)

    def compiled(self, network: nn.Module) -> nn.Module:
        """`network`, compiled in place where that was asked for."""
        if self.compile:
            network.compile()
        return network


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimedTraining:
    """What one network is given for its training."""

    name: str
    """The network's, in log lines."""
    seconds: float
    batch: int
    """Scenes of a step."""
    runtime: Runtime
    state_file: Path


def optimize(
    network: Network,
    losses: Callable[[], dict[str, Tensor]],
    training: TimedTraining,
    *,
    learning_rate: float,
) -> Network:
    """Trains `network` and returns a copy of it with averaged weights, in evaluation mode.

    `losses` draws a batch and returns scalar losses by name; their sum is minimized with AdamW, with a
    cosine decay of `learning_rate` over the time. The state is saved to the state file every half minute and
    at the end; a run that finds the file continues from it, for the time that is left.
    """
    state = _State(network, training)
    seconds, accelerated = training.seconds, training.runtime.accelerated
    if state.seconds >= seconds:
        return state.average
    network.train()
    started = time.monotonic() - state.seconds
    step = functools.partial(state.descend, losses, training.runtime)
    advance = _captured(step) if training.runtime.capture and accelerated else step
    first, first_at = state.step, time.monotonic()
    logged = saved = state.seconds
    while state.seconds < seconds:
        state.set_learning_rate(learning_rate * _schedule(state.step, state.seconds / seconds))
        parts = advance()
        state.step += 1
        if state.step % AVERAGE_EVERY == 0:
            state.move_average(state.step // AVERAGE_EVERY)
        state.seconds = time.monotonic() - started
        done = state.seconds >= seconds
        if accelerated and state.step % SYNCHRONIZE_EVERY and not done:
            continue
        if done or state.seconds - logged >= LOG_SECONDS:
            logged = state.seconds
            shown = ", ".join(f"{part} {value.item():.4f}" for part, value in parts.items())
            speed = (state.step - first) / (time.monotonic() - first_at)
            so_far = f"{state.step} steps, {state.seconds:.0f}/{seconds:.0f} s"
            log(f"{training.name}: {so_far}, {speed:.3g} steps/s, {shown}")
        elif accelerated:
            torch.cuda.synchronize()
        if state.seconds - saved >= SAVE_SECONDS:
            saved = state.seconds
            state.save()
    state.move_average(state.step // AVERAGE_EVERY + 1)
    state.save()
    return state.average


def figures_device(runtime: Runtime) -> str:
    """What figures name the device by."""
    return torch.cuda.get_device_name() if runtime.accelerated else f"{os.cpu_count()} processor cores"


class _State(Generic[Network]):
    """A network, its average and its optimizer, and how far they have come: what the state file holds."""

    def __init__(self, network: Network, training: TimedTraining) -> None:
        self.network, self.file = network, training.state_file
        self.average = copy.deepcopy(network).requires_grad_(False).eval()
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=torch.tensor(0.0, device=training.runtime.device),
            betas=(0.9, 0.99),
            weight_decay=0.01,
            fused=True,
            capturable=training.runtime.accelerated,
        )
        self.step, self.seconds = 0, 0.0
        if self.file.exists():
            state = torch.load(self.file, map_location=training.runtime.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]
            spent = f"{self.seconds:.0f} of {training.seconds:.0f} s"
            log(f"{training.name}: resuming after {self.step} steps, {spent}")

    def save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with replacing(self.file) as temporary:
            torch.save(state, temporary)

    def set_learning_rate(self, value: float) -> None:
        """In place: a captured step reads the rate from where it was."""
        rate: Tensor = self.optimizer.param_groups[0]["lr"]
        rate.fill_(value)

    def descend(self, losses: Callable[[], dict[str, Tensor]], runtime: Runtime) -> dict[str, Tensor]:
        """One step of the optimizer; returns the losses before it."""
        self.optimizer.zero_grad(set_to_none=True)
        with runtime.autocast():
            parts = losses()
        torch.stack(list(parts.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        self.optimizer.step()
        return {part: value.detach() for part, value in parts.items()}

    @torch.no_grad()
    def move_average(self, update: int) -> None:
        """Exponentially, with a memory that grows with the updates, so that short runs forget the start."""
        weight = max(1 - AVERAGE_DECAY, 9 / (10 + update))
        for mean, current in zip(self.average.parameters(), self.network.parameters()):
            mean.lerp_(current, weight)


def _schedule(step: int, fraction: float) -> float:
    """Share of the learning rate: a linear warm-up of steps, a cosine over the time."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))


def _captured(update: Callable[[], dict[str, Tensor]]) -> Callable[[], dict[str, Tensor]]:
    """`update` as a CUDA graph: the first steps run as they are, on a side stream, as capture requires."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            update()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        parts = update()

    def replay() -> dict[str, Tensor]:
        graph.replay()
        return parts

    return replay
