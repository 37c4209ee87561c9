"""The dilated convolution of a pyramid, fast on a processor too, in channels-last format."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional


class DilatedDepthwiseConv2d(nn.Conv2d):
    """The depthwise 3x3 convolution of `dilation`, with padding as wide, and its weights.

    On a processor its library computes those without dilation alone in channels-last format, the faster one
    for everything around. Pixels whose rows and columns leave the same rests when divided by the dilation
    meet each other alone, and are neighbors there: moved together, they make small images for a convolution
    without dilation.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        channels, dilation = convolution.in_channels, convolution.dilation[0]
        with torch.device("meta"):
            super().__init__(
                channels,
                channels,
                kernel_size=3,
                padding=dilation,
                dilation=dilation,
                groups=channels,
                bias=False,
            )
        self.weight = convolution.weight

    def forward(self, images: Tensor) -> Tensor:
        """float32[batch, channels, height, width] -> the same shape."""
        if images.device.type != "cpu":
            return super().forward(images)
        dilation, size = self.dilation[0], images.shape[2:]
        phases: Tensor = _Apart.apply(images, dilation)  # type: ignore[no-untyped-call]
        convolved = functional.conv2d(phases, self.weight, padding=1, groups=self.groups)
        together: Tensor = _Together.apply(convolved, dilation, *size)  # type: ignore[no-untyped-call]
        return together


class _Apart(Function):
    @staticmethod
    def forward(context: Any, images: Tensor, dilation: int) -> Tensor:
        context.sizes = (dilation, *images.shape[2:])
        return _apart(images, dilation)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _together(gradients[0], *context.sizes), None


class _Together(Function):
    @staticmethod
    def forward(context: Any, phases: Tensor, dilation: int, height: int, width: int) -> Tensor:
        context.dilation = dilation
        return _together(phases, dilation, height, width)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _apart(gradients[0], context.dilation), None, None, None


def _apart(images: Tensor, dilation: int) -> Tensor:
    """[batch, channels, height, width] -> [dilation² * batch, channels, height / dilation, width / dilation],
    filled up with 0, in channels-last format."""
    batch, channels, height, width = images.shape
    rows, columns = -(-height // dilation), -(-width // dilation)
    phases = images.new_empty(dilation, dilation, batch, rows, columns, channels)
    # Where the last row and the last column of a phase lie beyond the image.
    phases[(height - 1) % dilation + 1 :, :, :, -1].zero_()
    phases[:, (width - 1) % dilation + 1 :, :, :, -1].zero_()
    for pixels, part in _blocks(images.permute(0, 2, 3, 1), phases):
        part.copy_(pixels)
    return phases.flatten(0, 2).permute(0, 3, 1, 2)


def _together(phases: Tensor, dilation: int, height: int, width: int) -> Tensor:
    """The inverse of `_apart`: [batch, channels, `height`, `width`] in channels-last format."""
    parts = phases.permute(0, 2, 3, 1).unflatten(0, (dilation, dilation, -1))
    images = phases.new_empty(parts.shape[2], height, width, phases.shape[1])
    for pixels, part in _blocks(images, parts):
        pixels.copy_(part)
    return images.permute(0, 3, 1, 2)


def _blocks(images: Tensor, phases: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The same pixels of images [batch, height, width, channels] and of their phases [dilation, dilation,
    batch, rows, columns, channels], in the same order: those of the rows and columns that all phases have,
    the rest at the bottom and that to the right. Four copies at most, not one for each phase."""
    dilation = phases.shape[0]
    for top, tall, row in _spans(images.shape[1], dilation):
        for left, wide, column in _spans(images.shape[2], dilation):
            pixels = images[:, top : top + tall[0] * tall[1], left : left + wide[0] * wide[1]]
            pixels = pixels.unflatten(1, tall).unflatten(3, wide).permute(2, 4, 0, 1, 3, 5)
            yield pixels, phases[: tall[1], : wide[1], :, row : row + tall[0], column : column + wide[0]]


def _spans(length: int, dilation: int) -> Iterator[tuple[int, tuple[int, int], int]]:
    """Of a side of `length` pixels, for its multiples of `dilation` and for the rest: the first pixel, (rows
    in a phase, phases), and the first of these rows."""
    whole, rest = divmod(length, dilation)
    if whole:
        yield 0, (whole, dilation), 0
    if rest:
        yield whole * dilation, (1, rest), whole
