"""Masked image consistency (MIC, Hoyer et al. 2023, section 3.2): a third pass over target images of which most
is hidden, labeled by the teacher, who has seen all of it.

Source: `mmseg/models/uda/masking_consistency_module.py` and `models/utils/masking_transforms.py` of MIC.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datum.device import on_device

MASK_BLOCKS = 16
"""Blocks along the side of a crop: of 64 pixels in one of 1024 (HRDA), of 32 in one of 512 (DAFormer)."""


def block_masks(batch: int, size: Sequence[int], ratio: float, rng: np.random.Generator) -> np.ndarray:
    """bool[batch, 1, MASK_BLOCKS, MASK_BLOCKS]: which blocks of each image stay visible, all but a share of
    `ratio` on average."""
    return rng.random((batch, 1, MASK_BLOCKS, MASK_BLOCKS)) > ratio
