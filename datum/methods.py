"""What can be trained, with which network, and on which data sets: one table each.

The command line, the settings, the pipelines' forms, the checks before a run and the report all read these.

* To add a method: a row in `METHODS`, and what it does in `datum/adaptation/`.
* To add an encoder: a row in `ENCODERS`; for a new family its file in `datum/segmentation/encoders/`, and a
  row in `_HEAD_OF_FAMILY`.
* To add a decode head: a row in `DECODE_HEADS`, and its file in `datum/segmentation/heads/`.
* To add a data set: its name in `DatasetName`, a row in `datum.layouts.LAYOUTS`, and one in `BENCHMARKS`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal

DatasetName = Literal["gta", "synthia", "cityscapes"]
"""Data sets; `datum.layouts` says where their files lie."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A way of training the segmentation network."""

    title: str
    """What the report calls it."""
    target: Literal["none", "generated", "one-shot"]
    """Images of the new place that it trains on: none, the drawn ones, or the one-shot image alone."""


METHODS: Mapping[str, Method] = {
    "source-only": Method(title="source-only", target="none"),
    "daformer": Method(title="DATUM + DAFormer", target="generated"),
    "one-image": Method(title="one-image", target="one-shot"),
}
"""Source labels alone; self-training on the drawn images; the same on the one-shot image alone.

Source-only is ours: it samples rare classes, jitters colors and keeps the feature distance, so that methods
differ in the target alone. DAFormer's source-only does none of these: its figures do not compare.
"""

METHODS_IN_WORDS = "source-only, self-training on the generated images, or on the one-shot image alone"

MAIN_METHODS = tuple(name for name, method in METHODS.items() if method.target == "generated")
"""Methods that train on drawn images; the others are baselines."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A labeled source data set and the real one that is adapted to."""

    title: str
    source: DatasetName
    target: DatasetName
    source_scale: tuple[int, int]
    """Source images are resized to fit within (width, height) pixels (reference:
    `configs/_base_/datasets`)."""
    classes: Literal["19", "16"]
    """Classes of the headline mIoU: those that the source has labels of."""


BENCHMARKS: Mapping[str, Benchmark] = {
    "gta-to-cityscapes": Benchmark(
        title="GTA → Cityscapes",
        source="gta",
        target="cityscapes",
        source_scale=(1280, 720),
        classes="19",
    ),
    "synthia-to-cityscapes": Benchmark(
        title="SYNTHIA → Cityscapes",
        source="synthia",
        target="cityscapes",
        source_scale=(1280, 760),
        classes="16",
    ),
}

STREET_SCALE = (1024, 512)
"""(width, height) that real target images are resized to fit within (reference: half of Cityscapes' size)."""

DRAWN_BENCHMARK = "gta-to-cityscapes"
"""Benchmark whose layouts street scenes are drawn in, where no data sets are given."""

ENCODERS: Mapping[str, str] = {
    **{f"mit-b{size}": "mit" for size in range(6)},
    "resnet-101": "resnet-v1c",
    **{"resnet-18": "resnet", "resnet-18-half": "resnet"},
}
"""Encoder -> its family, a module of `datum.segmentation.encoders`."""

ENCODERS_IN_WORDS = "mit-b0 to mit-b5, resnet-101, resnet-18"
"""What a person is offered; `resnet-18-half` is the demo's."""

DECODE_HEADS = ("daformer", "dlv2")
"""Decode heads; `datum.segmentation.heads` has their classes."""

_HEAD_OF_FAMILY: Mapping[str, str] = {"mit": "daformer", "resnet-v1c": "dlv2", "resnet": "daformer"}


def decode_head_of(encoder: str) -> str:
    """The decode head that `encoder`, a name of `ENCODERS`, is published with (ResNet-18: by our choice)."""
    return _HEAD_OF_FAMILY[ENCODERS[encoder]]
