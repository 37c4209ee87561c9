"""One training loop for the three networks of the recipe: time-boxed, resumable, averaged.

The loop knows nothing of what it trains: a network, a function that draws a batch and returns the losses,
and a budget. On a GPU the whole step (batch, forward, backward, update) can be captured as one CUDA graph,
because networks this small wait for kernel launches, not for arithmetic.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from datum.outputs import replacing
from datum.telemetry import log

AVERAGE_EVERY = 10
"""Steps between two updates of the averaged weights."""
AVERAGE_DECAY = 0.99
"""Decay of the averaged weights an update: a memory of about 1000 steps."""
WARMUP_STEPS = 200
"""Steps of linear warm-up of the learning rate."""
SYNCHRONISE_EVERY = 20
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


def optimise(
    network: nn.Module,
    losses: Callable[[], dict[str, Tensor]],
    *,
    name: str,
    seconds: float,
    learning_rate: float,
    runtime: Runtime,
    state_file: Path,
) -> nn.Module:
    """Trains `network` for `seconds` and returns a copy of it with averaged weights, in evaluation mode.

    `losses` draws a batch and returns scalar losses by name; their sum is minimised with AdamW, with a
    cosine decay of `learning_rate` over the time. The state is saved to `state_file` every half minute and
    at the end; a run that finds the file continues from it, for the time that is left.
    """
    average = copy.deepcopy(network).requires_grad_(False).eval()
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters,
        lr=torch.tensor(0.0, device=runtime.device),
        betas=(0.9, 0.99),
        weight_decay=0.01,
        fused=True,
        capturable=runtime.accelerated,
    )
    step, spent = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, map_location=runtime.device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["seconds"]
        log(f"{name}: resuming after {step} steps, {spent:.0f} of {seconds:.0f} s")
    if spent >= seconds:
        return average
    rate: Tensor = optimizer.param_groups[0]["lr"]
    network.train()

    def update() -> dict[str, Tensor]:
        optimizer.zero_grad(set_to_none=True)
        with runtime.autocast():
            parts = losses()
        torch.stack(list(parts.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        return {part: value.detach() for part, value in parts.items()}

    def save() -> None:
        state = {
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "seconds": spent,
        }
        with replacing(state_file) as temporary:
            torch.save(state, temporary)

    started = time.monotonic() - spent
    advance = _captured(update) if runtime.capture and runtime.accelerated else update
    logged, saved, first = spent, spent, step
    first_at = time.monotonic()
    while spent < seconds:
        rate.fill_(learning_rate * min(1.0, (step + 1) / WARMUP_STEPS) * _cosine(spent / seconds))
        parts = advance()
        step += 1
        if step % AVERAGE_EVERY == 0:
            _move_average(average, network, step // AVERAGE_EVERY)
        spent = time.monotonic() - started
        if step % SYNCHRONISE_EVERY and spent < seconds and runtime.accelerated:
            continue
        if spent - logged >= LOG_SECONDS or spent >= seconds:
            shown = ", ".join(f"{part} {value.item():.4f}" for part, value in parts.items())
            speed = (step - first) / (time.monotonic() - first_at)
            log(f"{name}: {step} steps, {spent:.0f}/{seconds:.0f} s, {speed:.3g} steps/s, {shown}")
            logged = spent
        elif runtime.accelerated:
            torch.cuda.synchronize()
        if spent - saved >= SAVE_SECONDS:
            save()
            saved = spent
    _move_average(average, network, step // AVERAGE_EVERY + 1)
    save()
    return average


def _cosine(fraction: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))


@torch.no_grad()
def _move_average(average: nn.Module, network: nn.Module, update: int) -> None:
    """Exponential moving average whose memory grows with the updates, so that short runs forget the start."""
    weight = max(1 - AVERAGE_DECAY, 9 / (10 + update))
    for mean, current in zip(average.parameters(), network.parameters()):
        mean.lerp_(current, weight)


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
