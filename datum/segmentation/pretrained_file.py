"""What a training's encoder starts from: a file of ImageNet weights, or random weights where they are asked
for. Needs no PyTorch, so that a run can be checked in any image."""

from collections.abc import Mapping
from pathlib import Path

from datum.errors import InputError
from datum.methods import ENCODERS

RANDOM = "random"
"""Value of `adaptation.pretrained_encoder` that asks for random weights."""

SETTING = "adaptation.pretrained_encoder"

_SOURCES: Mapping[str, str] = {
    "mit": "nvidia/mit-b0 to -b5 on the hub, or what the README of github.com/NVlabs/SegFormer links",
    "resnet-v1c": "OpenMMLab's is download.openmmlab.com/pretrain/third_party/resnet101_v1c-e67eebb6.pth",
    "dinov2": "timm/vit_{small,base,large}_patch14_dinov2.lvd142m on the hub, or DINOv2's own files",
    "resnet": "torchvision's are at download.pytorch.org/models",
}
"""Where the weights of each family of encoders are published."""


def pretrained_file(encoder: str, text: str) -> Path | None:
    """The file that `adaptation.pretrained_encoder` names in `text`, None for random weights.

    Raises `InputError` where nothing is named: random weights must be asked for, as a training that was meant
    to start from ImageNet's would lose its result and not its time; and where there is no such file.
    """
    if text == RANDOM:
        return None
    if not text:
        raise InputError(
            f"{SETTING}: not given, expected a .pth or .safetensors file with ImageNet weights of {encoder} "
            f"({_SOURCES[ENCODERS[encoder]]}), or {RANDOM} for random weights"
        )
    file = Path(text)
    if not file.is_file():
        found = "is no file" if file.exists() else "no such file"
        raise InputError(f"{SETTING} {file}: {found}, expected ImageNet weights of {encoder}, or {RANDOM}")
    return file
