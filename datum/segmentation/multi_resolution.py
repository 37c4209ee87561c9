"""HRDA: one network at two resolutions (Hoyer et al. 2022, section 3).

The halved image is the context; the full one, of which the network sees a square at a time, the detail.
Encoder and head are the same for both, and an attention of its own says for every class and cell how far the
detail counts. Training looks at one square that is drawn anew (`forward_in_box`), everything else at
overlapping windows that cover the image (`forward_by_windows`). DINOv2's patches have no whole number of
pixels, so that context and detail do not meet on them: its logits are first resampled to cells of four.

Source: `mmseg/models/segmentors/hrda_encoder_decoder.py` and `decode_heads/hrda_head.py` of HRDA.
"""

import dataclasses
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datum.segmentation.windows import Box, windows

BOX_STEP = 8
"""A box begins at a multiple of this many pixels (reference: `crop_coord_divisible`): a cell of the context's
logits, where they have a quarter of its size."""


class TwoScaleNetwork(Protocol):
    """What this module needs of a network."""

    head_stride: int
    """Pixels of an image along a cell of its logits, of those of DINOv2 once they are resampled."""

    def encode(self, images: Tensor) -> list[Tensor]:
        """Normalized images -> feature maps."""

    def decode(self, features: list[Tensor]) -> Tensor:
        """Feature maps -> logits."""

    def attend(self, features: list[Tensor]) -> Tensor:
        """Feature maps -> logits of the attention that each class pays to the detail."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InBox:
    """What the network makes of images and one box of them."""

    logits: Tensor
    """float32[batch, 19, height/stride, width/stride] of the whole images, without detail outside."""
    detail: Tensor
    """The detail's own logits of the box, float32[batch, 19, side/stride, side/stride]."""
    context: Tensor
    """The halved images."""
    features: list[Tensor]
    """Feature maps of these."""


def draw_corner(crop: int, rng: np.random.Generator) -> np.ndarray:
    """(top, left) of the box in a crop, multiples of `BOX_STEP`."""
    places = (crop - crop // 2 + 1) // BOX_STEP
    return np.array([rng.integers(places) * BOX_STEP for _ in range(2)])


def in_box(crops: Tensor, corner: Tensor) -> Tensor:
    """[..., crop, crop] -> [..., crop/2, crop/2], the box at `corner`."""
    rows, columns = _places(corner, crops.shape[-1] // 2)
    return crops[..., rows[:, None], columns]


def forward_in_box(network: TwoScaleNetwork, images: Tensor, corner: Tensor) -> InBox:
    """Normalized images float32[batch, 3, crop, crop] -> their logits, with detail alone in the box at
    `corner`, int64[2], (top, left). It is read on the device: what a GPU is told to do is the same wherever
    the box lies."""
    context = halved(images)
    box = in_box(images, corner)
    features, detail_features = network.encode(context), network.encode(box)
    side, stride = images.shape[-1] // 2, network.head_stride
    around_box = _in_cells(network.decode(features), context, stride)
    detail = _in_cells(network.decode(detail_features), box, stride)
    attention = torch.sigmoid(_in_cells(network.attend(features), context, stride))
    # On a grid coarser than the box's step the reference truncates.
    begin, end = corner // (2 * stride), (corner + side) // (2 * stride)
    cells = torch.arange(attention.shape[-1], device=corner.device)
    rows, columns = ((cells >= begin[axis]) & (cells < end[axis]) for axis in range(2))
    padded = detail.new_zeros(*detail.shape[:2], 2 * side // stride, 2 * side // stride)
    to_rows, to_columns = _places(corner // stride, side // stride)
    padded[..., to_rows[:, None], to_columns] = detail
    logits = _fused(around_box, padded, attention * (rows[:, None] & columns))
    return InBox(logits=logits, detail=detail, context=context, features=features)


def _places(corner: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of a square, int64[side] each."""
    along = torch.arange(side, device=corner.device)
    return corner[0] + along, corner[1] + along


def forward_by_windows(network: TwoScaleNetwork, images: Tensor, side: int) -> Tensor:
    """Normalized images float32[batch, 3, height, width] -> logits float32[batch, 19, height/stride,
    width/stride], with the detail of windows of `side` pixels that overlap by half, averaged and all in one
    batch. Sides that are no multiple of twice the stride are first stretched to the next one, where the
    reference fails."""
    images = _stretched(images, 2 * network.head_stride)
    boxes = windows(images.shape[2:], side, side // 2)
    small, looked_at = halved(images), torch.cat([images[..., rows, columns] for rows, columns in boxes])
    features, detail_features = network.encode(small), network.encode(looked_at)
    stride = network.head_stride
    context = _in_cells(network.decode(features), small, stride)
    parts = _in_cells(network.decode(detail_features), looked_at, stride)
    attention = torch.sigmoid(_in_cells(network.attend(features), small, stride))
    detail = context.new_zeros(*context.shape[:2], *_cells(images, stride))
    count = detail.new_zeros(detail.shape[2:])
    for part, box in zip(parts.chunk(len(boxes)), boxes):
        rows, columns = _scaled(box, stride)
        detail[..., rows, columns] += part
        count[rows, columns] += 1
    return _fused(context, detail / count, attention)


def halved(images: Tensor) -> Tensor:
    """Images at half their size, bilinear: the context."""
    return functional.interpolate(images, scale_factor=0.5, mode="bilinear", align_corners=False)


def _in_cells(logits: Tensor, images: Tensor, stride: int) -> Tensor:
    """The logits of `images`, a cell for every `stride` pixels a side; most networks give them so."""
    cells = _cells(images, stride)
    if list(logits.shape[2:]) == cells:
        return logits
    return functional.interpolate(logits, size=cells, mode="bilinear", align_corners=False)


def _cells(images: Tensor, stride: int) -> list[int]:
    return [length // stride for length in images.shape[2:]]


def _fused(context: Tensor, detail: Tensor, attention: Tensor) -> Tensor:
    """Logits of both scales, at the detail's size: each class takes the detail's as far as `attention`
    float32[batch, classes, height, width], on the context's grid, says."""
    rest, attention = (
        functional.interpolate(part, size=detail.shape[2:], mode="bilinear", align_corners=False)
        for part in ((1 - attention) * context, attention)
    )
    return attention * detail + rest


def _scaled(box: Box, factor: int) -> Box:
    rows, columns = (slice(part.start // factor, part.stop // factor) for part in box)
    return rows, columns


def _stretched(images: Tensor, multiple: int) -> Tensor:
    size = [-(-length // multiple) * multiple for length in images.shape[2:]]
    if size == list(images.shape[2:]):
        return images
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
