"""Masked image consistency (MIC, Hoyer et al. 2023): a third pass over target images of which
most is hidden, labeled by the teacher, who has seen all of it.

Source: `mmseg/models/uda/masking_consistency_module.py` and `models/utils/masking_transforms.py` of MIC.
"""

import numpy as np
from torch import Tensor
from torch.nn import functional

from datum.adaptation.self_training import augment
from datum.config import AdaptationSettings
from datum.device import on_device
from datum.global_batch import own, whole

MASK_BLOCKS = 16
"""Blocks along the side of a crop: of 64 pixels in one of 1024 (HRDA), of 32 in one of 512 (DAFormer)."""

MASK_RATIO = 0.7
"""Probability that a block is hidden (reference: `mask_ratio`)."""


def masked(images: Tensor, settings: AdaptationSettings, rng: np.random.Generator) -> Tensor:
    """Normalized images float32[batch, 3, crop, crop] after strong augmentation, with blocks of each hidden
    behind the mean color."""
    images = augment(images, settings, rng, alike=True)
    visible = rng.random((whole(len(images)), 1, MASK_BLOCKS, MASK_BLOCKS)) > MASK_RATIO
    blocks = on_device(own(visible), images.dtype, images.device)
    return images * functional.interpolate(blocks, size=images.shape[2:])
