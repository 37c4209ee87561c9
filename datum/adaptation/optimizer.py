"""The optimizer and its learning rate."""

from typing import Any

import torch
from torch import Tensor, nn

from datum.config import AdaptationSettings
from datum.methods import ENCODERS
from datum.segmentation.segmentor import Segmentor


def build_optimizer(segmentor: Segmentor, settings: AdaptationSettings) -> torch.optim.AdamW:
    """AdamW with the reference's groups: encoder, the encoder's norms without weight decay, and the head
    at a multiple of the learning rate.

    The reference also exempts parameters named `pos_block`, of which MiT has none; its rule for norms
    reaches neither those of the head nor ResNet's batch norm. Of DINOv2 everything decays, as VFM-UDA has it.
    """
    exempt = ENCODERS[segmentor.config.encoder] != "dinov2"
    norms = {
        parameter
        for module in segmentor.encoder.modules()
        if exempt and isinstance(module, nn.LayerNorm)
        for parameter in module.parameters()
    }
    # With HRDA's scale attention, which the reference's rule takes for a part of the head.
    heads = [p for name, p in segmentor.named_parameters() if not name.startswith("encoder.")]
    head_rate = settings.learning_rate * settings.head_learning_rate_factor
    groups: list[dict[str, Any]] = [
        {"params": [p for p in segmentor.encoder.parameters() if p not in norms]},
        {"params": [p for p in segmentor.encoder.parameters() if p in norms], "weight_decay": 0.0},
        {"params": heads, "lr": head_rate},
    ]
    for group in groups:
        group["peak_lr"] = group.get("lr", settings.learning_rate)
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def learning_rate_factor(iteration: int, settings: AdaptationSettings) -> float:
    """Share of the peak learning rate at `iteration` (from 0): polynomial decay to 0, times a linear
    warm-up from `warmup_ratio`."""
    factor = (1 - iteration / settings.iterations) ** settings.poly_power
    if iteration < settings.warmup_iterations:
        factor *= 1 - (1 - iteration / settings.warmup_iterations) * (1 - settings.warmup_ratio)
    return factor


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets every group to `factor` of its peak learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def add_gradients(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Adds the gradients of `loss` to those that the optimizer's parameters have.

    All at once, at the end: PyTorch adds to one parameter after the other, with a kernel for each. No more
    gradients are held than there were where memory is full, at the first steps of the way back.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    earlier = [parameter.grad for parameter in parameters]
    optimizer.zero_grad()
    loss.backward()
    sums, summands = [], []
    for parameter, gradient in zip(parameters, earlier):
        if parameter.grad is None:
            parameter.grad = gradient
        elif gradient is not None:
            sums.append(parameter.grad)
            summands.append(gradient)
    if sums:
        torch._foreach_add_(sums, summands)
