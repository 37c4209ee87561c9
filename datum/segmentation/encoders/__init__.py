"""The encoders of the segmentation network, by name, and their ImageNet weights."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from datum.errors import InputError
from datum.segmentation.encoders.mit import MIT_LAYERS, build_mit, from_segformer, mit_backbone, mit_channels

with warnings.catch_warnings():
    # mmcv warns of compiled operators that nothing here uses.
    warnings.filterwarnings("ignore", message="Fail to import")
    import mmseg.models.backbones.resnet  # noqa: F401  (registers ResNet)
    from mmseg.registry import MODELS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """An encoder of four feature maps, at 1/4, 1/8, 1/16 and 1/32 of the image's size."""

    channels: tuple[int, int, int, int]
    """Channels of the feature maps."""
    backbone: Mapping[str, Any]
    """The encoder in mmseg's registry, and its settings."""


ENCODERS: Mapping[str, Encoder] = {
    **{name: Encoder(channels=mit_channels(name), backbone=mit_backbone(name)) for name in MIT_LAYERS},
    # Torchvision's ResNet-18, and the same at half its width: it learns from random weights in minutes.
    "resnet-18": Encoder(channels=(64, 128, 256, 512), backbone={"type": "ResNet", "depth": 18}),
    "resnet-18-half": Encoder(
        channels=(32, 64, 128, 256),
        backbone={"type": "ResNet", "depth": 18, "stem_channels": 32, "base_channels": 32},
    ),
}
"""The encoders: SegFormer's MiT (SegFormer, table 6) and ResNet (He et al. 2016, table 1)."""


def build_encoder(name: str, drop_path_rate: float) -> nn.Module:
    """Encoder `name` with random weights: normalised images float32[B, 3, H, W] -> its four feature maps.

    `drop_path_rate` is the stochastic depth of MiT; ResNet has none. Raises `InputError` for an unknown
    name.
    """
    if name not in ENCODERS:
        raise InputError(f"encoder {name!r}: unknown, expected one of {', '.join(ENCODERS)}")
    backbone = ENCODERS[name].backbone
    if name in MIT_LAYERS:
        return build_mit(backbone, drop_path_rate)
    # With PyTorch's own random weights: the demo's settings were chosen with them.
    return MODELS.build(dict(backbone))


def load_pretrained(encoder: nn.Module, file: Path) -> None:
    """Loads ImageNet weights into an encoder, from a `.pth` or `.safetensors` file in mmseg's names; also
    SegFormer's official files for MiT, and torchvision's, which names ResNet as mmseg does.

    Raises `InputError` where the file is missing, unreadable or of another encoder.
    """
    state = _read_weights(file)
    if any(key.startswith("patch_embed1.") for key in state):
        state = from_segformer(state)
    expected = {
        # Older files lack batch norm's counter, which nothing reads.
        name: tensor
        for name, tensor in encoder.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    for name, tensor in expected.items():
        found = tuple(state[name].shape) if name in state else "nothing"
        if found != tuple(tensor.shape):
            raise InputError(
                f"adaptation.pretrained_encoder {file}: {name} is {found}, expected {tuple(tensor.shape)}; "
                "name a file of ImageNet weights of the encoder in use"
            )
    encoder.load_state_dict({name: state[name] for name in expected}, strict=False)


def _read_weights(file: Path) -> Mapping[str, Tensor]:
    if not file.is_file():
        raise InputError(f"adaptation.pretrained_encoder {file}: no such file")
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling a foreign file raises errors of any kind
        raise InputError(
            f"adaptation.pretrained_encoder {file}: {type(error).__name__} while reading it, expected "
            "weights in a .pth (PyTorch, without pickled code) or .safetensors file"
        ) from error
    return loaded.get("state_dict", loaded.get("model", loaded))
