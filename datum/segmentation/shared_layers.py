"""Layers of a network in training that look at, or draw for, all images of a batch which several processes
share: they do for the whole batch what PyTorch's own do for a process's images."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from datum.global_batch import own, process_count, total, whole


def share_layers(network: nn.Module) -> None:
    """Puts the layers of this file in the place of PyTorch's, in `network`, with the same weights and names.
    MiT's stochastic depth knows of shared batches by itself."""
    for name, layer in network.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            shared = SharedBatchNorm2d(layer.num_features, layer.eps, layer.momentum)
            shared.weight, shared.bias = layer.weight, layer.bias
            shared.running_mean, shared.running_var = layer.running_mean, layer.running_var
            shared.num_batches_tracked = layer.num_batches_tracked
            setattr(network, name, shared.train(layer.training))
        elif isinstance(layer, nn.Dropout2d):
            setattr(network, name, SharedDropout2d(layer.p).train(layer.training))
        else:
            share_layers(layer)


class SharedDropout2d(nn.Dropout2d):
    """Dropout of whole channels, drawn for all images of the batch."""

    def forward(self, input: Tensor) -> Tensor:
        """float32[batch, channels, height, width] -> the same shape."""
        if not self.training or self.p == 0:
            return input
        drawn = input.new_empty(whole(len(input)), input.shape[1], 1, 1).bernoulli_(1 - self.p)
        return input * own(drawn.div_(1 - self.p))


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm by the statistics of all images of the batch, on any device (PyTorch's own needs a GPU)."""

    def forward(self, input: Tensor) -> Tensor:
        """float32[batch, channels, height, width] -> the same shape."""
        if not self.training:
            return super().forward(input)
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        running = (self.running_mean, self.running_var)
        output: Tensor = _Normalized.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, running, self.momentum, self.eps
        )
        return output


class _Normalized(Function):
    """Normalized by the batch's mean and variance, times a weight, plus a bias. Processes exchange both
    statistics on the way forward, and the sums that their gradients are made of on the way back."""

    @staticmethod
    def forward(
        context: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor],
        momentum: float,
        epsilon: float,
    ) -> Tensor:
        exact = images.to(torch.promote_types(images.dtype, torch.float32))
        statistics = torch.stack(torch.var_mean(exact, dim=(0, 2, 3), correction=0))
        gathered = [torch.empty_like(statistics) for _ in range(process_count())]
        torch.distributed.all_gather(gathered, statistics)
        variances, means = torch.stack(gathered, dim=1)
        average = means.mean(dim=0)
        # Each process's own, and how far its mean is from that of all: no difference of large numbers.
        variance = variances.mean(dim=0) + (means - average).square().mean(dim=0)
        values = whole(images.numel() // images.shape[1])
        running[0].lerp_(average.to(running[0].dtype), momentum)
        running[1].lerp_((variance * (values / (values - 1))).to(running[1].dtype), momentum)
        context.save_for_backward(images, weight, average, variance)
        context.epsilon, context.values = epsilon, values
        return functional.batch_norm(images, average, variance, weight, bias, training=False, eps=epsilon)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, average, variance = context.saved_tensors
        epsilon = context.epsilon
        # As if mean and variance were given, ...
        by_images, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], images, weight, average, variance, None, None, False, epsilon, [True, True, True]
        )
        # ... less what goes through them, which depends on all images.
        weight_of_all, bias_of_all = total(torch.stack([by_weight, by_bias])).unbind(0)
        inverse = (variance + epsilon).rsqrt()
        slope = weight * inverse.square() * weight_of_all / context.values
        offset = weight * inverse * bias_of_all / context.values - slope * average
        shape = (1, -1, 1, 1)
        through = torch.addcmul(offset.view(shape), images, slope.view(shape))
        return (by_images - through).to(images.dtype), by_weight, by_bias, None, None, None
