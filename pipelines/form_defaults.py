"""What an installation decides of the pipelines: what the form of a run is filled with, and what is compiled
in.

`datum.cluster.settings.ClusterSettings` inherits these fields, so each is a line of settings.env;
`form_values` is the one way to the form, whose other fields are in `pipelines.form`.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from components.installation import Installation
from datum.values import Least

COMPILED_IN = "Compiled in: "
"""Begins the line of a pipeline's description that says what `compiled_in` does."""

INSTALLATION = "run_installation"
"""Field of the form with what `components.installation` says."""

RESUME_FROM = "run_resume_from"
"""Field of the form with the ids of the runs that a run goes on from, with commas between them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormDefaults(Installation):
    """What is the same for most runs of an installation, or for all."""

    source: str = ""
    """Labelled source data set (GTA or SYNTHIA): s3://bucket/folder, or a path below /data where a volume is
    mounted. Empty draws street scenes."""
    target: str = ""
    """Target data set in Cityscapes' layout, in the same forms. Its training labels are never read."""
    base_model: str = ""
    """Diffusion model: a hub id, an s3:// URI of a diffusers folder, or streetscenes. Empty takes the
    profile's."""
    encoder_weights: str = ""
    """ImageNet weights of the encoder: an s3:// URI or a path below /data, or `random` for random weights;
    where tasks reach the internet also `published`, an https:// URL or hf://owner/name@revision/file. Empty
    leaves it to each run: an experiment takes the published ones, and the paper profile else begins with none
    named only where the network starts from a trained one."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Seeds of the reproduction, the training and the baselines, each with a photograph of its own; the
    ablation takes the first."""
    store_secret: str = "mlpipeline-minio-artifact"
    """Secret with the keys accesskey and secretkey of that store."""
    hub_secret: str = "datum-hub"
    """Secret whose key `token` is a hub token. It may be absent."""
    webhook_secret: str = ""
    """Secret whose key `url` is a webhook that takes JSON with a `text`, as Slack's and Mattermost's do:
    tasks tell it why they failed, and the report what it found. It may be absent; empty tells nobody."""
    monitoring: Literal["on", "off"] = "off"
    """Whether tasks serve metrics, and the alerts, the dashboard and what Prometheus needs to reach the tasks
    are applied; on needs the Prometheus operator in the cluster."""
    pushgateway: str = ""
    """URL of a Pushgateway, as pods see it, where each task leaves its last values, and which Prometheus
    scrapes with honor_labels. Empty: none, so that alerts of what has ended stay silent."""
    gpu_type: str = "nvidia.com/gpu"
    """Resource name of the GPUs."""
    gpu_count: Annotated[int, Least(0)] = 1
    """GPUs of a training, whose batches they share evenly; a task that draws or tests has one of them. 0 runs
    all on processors."""
    gpu_memory: str = ""
    """Main memory of such a task, such as 64Gi; empty takes 32Gi, or 3Gi for the demo profile."""
    scratch_class: str = ""
    """StorageClass of a volume a pod for /scratch, which reserves its size; empty takes the node's disk,
    which nothing reserves. Its volumes must be writable to uid 10001: KFP sets no fsGroup."""
    data_cache: str = ""
    """PersistentVolumeClaim (ReadWriteMany, writable to uid 10001) in which trainings and tests keep the data
    sets that they fetch, for one another; empty has each fetch its own."""
    pod_labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Further labels of the tasks' pods, such as {"kueue.x-k8s.io/queue-name": "team"}."""
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Labels of the nodes for such tasks."""
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """Tolerations of such tasks."""


def form_values(defaults: FormDefaults) -> dict[str, Any]:
    """What the form is filled with, by the names of its fields."""
    return {
        "data_source": defaults.source,
        "data_target": defaults.target,
        "method_base_model": defaults.base_model,
        "method_encoder_weights": defaults.encoder_weights,
        INSTALLATION: defaults.as_json(),
    }


def compiled_in(defaults: FormDefaults) -> dict[str, Any]:
    """What is compiled into the pipelines, by the names of the settings, as JSON has it."""
    elsewhere = {"source", "target", "base_model", "encoder_weights", *defaults.as_json()}
    names = [field.name for field in dataclasses.fields(FormDefaults) if field.name not in elsewhere]
    values: dict[str, Any] = json.loads(json.dumps({name: getattr(defaults, name) for name in names}))
    return values
