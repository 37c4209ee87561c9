"""Learning rate and parameter groups."""

import dataclasses

import pytest
import torch
from torch import nn

from datum.adaptation.optimizer import (
    add_gradients,
    build_optimizer,
    learning_rate_factor,
    set_learning_rate,
)
from datum.config import AdaptationSettings
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor
from datum.segmentation.unweighted import unweighted


@pytest.mark.parametrize(
    "iteration, rate",
    [
        (0, 6e-5 * 1e-6),
        (750, 6e-5 * (1 - 750 / 40_000) * (1 - 0.5 * (1 - 1e-6))),
        (1499, 6e-5 * (1 - 1499 / 40_000) * (1 - (1 / 1500) * (1 - 1e-6))),
        (1500, 6e-5 * (1 - 1500 / 40_000)),
        (20_000, 3e-5),
        (39_999, 6e-5 / 40_000),
    ],
)
def test_the_learning_rate_warms_up_linearly_and_decays_linearly_to_zero(iteration: int, rate: float) -> None:
    assert 6e-5 * learning_rate_factor(iteration, AdaptationSettings()) == pytest.approx(rate, rel=1e-9)


def test_the_decay_follows_its_power() -> None:
    settings = dataclasses.replace(AdaptationSettings(), poly_power=2.0, iterations=100, warmup_iterations=0)
    assert learning_rate_factor(50, settings) == pytest.approx(0.25)


def test_the_head_learns_faster_and_only_the_encoders_norms_do_not_decay() -> None:
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8))
    optimizer = build_optimizer(segmentor, AdaptationSettings())
    set_learning_rate(optimizer, 0.5)
    rates = {p: g["lr"] for g in optimizer.param_groups for p in g["params"]}
    decays = {p: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert set(rates) == set(segmentor.parameters())
    assert {rates[p] for p in segmentor.encoder.parameters()} == {3e-5}
    assert [rates[p] for p in segmentor.head.parameters()] == pytest.approx(
        [3e-4] * len(list(segmentor.head.parameters()))
    )
    norms: set[torch.Tensor] = set()
    for module in segmentor.encoder.modules():
        if isinstance(module, nn.LayerNorm):
            norms.update(module.parameters())
    assert {p for p, decay in decays.items() if decay == 0} == norms
    assert {decay for p, decay in decays.items() if p not in norms} == {0.01}


def test_every_weight_of_resnet_101_decays() -> None:
    """DAFormer's rule for norms is MiT's alone; for ResNet it names the head and nothing else."""
    segmentor = unweighted(lambda: build_segmentor(SegmentorConfig(encoder="resnet-101")))
    settings = dataclasses.replace(AdaptationSettings(), weight_decay=0.01)
    groups = build_optimizer(segmentor, settings).param_groups
    assert {id(p) for g in groups for p in g["params"] if g["weight_decay"] == 0.01} == {
        id(p) for p in segmentor.parameters()
    }
    assert [len(g["params"]) for g in groups] == [len(list(segmentor.encoder.parameters())), 0, 4]


def test_gradients_of_several_losses_add_up_as_pytorch_adds_them() -> None:
    """Also of weights that one of the losses does not depend on."""
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(3)) for _ in range(4)]
    optimizer = torch.optim.AdamW([{"params": weights[:2]}, {"params": weights[2:]}])
    first = (weights[0] * weights[1]).sum()
    second = (weights[1] * weights[2]).square().sum()
    expected = torch.autograd.grad(first + second, weights, retain_graph=True, allow_unused=True)
    for loss in (first, second):
        add_gradients(loss, optimizer)
    for weight, gradient in zip(weights, expected):
        if gradient is None:
            assert weight.grad is None
        else:
            torch.testing.assert_close(weight.grad, gradient)
