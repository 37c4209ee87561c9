"""Weights that others have published for the encoders: where they are, whose they are, and how to know them.

To add one: its row in `PUBLISHED_ENCODERS`. The license is that of the weights, not of the code.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """Weights of one encoder."""

    source: str
    """Where they are, as `datum.weight_sources` takes it."""
    license: str
    digest: str = ""
    """Beginning of the file's hexadecimal SHA-256; empty where nobody has stated it."""
    trained_on: str = "ImageNet-1k"


def _mit(size: int, digest: str) -> PublishedWeights:
    file = f"mit_b{size}_20220624-{digest}.pth"
    return PublishedWeights(
        source=f"https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/{file}",
        digest=digest,
        license="NVIDIA, non-commercial (SegFormer's)",
    )


def _dinov2(size: str) -> PublishedWeights:
    return PublishedWeights(
        source=f"hf://timm/vit_{size}_patch14_dinov2.lvd142m/model.safetensors",
        license="Apache-2.0",
        trained_on="LVD-142M",
    )


PUBLISHED_ENCODERS: Mapping[str, PublishedWeights] = {
    # OpenMMLab's and torchvision's files bear the first eight digits of their SHA-256 in their names.
    "mit-b0": _mit(0, "7e0fe6dd"),
    "mit-b1": _mit(1, "02e5a6a1"),
    "mit-b2": _mit(2, "66e8bf70"),
    "mit-b3": _mit(3, "13b1141c"),
    "mit-b4": _mit(4, "d588d980"),
    "mit-b5": _mit(5, "658746d9"),
    "resnet-101": PublishedWeights(
        source="https://download.openmmlab.com/pretrain/third_party/resnet101_v1c-e67eebb6.pth",
        digest="e67eebb6",
        license="Apache-2.0",
    ),
    "resnet-18": PublishedWeights(
        source="https://download.pytorch.org/models/resnet18-f37072fd.pth",
        digest="f37072fd",
        license="BSD-3-Clause",
    ),
    "dinov2-s": _dinov2("small"),
    "dinov2-b": _dinov2("base"),
    "dinov2-l": _dinov2("large"),
}
"""Encoder -> its weights (addresses: mmsegmentation's configurations, torchvision, timm)."""
