"""The parameters of the pipelines: the form that a person fills in the KFP UI.

Each parameter stands here once, with its type, default and description; a pipeline names those it has.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from kfp import dsl

from components.images import IMAGES, STAGES
from datum.config import DEMO
from pipelines.resources import Cluster


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One field of the form."""

    kind: type
    default: Any
    description: str


DATA: Mapping[str, Parameter] = {
    "source": Parameter(
        str,
        "",
        "Labelled source data set (GTA or SYNTHIA): s3://bucket/folder, or a path below /data where a volume "
        "is mounted. Empty draws street scenes.",
    ),
    "target": Parameter(
        str,
        "",
        "Target data set in Cityscapes' layout, in the same forms. Its training labels are never read.",
    ),
    "benchmark": Parameter(str, "gta-to-cityscapes", "gta-to-cityscapes or synthia-to-cityscapes."),
    "profile": Parameter(str, "paper", "Set of settings: paper (a GPU), or demo (minutes on processors)."),
    "overrides": Parameter(
        list, [], 'Settings that differ from the profile, such as ["generation.count=500"].'
    ),
}
"""What a pipeline works on."""

METHOD: Mapping[str, Parameter] = {
    "named_one_shots": Parameter(
        list,
        [],
        "One photograph a seed, below leftImg8bit/train of the target. Empty draws them by the seed.",
    ),
    "encoder": Parameter(str, "mit-b5", "Encoder of the segmentation network: mit-b0 to mit-b5, resnet-18."),
    "pretrained_encoder": Parameter(
        str, "", "ImageNet weights of the encoder: an s3:// URI or a path. Empty starts from random weights."
    ),
    "title": Parameter(str, "", "What the data are, for the report, where they are not the benchmark's own."),
}
"""How a network is trained."""

DIFFUSION: Mapping[str, Parameter] = {
    "method": Parameter(str, "daformer", "Training method on the drawn images."),
    "base_model": Parameter(
        str,
        "",
        "Diffusion model: a hub id, an s3:// URI of a diffusers folder, or streetscenes. Empty takes the "
        "profile's.",
    ),
}
"""What draws the images of the new place."""

STORE: Mapping[str, Parameter] = {
    "datasets": Parameter(str, "s3://mlpipeline/datum/datasets", "Where ingested data sets are kept."),
    "store_endpoint": Parameter(
        str, "http://seaweedfs.kubeflow:8333", "S3 endpoint that s3:// leads to, as pods see it."
    ),
    "store_secret": Parameter(
        str, "mlpipeline-minio-artifact", "Secret with the keys accesskey and secretkey of that store."
    ),
}
"""Where data come from."""

STATE: Mapping[str, Parameter] = {
    "state": Parameter(str, "s3://mlpipeline/datum/state", "Where training keeps what it resumes from."),
    "resume_from": Parameter(str, "", "Id of an earlier run whose training this run goes on with."),
    "reports": Parameter(str, "s3://mlpipeline/datum/reports", "Where reports are published, by run id."),
}
"""What outlives a task and a run."""

HUB: Mapping[str, Parameter] = {
    "hub_secret": Parameter(str, "datum-hub", "Secret whose key `token` is a hub token. It may be absent."),
}
"""Access to models on the hub."""

GPU: Mapping[str, Parameter] = {
    "gpu_type": Parameter(str, "nvidia.com/gpu", "Resource name of the GPUs."),
    # A text: KFP 2.17 takes a number for an empty one here, and the task would get no GPU.
    "gpu_count": Parameter(str, "1", "GPUs a training, drawing or testing task; 0 runs on processors."),
    "gpu_memory": Parameter(str, "32Gi", "Main memory of such a task."),
    "node_selector": Parameter(dict, {}, "Labels of the nodes for such tasks."),
    "tolerations": Parameter(list, [], "Tolerations of such tasks."),
}
"""What GPU tasks ask for."""

WORKSPACE: Mapping[str, Parameter] = {
    "workspace": Parameter(str, "", "Folder of a run on one machine. Leave it empty on a cluster."),
}
"""Running without a cluster."""


def images(defaults: Mapping[str, str], stages: Sequence[str] = STAGES) -> dict[str, Parameter]:
    """The parameters `<stage>_image`, with the images that the pipeline is compiled with."""
    return {
        f"{stage}_image": Parameter(str, defaults[stage], f"Image of {stage}, by digest (name@sha256:…).")
        for stage in stages
    }


def training_parameters(cluster: Cluster | None, stages: Sequence[str] = STAGES) -> dict[str, Parameter]:
    """All parameters of a pipeline that trains, in the order of the form, with the defaults of `cluster`."""
    named = images(cluster.images if cluster else IMAGES, stages)
    parameters = {**DATA, **METHOD, **DIFFUSION, **STORE, **STATE, **HUB, **GPU, **named, **WORKSPACE}
    smaller = {"profile": "demo", "encoder": DEMO.run.encoder, "gpu_count": "0", "gpu_memory": "3Gi"}
    if cluster and cluster.profile == "demo":
        parameters = with_defaults(parameters, smaller)
    return with_defaults(parameters, cluster.defaults if cluster else {})


def with_defaults(parameters: Mapping[str, Parameter], defaults: Mapping[str, Any]) -> dict[str, Parameter]:
    """`parameters` with other defaults; those of a name that is no parameter are passed over."""
    changed = dict(parameters)
    for name, value in defaults.items():
        if name in changed:
            changed[name] = dataclasses.replace(changed[name], default=changed[name].kind(value))
    return changed


def pipeline(
    name: str,
    description: str,
    parameters: Mapping[str, Parameter],
    body: Callable[[SimpleNamespace], None],
) -> Any:
    """A kfp pipeline with `parameters` as its inputs; `body` builds the tasks from their channels."""

    def build(*channels: Any) -> None:
        body(SimpleNamespace(**dict(zip(parameters, channels))))

    # kfp reads the inputs from the signature and what the form says of them from the docstring.
    build.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                key,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=parameter.default,
                annotation=parameter.kind,
            )
            for key, parameter in parameters.items()
        ]
    )
    lines = [f"    {key}: {parameter.description}" for key, parameter in parameters.items()]
    build.__doc__ = "\n".join([description, "", "Args:", *lines])
    return dsl.pipeline(name=name, description=description)(build)
