"""The form of a run: the fields that a person fills in the KFP UI, which are a pipeline's parameters."""

import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from kfp import dsl

from components.images import IMAGES, STAGES
from datum.config import DEMO, PAPER
from datum.methods import BENCHMARKS, DRAWN_BENCHMARK, ENCODERS_IN_WORDS, MAIN_METHODS
from datum.values import docstrings
from pipelines.form_defaults import FormDefaults, form_values
from pipelines.resources import Cluster


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of the form."""

    kind: type
    default: Any
    description: str


RUN_FIELDS: Mapping[str, Field] = {
    "benchmark": Field(str, DRAWN_BENCHMARK, f"{' or '.join(BENCHMARKS)}."),
    "overrides": Field(list, [], 'Settings that differ from the profile, such as ["generation.count=500"].'),
    "named_one_shots": Field(
        list,
        [],
        "One photograph a seed, below leftImg8bit/train of the target. Empty draws them by the seed.",
    ),
    "encoder": Field(str, PAPER.run.encoder, f"Encoder of the segmentation network: {ENCODERS_IN_WORDS}."),
    "pretrained_encoder": Field(
        str,
        "",
        "ImageNet weights of the encoder: an s3:// URI, a path, or `random` for random weights. Empty takes "
        "adaptation.pretrained_encoder.",
    ),
    "title": Field(str, "", "What the data are, for the report, where they are not the benchmark's own."),
    "method": Field(str, MAIN_METHODS[0], "Training method on the drawn images."),
    "resume_from": Field(str, "", "Id of an earlier run whose training this run goes on with."),
    "gpu_memory": Field(str, "32Gi", "Main memory of such a task."),
    "workspace": Field(str, "", "Folder of a run on one machine. Leave it empty on a cluster."),
}
"""Fields that change from run to run; an installation does not fill them."""

DATA_FIELDS = ("source", "target", "benchmark", "profile", "overrides", "workspace")
STORE_FIELDS = ("datasets", "store_endpoint", "store_secret")
DIFFUSION_FIELDS = ("method", "base_model", "hub_secret")

SMALL = {"profile": "demo", "encoder": DEMO.run.encoder, "gpu_count": "0", "gpu_memory": "3Gi"}
"""What the form holds for the demo's size where no installation says otherwise."""


def form_fields(
    cluster: Cluster | None,
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    stages: Sequence[str] = STAGES,
) -> dict[str, Field]:
    """The fields of a pipeline's form by name, `only` those named or all but those in `without`, with the
    images of `stages`, and with the defaults of `cluster`."""
    texts = docstrings(FormDefaults)
    fields = dict(RUN_FIELDS)
    for name, value in form_values(FormDefaults()).items():
        fields[name] = Field(type(value), value, texts[name])
    images = cluster.images if cluster else IMAGES
    defaults: dict[str, Any] = dict(SMALL) if cluster and cluster.profile == "demo" else {}
    if cluster and cluster.form:
        defaults |= form_values(cluster.form)
    fields |= {name: dataclasses.replace(fields[name], default=value) for name, value in defaults.items()}
    chosen = {
        name: field for name, field in fields.items() if name not in without and (not only or name in only)
    }
    return chosen | {
        f"{stage}_image": Field(str, images[stage], f"Image of {stage}, by digest (name@sha256:…).")
        for stage in stages
    }


def pipeline(
    name: str, description: str, fields: Mapping[str, Field], body: Callable[[SimpleNamespace], None]
) -> Any:
    """A kfp pipeline with `fields` as its inputs; `body` builds the tasks from their channels."""

    def build(*channels: Any) -> None:
        body(SimpleNamespace(**dict(zip(fields, channels))))

    # kfp reads the inputs from the signature and what the form says of them from the docstring.
    build.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=field.default, annotation=field.kind
            )
            for key, field in fields.items()
        ]
    )
    lines = [f"    {key}: {field.description}" for key, field in fields.items()]
    build.__doc__ = "\n".join([description, "", "Args:", *lines])
    return dsl.pipeline(name=name, description=description)(build)
