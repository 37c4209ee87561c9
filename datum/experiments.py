"""The published experiments by name: what each trains, and the figure that it is to be measured by.

A name is a row of `_FAMILIES` and the suffix of a kind: `daformer-gta-mit-b5` trains on DATUM's drawn images,
`daformer-gta-mit-b5-uda` on all images of the target, and so on. The command line, the forms, the report and
README read `EXPERIMENTS`. Sizes are the profile's; what a user sets goes before what an experiment does.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from datum.config import Settings, load_settings, to_dict, without_influence
from datum.methods import METHODS, TargetImages
from datum.telemetry import log

BAND = 2.5
"""Points of mIoU below a published figure from which a run of ours counts as that figure: others who ran the
references came out up to so much below what is published."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """A published figure."""

    miou: float
    """Percent, over the benchmark's classes."""
    source: str
    """Where it is published."""
    reached: str = ""
    """What others got who ran the reference's code; empty where nobody said."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What the reference's training takes."""

    hours: float | None
    """Hours on the GPU named in `where`; None where nobody said."""
    memory: float
    """Memory of the GPU, in GB."""
    where: str
    """The GPU, and who says so."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment."""

    name: str
    benchmark: str
    method: str
    encoder: str
    target_images: TargetImages
    overrides: tuple[str, ...] = ()
    """Further settings, as `stage.key=value`."""
    published: Published | None = None
    """None where no figure is known to be published for it."""
    beside: str = ""
    """A figure of another recipe under the same conditions."""
    cost: Cost | None = None
    """None where it is unknown."""

    def settings(self) -> list[str]:
        """The experiment as overrides of a profile's settings."""
        return [
            f"run.benchmark={self.benchmark}",
            f"run.method={self.method}",
            f"run.encoder={self.encoder}",
            f"run.target_images={self.target_images}",
            *self.overrides,
        ]


_DAFORMER = "DAFormer (CVPR 2022)"

_DATUM = "up to 7.1 above one-shot methods before it (DATUM, CVPRW 2023); its table could not be read"

_GPU_11 = Cost(hours=16, memory=9.7, where="RTX 2080 Ti for DAFormer")

_GTA, _SYNTHIA = "gta-to-cityscapes", "synthia-to-cityscapes"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Kind:
    """What experiments of one family differ in: the images of the new place."""

    target_images: TargetImages
    method: str = ""
    """The method, where it is not the family's."""


_SELF_TRAINING: Mapping[str, _Kind] = {
    "": _Kind(target_images="generated"),
    "-one-image": _Kind(target_images="one-shot"),
    "-uda": _Kind(target_images="all"),
}
"""Suffix of a name -> what it means."""

_KINDS: Mapping[str, _Kind] = {
    **_SELF_TRAINING,
    "-source-only": _Kind(target_images="none", method="source-only"),
    "-source-only-reference": _Kind(target_images="none", method="source-only-reference"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Family:
    """Experiments that differ in the images of the new place alone."""

    benchmark: str
    encoder: str
    method: str = "daformer"
    overrides: tuple[str, ...] = ()
    target_overrides: tuple[str, ...] = ()
    """Those of its self-training alone."""
    cost: Cost | None = None
    """Of its self-training."""
    figures: Mapping[str, Published] = dataclasses.field(default_factory=dict)
    """By the suffix of a kind."""
    beside: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The same."""
    kinds: Mapping[str, _Kind] = dataclasses.field(default_factory=lambda: _KINDS)


def _dinov2(size: str, rein: float) -> _Family:
    """DATUM's images, and what stands beside them, with a DINOv2 encoder; `rein` is Rein's figure without any
    image of the new place."""
    # VFM-UDA's rates: 5e-5 times the root of the batch size, of which the encoder takes a tenth; no feature
    # distance, pseudo-labels from the mirror image too, a pass with masked tokens, a weak jitter of colors in
    # place of mmseg's distortion, and a source loss over labeled pixels. Crop and batch are those of the
    # profile, to compare with the other encoders; its own are 1024 and 8.
    overrides = (
        "adaptation.learning_rate=7.07e-6",
        "adaptation.head_learning_rate_factor=10",
        "adaptation.warmup_ratio=1e-3",
        "adaptation.feature_distance_weight=0",
        "adaptation.mirrored_pseudo_labels=true",
        "adaptation.weak_color_jitter=true",
        "adaptation.photometric_distortion=false",
        "adaptation.source_loss_over=labeled",
    )
    beside = f"Rein {rein} with this encoder (its own head and recipe)"
    return _Family(
        benchmark=_GTA,
        encoder=f"dinov2-{size}",
        overrides=overrides,
        target_overrides=("adaptation.masked_consistency=true", "adaptation.masking=token"),
        beside={"-source-only": beside},
    )


def _high_resolution() -> Mapping[str, _Family]:
    """HRDA's and MIC's."""
    hrda, mic = "HRDA (ECCV 2022)", "MIC (CVPR 2023)"
    figures = {
        "hrda-gta": Published(miou=73.8, source=hrda, reached="72.8 over 8 seeds"),
        "hrda-synthia": Published(miou=65.8, source=hrda),
        "mic-gta": Published(miou=75.9, source=mic, reached="70.2, 72.2, 74.7, 76.0; 72.5, 75.9"),
    }
    families: dict[str, _Family] = {}
    for source, benchmark in (("gta", _GTA), ("synthia", _SYNTHIA)):
        families[f"hrda-{source}-mit-b5"] = _Family(
            benchmark=benchmark,
            encoder="mit-b5",
            method="hrda",
            cost=Cost(hours=None, memory=22.5, where="HRDA"),
            figures={"-uda": figures[f"hrda-{source}"]},
        )
        families[f"mic-{source}-mit-b5"] = _Family(
            benchmark=benchmark,
            encoder="mit-b5",
            method="hrda",
            overrides=("adaptation.masked_consistency=true",),
            kinds=_SELF_TRAINING,
            cost=Cost(hours=None, memory=29, where="MIC by its users (15 GB without feature distance)"),
            figures={"-uda": figures["mic-gta"]} if source == "gta" else {},
        )
    return families


_FAMILIES: Mapping[str, _Family] = {
    "daformer-gta-mit-b5": _Family(
        benchmark=_GTA,
        encoder="mit-b5",
        cost=_GPU_11,
        figures={"-uda": Published(miou=68.3, source=_DAFORMER, reached="66.1, 66.2, 68.3")},
        beside={
            "": _DATUM,
            "-one-image": "IDM 56.7 (arXiv 2309.14241, encoder not stated)",
            "-source-only": "DAFormer for domain generalization 52.65",
        },
    ),
    "daformer-gta-resnet-101": _Family(
        benchmark=_GTA,
        encoder="resnet-101",
        beside={"": _DATUM, "-one-image": "ASM 44.5"},
    ),
    "daformer-synthia-mit-b5": _Family(
        benchmark=_SYNTHIA,
        encoder="mit-b5",
        cost=_GPU_11,
        figures={"-uda": Published(miou=60.9, source=_DAFORMER, reached="59.9")},
        beside={"": _DATUM, "-one-image": "IDM 55.4 (arXiv 2309.14241, encoder not stated)"},
    ),
    "daformer-synthia-resnet-101": _Family(benchmark=_SYNTHIA, encoder="resnet-101", beside={"": _DATUM}),
    **{
        f"dacs-{source}-{encoder}": _Family(
            benchmark=benchmark, encoder=encoder, method="dacs", kinds=_SELF_TRAINING
        )
        for source, benchmark in (("gta", _GTA), ("synthia", _SYNTHIA))
        for encoder in ("mit-b5", "resnet-101")
    },
    "dinov2-s-gta": _dinov2("s", 55.3),
    "dinov2-b-gta": _dinov2("b", 64.3),
    "dinov2-l-gta": _dinov2("l", 66.7),
    **_high_resolution(),
}


def _all() -> Iterator[Experiment]:
    for name, family in _FAMILIES.items():
        for suffix, kind in family.kinds.items():
            overrides = family.overrides
            if kind.target_images != "none":
                overrides += family.target_overrides
            elif family.method != "daformer":
                # In HRDA's network and sizes, where it stands beside HRDA.
                overrides += (f"run.beside={family.method}",)
            yield Experiment(
                name=f"{name}{suffix}",
                benchmark=family.benchmark,
                method=kind.method or family.method,
                encoder=family.encoder,
                target_images=kind.target_images,
                overrides=overrides,
                published=family.figures.get(suffix),
                beside=family.beside.get(suffix, ""),
                cost=None if kind.target_images == "none" else family.cost,
            )


EXPERIMENTS: Mapping[str, Experiment] = {experiment.name: experiment for experiment in _all()}
"""All experiments by name."""


ALL_IMAGES = "all target images"
"""In place of a baseline's name: the run's own method, on all images of the target."""


def run_settings(
    profile: str,
    *,
    method: str,
    overrides: Iterable[str],
    benchmark: str = "",
    encoder: str = "",
    baseline: str = "",
) -> Settings:
    """The settings of a run, or of one of its tasks, as the fields of its form say.

    `method` names a method or an experiment; `benchmark` and `encoder` are empty where the experiment or the
    profile decides; `baseline` names the method that is trained in place of the run's, on the images that are
    its own, or is `ALL_IMAGES`. Overrides go before an experiment, the fields before the overrides. An
    experiment starts from the published weights of its encoder, where neither the profile nor an override
    names what to start from. Raises `InputError` as `datum.config.load_settings` does.
    """
    experiment = EXPERIMENTS.get(method)
    given = [*(experiment.settings() if experiment else []), *overrides]
    fields = {"benchmark": benchmark, "encoder": encoder, "method": "" if experiment else method}
    given += [f"run.{name}={value}" for name, value in fields.items() if value]
    settings = load_settings(profile, given)
    if experiment and not (settings.adaptation.pretrained_encoder or settings.adaptation.initial_segmentor):
        given.append("adaptation.pretrained_encoder=published")
        settings = load_settings(profile, given)
    if not baseline:
        return settings
    if baseline == ALL_IMAGES:
        return load_settings(profile, [*given, "run.target_images=all"])
    given += [f"run.beside={settings.run.method}", f"run.method={baseline}"]
    given.append(f"run.target_images={METHODS[baseline].target}")
    if METHODS[baseline].target == "none":
        # It hides parts of target images.
        given.append("adaptation.masked_consistency=false")
    return load_settings(profile, given)


def experiment_of(name: str, profile: str, settings: Settings) -> str:
    """`name` where it is an experiment and `settings`, those of a run that named it, decide the result as its
    own do: all of training, of testing, and of what is trained; otherwise empty, and the log says why."""
    if name not in EXPERIMENTS:
        return ""
    expected, found = to_dict(load_settings(profile, EXPERIMENTS[name].settings())), to_dict(settings)
    run = {f"run.{key}" for key in ("benchmark", "method", "beside", "encoder", "target_images")}
    for stage in ("run", "generation", "personalization", "adaptation", "evaluation"):
        for key, value in found[stage].items():
            setting = f"{stage}.{key}"
            counts = setting in run if stage == "run" else setting not in without_influence()
            if counts and value != expected[stage][key]:
                log(
                    f"{setting}={value}: {name} has {expected[stage][key]}, so the report does not compare "
                    "this run with its published figure"
                )
                return ""
    return name
