"""What an installation fills a run's form with.

`datum.cluster.settings.ClusterSettings` inherits these fields, so a line of settings.env is the default of
the field in the form; `form_values` is the one way there. The other fields of the form are in
`pipelines.form`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from datum.config import Profile
from datum.values import Least


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormDefaults:
    """The fields of the form that are the same for most runs of an installation; KFP shows the
    descriptions."""

    profile: Profile = "paper"
    """Set of settings: paper (a GPU), or demo (minutes on processors)."""
    source: str = ""
    """Labelled source data set (GTA or SYNTHIA): s3://bucket/folder, or a path below /data where a volume is
    mounted. Empty draws street scenes."""
    target: str = ""
    """Target data set in Cityscapes' layout, in the same forms. Its training labels are never read."""
    base_model: str = ""
    """Diffusion model: a hub id, an s3:// URI of a diffusers folder, or streetscenes. Empty takes the
    profile's."""
    datasets: str = "s3://mlpipeline/datum/datasets"
    """Where ingested data sets are kept."""
    state: str = "s3://mlpipeline/datum/state"
    """Where training keeps what it resumes from."""
    reports: str = "s3://mlpipeline/datum/reports"
    """Where reports are published, by run id."""
    store_endpoint: str = "http://seaweedfs.kubeflow:8333"
    """S3 endpoint that s3:// leads to, as pods see it."""
    store_secret: str = "mlpipeline-minio-artifact"
    """Secret with the keys accesskey and secretkey of that store."""
    hub_secret: str = "datum-hub"
    """Secret whose key `token` is a hub token. It may be absent."""
    gpu_type: str = "nvidia.com/gpu"
    """Resource name of the GPUs."""
    gpu_count: Annotated[int, Least(0)] = 1
    """GPUs a training, drawing or testing task; 0 runs on processors."""
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Labels of the nodes for such tasks."""
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """Tolerations of such tasks."""


def form_values(defaults: FormDefaults) -> dict[str, Any]:
    """The fields and their values, as KFP takes them.

    A number goes as text: KFP 2.17 takes a number of GPUs for an empty one, and the task would get none.
    """
    values = {field.name: getattr(defaults, field.name) for field in dataclasses.fields(FormDefaults)}
    return {name: _as_kfp_takes_it(value) for name, value in values.items()}


def _as_kfp_takes_it(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else str(value)
