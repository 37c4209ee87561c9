"""The encoders of the segmentation network, a file per family.

To add an encoder: a row in `datum.methods.ENCODERS`; for a new family a file here with `CELL`,
`channels`, `build`, `in_our_names` and `layout`, and its row in `FAMILIES`.
"""

from collections.abc import Mapping
from types import ModuleType

from torch import nn

from datum.errors import InputError
from datum.methods import ENCODERS
from datum.segmentation.encoders import dinov2, mit, resnet, resnet_v1c

FAMILIES: Mapping[str, ModuleType] = {
    "mit": mit,
    "resnet-v1c": resnet_v1c,
    "dinov2": dinov2,
    "resnet": resnet,
}


def encoder_channels(name: str) -> tuple[int, int, int, int]:
    """Channels of the four feature maps of encoder `name`, the largest first."""
    return family(name).channels(name)


def build_encoder(name: str, drop_path_rate: float, *, mask_token: bool = False) -> nn.Module:
    """Encoder `name` with random weights: normalized images float32[batch, 3, height, width] -> its four
    feature maps, the largest first.

    `drop_path_rate` is the stochastic depth of MiT; the others have none. `mask_token` gives one to DINOv2,
    which alone takes it. Raises `InputError` for an unknown name.
    """
    encoder = family(name).build(name, drop_path_rate)
    if mask_token:
        encoder.add_mask_token()
    return encoder


def seen_size(name: str, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) at which encoder `name` sees images of `size`: DINOv2 resizes them to whole patches."""
    return dinov2.size_in_patches(size) if ENCODERS[name] == "dinov2" else size


def family(name: str) -> ModuleType:
    """The module of encoder `name`; raises `InputError` for an unknown one."""
    if name not in ENCODERS:
        raise InputError(f"encoder {name!r}: unknown, expected one of {', '.join(ENCODERS)}")
    return FAMILIES[ENCODERS[name]]
