"""The pyramid's dilated convolution as a processor computes it, against PyTorch's own."""

import pytest
import torch
from torch import nn

from datum.segmentation.heads.convolutions import DilatedDepthwiseConv2d


@pytest.mark.parametrize("dilation, size", [(6, (12, 18)), (6, (13, 7)), (12, (16, 16)), (18, (5, 40))])
def test_dilated_depthwise_convolution_and_its_gradients_are_pytorchs(
    dilation: int, size: tuple[int, int]
) -> None:
    """Also where a side is no multiple of the dilation, or shorter than it."""
    plain = nn.Conv2d(4, 4, 3, padding=dilation, dilation=dilation, groups=4, bias=False).double()
    _assert_same(plain, DilatedDepthwiseConv2d(plain), (2, 4, *size))


def test_taking_over_weights_draws_none() -> None:
    plain = nn.Conv2d(4, 4, 3, padding=6, dilation=6, groups=4, bias=False)
    before = torch.get_rng_state()
    DilatedDepthwiseConv2d(plain)
    assert torch.equal(torch.get_rng_state(), before)


def _assert_same(plain: nn.Conv2d, ours: nn.Conv2d, shape: tuple[int, ...]) -> None:
    found = []
    for convolution in (plain, ours):
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double().requires_grad_(True)
        for layout in (images, images.contiguous(memory_format=torch.channels_last)):
            output = convolution(layout)
            direction = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape)
            gradients = torch.autograd.grad((output * direction).sum(), (images, convolution.weight))
            found.append((output.detach(), *gradients))
    for other in found[1:]:
        for expected, tensor in zip(found[0], other):
            torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-12)
