"""Settings of an installation on a cluster: one `settings.env` an overlay.

The file is read by kustomize (which puts namespace and names into the manifests), by the Makefile and by the
`datum` command, so that each value stands in one place. Lines are `KEY=VALUE`; `#` starts a comment line.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from datum.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Where runs happen, which images they use, and what a run's form is filled with."""

    overlay: Literal["default", "minio", "kind"] = "default"
    """Overlay in `manifests/overlays` that `make deploy` applies."""
    namespace: str = "kubeflow"
    """Namespace that runs live in: KFP's own where KFP is installed standalone, a profile's where it is
    multi-user."""
    kfp_namespace: str = "kubeflow"
    """Namespace that KFP is installed in."""
    kfp_host: str = ""
    """URL of the KFP API, such as http://localhost:8888; empty goes through the Kubernetes API's proxy."""
    service_account: str = "datum-runner"
    """Service account of the tasks."""
    registry: str = ""
    """Registry and path that images are pushed to and pulled from, such as registry.example.org/team; empty
    names images that the nodes already hold (kind)."""
    tag: str = "0.1.0"
    """Tag that images are built with."""
    store_endpoint: str = "http://seaweedfs.kubeflow:8333"
    """S3 endpoint of data sets and resumable state, as pods see it. KFP's own store by default."""
    store_secret: str = "mlpipeline-minio-artifact"
    """Secret with the keys `accesskey` and `secretkey` of that store. KFP's own by default."""
    datasets: str = "s3://mlpipeline/datum/datasets"
    """Where ingested data sets are kept."""
    state: str = "s3://mlpipeline/datum/state"
    """Where training keeps what it resumes from."""
    reports: str = "s3://mlpipeline/datum/reports"
    """Where each run leaves its report and median checkpoint, in a folder named by the run's id."""
    pipeline_root: str = ""
    """Where KFP keeps artifacts, such as minio://bucket/folder; empty takes KFP's default."""
    hub_secret: str = "datum-hub"
    """Secret whose key `token` is a Hugging Face token. Optional: it may be absent."""
    experiment: str = "datum"
    """KFP experiment that runs are listed under."""
    profile: Literal["demo", "paper"] = "paper"
    """Profile of stage settings that runs are filled with."""
    source: str = ""
    """URI of the labelled source data set: s3://bucket/folder, or a path of the mounted volume. Empty draws
    street scenes."""
    target: str = ""
    """URI of the target data set in Cityscapes' layout; the same forms as `source`."""
    base_model: str = ""
    """Hub id, s3:// URI or packaged name of the diffusion model; empty takes the profile's."""
    gpu_type: str = "nvidia.com/gpu"
    """Resource name of the GPUs that tasks ask for."""
    gpu_count: int = 1
    """GPUs a training or drawing task asks for; 0 runs on processors."""
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Labels, as a JSON object, of the nodes that GPU tasks run on."""
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """Tolerations of GPU tasks, as a JSON list."""
    data_volume: str = ""
    """PersistentVolumeClaim with data sets, mounted read-only at /data; empty mounts none."""
    schedule: Literal["", "weekly", "monthly"] = ""
    """How often `make deploy` has the reproduction repeated; empty: not at all."""


def load_cluster_settings(file: Path | None = None, overrides: Iterable[str] = ()) -> ClusterSettings:
    """The settings in `file`, or the defaults, with `key=value` overrides.

    Raises `InputError` for a file that is not there, a line that is no KEY=VALUE, an unknown key and a value
    of the wrong type.
    """
    values: dict[str, Any] = {}
    if file:
        for number, line in enumerate(_lines(file), start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                _take(values, line, f"{file}:{number}")
    for override in overrides:
        _take(values, override, f"--set {override}")
    return ClusterSettings(**values)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(
            f"--settings {file}: cannot be read ({error.strerror}); name an overlay's settings.env"
        ) from None


def _take(values: dict[str, Any], line: str, where: str) -> None:
    """Adds the setting of one `KEY=VALUE` line to `values`."""
    key, separator, text = line.strip().partition("=")
    if not separator:
        raise InputError(f"{where}: found {line.strip()!r}, expected KEY=VALUE")
    fields = typing.get_type_hints(ClusterSettings)
    name = key.lower()
    if name not in fields:
        close = difflib.get_close_matches(name, fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(fields)}"
        raise InputError(f"{where}: unknown setting {key!r}; {hint}")
    try:
        values[name] = _cast(text, fields[name])
    except ValueError:
        raise InputError(f"{where}: found {text!r}, expected {_expected(fields[name])}") from None


def _cast(text: str, expected: Any) -> Any:
    """`text` as type `expected`; raises ValueError where it does not fit."""
    if expected is str:
        return text
    if expected is int:
        number = int(text)
        if number < 0:
            raise ValueError(text)
        return number
    if typing.get_origin(expected) is Literal:
        if text not in typing.get_args(expected):
            raise ValueError(text)
        return text
    value = json.loads(text)
    if typing.get_origin(expected) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise ValueError(text)
        return tuple(value)
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError(text)
    return value


def _expected(expected: Any) -> str:
    if typing.get_origin(expected) is Literal:
        return "one of " + ", ".join(repr(value) for value in typing.get_args(expected))
    if expected is int:
        return "a whole number from 0"
    if typing.get_origin(expected) is tuple:
        return "a JSON list of objects"
    return "a JSON object of strings"
