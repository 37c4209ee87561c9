"""The batch of a training step that several processes share, each with as many images of it.

Together they do what one process does with the whole batch. Random numbers belong to an image's place in the
batch: every process draws those of all images and takes its own. A loss of one process is such that the mean
over all of them is that of the whole batch. A process alone has the whole batch, and nothing is done here.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.distributed
from torch import Tensor

Rows = TypeVar("Rows", Tensor, np.ndarray, Sequence[int])


def process_count() -> int:
    """Processes that share a batch."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def whole(images: int) -> int:
    """Images of the batch of which this process has `images`."""
    return images * process_count()


def own(rows: Rows) -> Rows:
    """Of `rows`, one for each image of the batch (an array, a tensor, a list), those of this process's."""
    if process_count() == 1:
        return rows
    share = len(rows) // process_count()
    first = torch.distributed.get_rank() * share
    return rows[first : first + share]


def total(value: Tensor) -> Tensor:
    """The sum over all processes of a tensor that has no gradient."""
    if process_count() == 1:
        return value
    value = value.clone()
    torch.distributed.all_reduce(value)
    return value


def mean(value: Tensor) -> Tensor:
    """The mean over all processes of a tensor that has no gradient."""
    return value if process_count() == 1 else total(value) / process_count()


def largest(value: Tensor) -> Tensor:
    """The maximum over all processes of a tensor that has no gradient."""
    if process_count() > 1:
        value = value.clone()
        torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)
    return value


def part_of_mean(part: Tensor) -> Tensor:
    """`part`, of which the whole is the sum over all processes, as one of which it is the mean."""
    return part if process_count() == 1 else part * process_count()


def occurring(numbers: Sequence[int]) -> Sequence[int]:
    """All of `numbers`, from 0 to 255, that occur in any process, in ascending order. Told by the
    processors: no GPU is asked."""
    if process_count() == 1:
        return numbers
    there = torch.zeros(256, dtype=torch.uint8)
    there[list(numbers)] = 1
    return largest(there).nonzero().flatten().tolist()


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Gives the parameters, in every process, the mean of their gradients over all processes."""
    if process_count() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    # One exchange for all: a thousand would each wait for the one before.
    together = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(together)
    parts = together.div_(process_count()).split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view_as(gradient) for part, gradient in zip(parts, gradients)])
