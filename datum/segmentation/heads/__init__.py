"""The decode heads of the segmentation network, a file per family.

To add one: its file here, a row in `HEADS`, one in `SCALE_ATTENTIONS`, and one in
`datum.methods.DECODE_HEADS`.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from datum.errors import InputError
from datum.methods import DECODE_HEADS
from datum.segmentation.heads.daformer import DAFormerHead, ScaleAttentionHead
from datum.segmentation.heads.dlv2 import DLV2Head
from datum.segmentation.heads.vfm_uda import VFMUDAHead

HEADS: Mapping[str, Callable[..., nn.Module]] = {
    "daformer": DAFormerHead,
    "dlv2": DLV2Head,
    "vfm-uda": VFMUDAHead,
}

SCALE_ATTENTIONS: Mapping[str, tuple[Callable[..., nn.Module], int]] = {
    "daformer": (ScaleAttentionHead, 4),
    "dlv2": (DLV2Head, 8),
    "vfm-uda": (VFMUDAHead, 4),
}
"""Decode head -> the attention that goes with it at two resolutions (HRDA), and the pixels of an image along
a cell of the head's logits. Cells of VFM-UDA's are 14/4.4 pixels; they are resampled to DAFormer's."""


def build_head(
    name: str, *, in_channels: Sequence[int], channels: int, num_classes: int, dropout_ratio: float
) -> nn.Module:
    """Decode head `name`: feature maps of `in_channels` -> logits of `num_classes`; raises `InputError` for
    an unknown name. `channels` is the head's own width, where it has one."""
    if name not in DECODE_HEADS:
        raise InputError(f"decode head {name!r}: unknown, expected one of {', '.join(DECODE_HEADS)}")
    return HEADS[name](
        in_channels=in_channels, channels=channels, num_classes=num_classes, dropout_ratio=dropout_ratio
    )


def build_scale_attention(
    name: str, *, in_channels: Sequence[int], channels: int, num_classes: int, dropout_ratio: float
) -> tuple[nn.Module, int]:
    """What goes with decode head `name` at two resolutions, see `SCALE_ATTENTIONS`. The attention is as wide
    as the head (reference: 256, both)."""
    build, stride = SCALE_ATTENTIONS[name]
    return build(in_channels, channels, num_classes, dropout_ratio), stride
