"""ImageNet feature distance on thing classes (DAFormer, section 3.4): the encoder's deepest features on
source images stay near those of the frozen ImageNet encoder, wherever an object is."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from datum.device import constant
from datum.global_batch import part_of_mean, total
from datum.labels import CLASSES, IGNORE
from datum.segmentation.encoders import seen_size
from datum.segmentation.segmentor import Segmentor

THING_TRAIN_IDS = tuple(c.train_id for c in CLASSES if c.thing)
"""Reference: `imnet_feature_dist_classes`, 6, 7 and 11 to 18."""


class FeatureDistance:
    """Distance to the features of the encoder as it was when this was made."""

    def __init__(self, segmentor: Segmentor, min_ratio: float) -> None:
        self.encoder: nn.Module = copy.deepcopy(segmentor.encoder).requires_grad_(False)
        # Not chained: mmseg's ResNet returns nothing from it.
        self.encoder.eval()
        self._name, self._min_ratio = segmentor.config.encoder, min_ratio

    def __call__(self, images: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """Mean Euclidean distance of `features` float32[batch, channels, height, width], the deepest that the
        student makes of normalized `images` float32[batch, 3, height, width], over the cells that a thing
        class of `labels` int64[batch, height, width] fills. A scalar; 0 where there is no such cell."""
        with torch.no_grad():
            frozen = self.encoder(images)[-1]
        seen = seen_size(self._name, (labels.shape[1], labels.shape[2]))
        if seen != tuple(labels.shape[1:]):
            labels = functional.interpolate(labels[:, None].float(), seen, mode="nearest")[:, 0].long()
        mask = thing_cells(labels, labels.shape[-1] // features.shape[-1], self._min_ratio)
        # Not distances[mask]: how many there are is known on the device alone.
        distances = torch.linalg.vector_norm(features - frozen, dim=1) * mask
        return part_of_mean(distances.sum() / total(mask.sum()).clamp(min=1))


def thing_cells(labels: Tensor, cell: int, min_ratio: float) -> Tensor:
    """bool[batch, height // cell, width // cell]: cells of `cell` pixels a side, of which the most frequent
    class in `labels` int64[batch, height, width] is a thing and takes at least `min_ratio`."""
    classes = constant((*range(len(CLASSES)), IGNORE), labels.dtype, labels.device)
    shares = functional.avg_pool2d((labels[:, None] == classes[:, None, None]).float(), cell)
    share, winner = shares.max(dim=1)
    is_thing = tuple(train_id in THING_TRAIN_IDS for train_id in range(len(CLASSES) + 1))
    return constant(is_thing, torch.bool, labels.device)[winner] & (share >= min_ratio)
