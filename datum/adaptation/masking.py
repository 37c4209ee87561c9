"""Masked image consistency (MIC, Hoyer et al. 2023): a third pass over target images of which
most is hidden, labeled by the teacher, who has seen all of it.

Source: `mmseg/models/uda/masking_consistency_module.py` and `models/utils/masking_transforms.py` of MIC; of
token masking `models/token_masking.py` and `training/uda_vit/uda_vit_generic.py` of VFM-UDA.
"""

import dataclasses

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datum.adaptation.self_training import augment
from datum.config import AdaptationSettings
from datum.device import on_device
from datum.global_batch import own, whole
from datum.segmentation.encoders.dinov2 import CELL, size_in_patches

MASK_BLOCKS = 16
"""Blocks along the side of a crop: of 64 pixels in one of 1024 (HRDA), of 32 in one of 512 (DAFormer)."""

MASK_RATIO = 0.7
"""Probability that a block or a token is hidden (references: `mask_ratio`, `token_mask_ratio`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Masked:
    """Target images of which most is hidden, float32[batch, 3, crop, crop]."""

    images: Tensor
    """What the network is given."""
    hidden: Tensor | None
    """Patches of them that it does not see, bool[batch, rows, columns]; None where images hide blocks."""

    @property
    def seen(self) -> Tensor:
        """The images with hidden parts behind the mean color, for people to look at."""
        if self.hidden is None:
            return self.images
        return _behind_mean_color(self.images, ~self.hidden[:, None])


def masked(images: Tensor, settings: AdaptationSettings, rng: np.random.Generator) -> Masked:
    """Normalized images float32[batch, 3, crop, crop] after strong augmentation, with blocks or tokens of
    each hidden. Before tokens are, each is augmented on its own, as VFM-UDA has it."""
    tokens = settings.masking == "token"
    images = augment(images, settings, rng, alike=not tokens)
    patches = size_in_patches((images.shape[2], images.shape[3]))
    grid = [side // CELL for side in patches] if tokens else [MASK_BLOCKS, MASK_BLOCKS]
    visible = own(rng.random((whole(len(images)), 1, *grid)) > MASK_RATIO)
    if tokens:
        return Masked(images=images, hidden=on_device(~visible[:, 0], torch.bool, images.device))
    blocks = on_device(visible, images.dtype, images.device)
    return Masked(images=_behind_mean_color(images, blocks), hidden=None)


def _behind_mean_color(images: Tensor, visible: Tensor) -> Tensor:
    """Normalized images float32[batch, 3, height, width] without what is not `visible` [batch, 1, rows,
    columns]."""
    return images * functional.interpolate(visible.to(images.dtype), size=images.shape[2:])
