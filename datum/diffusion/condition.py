"""Label maps as ControlNets take them."""

import torch
from torch import Tensor
from torch.nn import functional

from datum.diffusion.controlnet import ConditionKind
from datum.labels import CLASSES, IGNORE, TRAIN_ID_TO_COLOR


def condition_of(ids: Tensor, kind: ConditionKind) -> Tensor:
    """The condition of label maps uint8[batch, height, width], 255 for void, in values 0 to 1:
    float32[batch, 20, height, width] with void last, or float32[batch, 3, height, width] of Cityscapes'
    palette with void black."""
    if kind == "colored":
        channels = torch.tensor(TRAIN_ID_TO_COLOR, device=ids.device)[ids.long()].float() / 255
    else:
        classes = ids.long().masked_fill(ids == IGNORE, len(CLASSES))
        channels = functional.one_hot(classes, len(CLASSES) + 1).float()
    return channels.permute(0, 3, 1, 2)
