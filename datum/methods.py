"""What can be trained, with which network, and on which data sets: one table each.

The command line, the settings, the pipelines' forms, the checks before a run and the report all read these.

* To add a method: a row in `METHODS` with the settings that it changes, and what these do in
  `datum/adaptation/`.
* To add an encoder: a row in `ENCODERS`; for a new family its file in `datum/segmentation/encoders/`, and a
  row in `_HEAD_OF_FAMILY`.
* To add a decode head: a row in `DECODE_HEADS`, and its file in `datum/segmentation/heads/`.
* To add a data set: its name in `DatasetName`, a row in `datum.layouts.LAYOUTS`, and one in `BENCHMARKS`.
* To add published one-shot images: a row in `ONE_SHOT_PROTOCOLS`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

DatasetName = Literal["gta", "synthia", "cityscapes"]
"""Data sets; `datum.layouts` says where their files lie."""

TargetImages = Literal["generated", "one-shot", "all", "none"]
"""Images of the new place that a training may see: those drawn from the photograph, the photograph alone, all
training images of the target data set without their labels (plain domain adaptation), or none."""


@dataclasses.dataclass(frozen=True)
class Times:
    """A change of a setting relative to the profile's value: each number of it times `factor`."""

    factor: int

    def of(self, value: Any) -> Any:
        """`value`, a number or several, times the factor."""
        return tuple(map(self.of, value)) if isinstance(value, tuple) else value * self.factor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A way of training the segmentation network: a recipe, apart from the images that it trains on."""

    title: str
    """What the report calls it."""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Setting, as `stage.key` -> its value in place of the profile's, or `Times` the profile's, so that a row
    holds for every profile. What a user sets goes before it (`datum.config.load_settings`)."""

    @property
    def target(self) -> TargetImages | None:
        """The only images of the new place that it can train on; None where it takes any but none."""
        return self.settings.get("run.target_images")


METHODS: Mapping[str, Method] = {
    "source-only": Method(title="source-only", settings={"run.target_images": "none"}),
    # DAFormer's own: `configs/_base_/datasets/gta_to_cityscapes_512x512.py`, and no UDA.
    "source-only-reference": Method(
        title="source-only, as DAFormer's",
        settings={
            "run.target_images": "none",
            "adaptation.rare_class_sampling": False,
            "adaptation.photometric_distortion": True,
            "adaptation.source_augmentation": False,
            "adaptation.feature_distance_weight": 0.0,
        },
    ),
    "daformer": Method(title="DAFormer"),
    # `configs/_base_/uda/dacs.py` of DAFormer, which trains and tests the rest as its own method.
    "dacs": Method(
        title="DACS",
        settings={
            "adaptation.rare_class_sampling": False,
            "adaptation.feature_distance_weight": 0.0,
            "adaptation.ema_alpha": 0.99,
            "adaptation.pseudo_ignore_top": 0,
            "adaptation.pseudo_ignore_bottom": 0,
        },
    ),
    # `configs/hrda/gtaHR2csHR_hrda.py` of HRDA: everything at twice the size.
    "hrda": Method(
        title="HRDA",
        settings={
            "adaptation.multi_resolution": True,
            "adaptation.resolution_factor": 2,
            "adaptation.crop": Times(2),
            "adaptation.rare_class_min_crop_ratio": 2.0,
            "adaptation.pseudo_margins_of": "image",
            "adaptation.pseudo_ignore_top": Times(2),
            "adaptation.pseudo_ignore_bottom": Times(2),
            "adaptation.pseudo_ignore_sides": Times(2),
            "evaluation.scale": Times(2),
            "evaluation.slide_crop": 1024,
        },
    ),
    "one-image": Method(title="one-image", settings={"run.target_images": "one-shot"}),
}
"""Training on source labels alone, in two ways; self-training with DAFormer's recipe, with that of DACS or of
HRDA, and with DAFormer's on the one-shot image alone.

`hrda` doubles drawn images too: 512x512 become 1024x1024, which its crop takes whole. HRDA's own pipeline
does so with them, as it resizes whatever it reads to fit within 2048x1024, and the margins of its mask are
the rows that DATUM's DAFormer experiments leave out of the drawings as well.

`source-only` is ours: it samples rare classes, jitters colors and keeps the feature distance, so that methods
differ in the target alone. `source-only-reference` does none of these and distorts colors as DAFormer's
does: published figures compare with it.
"""

METHODS_IN_WORDS = (
    "training on the source alone (source-only, or -reference: DAFormer's own), self-training by DAFormer's, "
    "DACS' or HRDA's recipe on the target images, or by DAFormer's on the one-shot image alone"
)

MAIN_METHODS = tuple(name for name, method in METHODS.items() if method.target is None)
"""Methods that train on drawn images."""

BASELINES = ("source-only", "one-image")
"""What a report shows beside them: the same training without drawn images."""


def title_of(method: str, target_images: TargetImages) -> str:
    """What the report calls a training by `method` on `target_images`; a method that is unknown here has its
    name for a title."""
    known = METHODS.get(method)
    title = known.title if known else method
    if known and known.target:
        return title
    forms = {"generated": f"DATUM + {title}", "one-shot": f"{title}, one-image", "none": title}
    return forms.get(target_images, f"{title}, all target images")


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneShotProtocol:
    """One-shot images that are published by name, and how often each is trained on."""

    images: tuple[str, ...]
    """Below `leftImg8bit/train` of Cityscapes."""
    repeats: int
    """Runs of each image that are published."""

    def named(self, seeds: int) -> list[str]:
        """The image of each of so many seeds: all in turn, then all again."""
        return [self.images[position % len(self.images)] for position in range(seeds)]


ONE_SHOT_PROTOCOLS: Mapping[str, OneShotProtocol] = {
    # SM-PPM (Wu et al., AAAI 2022).
    "sm-ppm": OneShotProtocol(
        images=tuple(f"aachen/aachen_{number:06d}_000019_leftImg8bit.png" for number in range(5)),
        repeats=5,
    ),
}

STREET_SCALE = (1024, 512)
"""(width, height) that real target images are resized to fit within (reference: half of Cityscapes' size)."""

ENCODERS: Mapping[str, str] = {
    **{f"mit-b{size}": "mit" for size in range(6)},
    "resnet-101": "resnet-v1c",
    **{f"dinov2-{size}": "dinov2" for size in "sbl"},
    **{"resnet-18": "resnet", "resnet-18-half": "resnet"},
}
"""Encoder -> its family, a module of `datum.segmentation.encoders`."""

ENCODERS_IN_WORDS = "mit-b0 to mit-b5, resnet-101, dinov2-s, -b and -l, resnet-18"
"""What a person is offered; `resnet-18-half` is the demo's."""

DECODE_HEADS = ("daformer", "dlv2", "vfm-uda")
"""Decode heads; `datum.segmentation.heads` has their classes."""

_HEAD_OF_FAMILY: Mapping[str, str] = {
    "mit": "daformer",
    "resnet-v1c": "dlv2",
    "dinov2": "vfm-uda",
    "resnet": "daformer",
}


def benchmark_title(name: str) -> str:
    """What reports call the benchmark `name`; the name itself where it is none of ours."""
    return BENCHMARKS[name].title if name in BENCHMARKS else name


def decode_head_of(encoder: str) -> str:
    """The decode head that `encoder`, a name of `ENCODERS`, is published with (ResNet-18: by our choice)."""
    return _HEAD_OF_FAMILY[ENCODERS[encoder]]
