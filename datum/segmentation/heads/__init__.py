"""The decode heads of the segmentation network, a file per family.

To add one: its file here, a row in `HEADS`, and one in `datum.methods.DECODE_HEADS`.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from datum.errors import InputError
from datum.methods import DECODE_HEADS
from datum.segmentation.heads.daformer import DAFormerHead
from datum.segmentation.heads.dlv2 import DLV2Head
from datum.segmentation.heads.vfm_uda import VFMUDAHead

HEADS: Mapping[str, Callable[..., nn.Module]] = {
    "daformer": DAFormerHead,
    "dlv2": DLV2Head,
    "vfm-uda": VFMUDAHead,
}


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
