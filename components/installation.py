"""What an installation decides and the tasks of a run read themselves: one field of JSON in a run's form.

What KFP reads (images, secrets, GPUs, nodes) is compiled into the pipelines instead.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Literal

from datum.config import Profile
from datum.errors import InputError
from datum.values import did_you_mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Installation:
    """Where data, state and reports lie, and the set of settings; a run can change each of them."""

    profile: Profile = "paper"
    """Set of settings: paper (a GPU), or demo (minutes on processors)."""
    datasets: str = "s3://mlpipeline/datum/datasets"
    """Where ingested data sets are kept."""
    state: str = "s3://mlpipeline/datum/state"
    """Where training keeps what it resumes from."""
    keep_state: Literal["on-failure", "always"] = "on-failure"
    """Whose state stays: that of runs that wrote no report, or of every run."""
    reports: str = "s3://mlpipeline/datum/reports"
    """Where reports are published, by run id."""
    store_endpoint: str = "http://seaweedfs.kubeflow:8333"
    """S3 endpoint that s3:// leads to, as pods see it."""
    model_registry: str = ""
    """URL of a Kubeflow model registry without authentication, as pods see it, where each report registers
    its median checkpoint; empty registers none."""

    def as_json(self) -> dict[str, str]:
        """The values of these fields by name, also of a class that has more."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Installation)}


def on_one_machine(profile: str) -> dict[str, str]:
    """The JSON of a run on one machine, which reaches no store but what the environment names."""
    return {
        **dict.fromkeys(Installation().as_json(), ""),
        "profile": profile,
        "keep_state": Installation.keep_state,
    }


def on_gpus(gpu_count: int) -> list[str]:
    """The settings, before those of a run, by which a training uses all GPUs of its pod."""
    return [f"adaptation.processes={gpu_count}"] if gpu_count > 1 else []


def require_installation(where: str, given: Mapping[str, object]) -> None:
    """Raises `InputError` where `given`, of the form's field `where`, is not the JSON of an installation: a
    key is unknown or missing, or its value of another type."""
    known = [field.name for field in dataclasses.fields(Installation)]
    for key, value in given.items():
        if key not in known:
            raise InputError(f"{where}: found the key {key!r}; {did_you_mean(key, known, 'it has')}")
        if not isinstance(value, str):
            raise InputError(f"{where}: found {key}={value!r}, expected a text")
    if missing := [key for key in known if key not in given]:
        raise InputError(f"{where}: lacks {', '.join(missing)}; keep the keys whose values do not change")
    for key, kind in typing.get_type_hints(Installation).items():
        if typing.get_origin(kind) is Literal and given[key] not in (values := typing.get_args(kind)):
            raise InputError(f"{where}: found {key}={given[key]!r}, expected {' or '.join(values)}")


def require_plain(where: str, value: object) -> None:
    """Raises `InputError` for a value with `{{` in it, which Argo would take for one of its templates: it
    replaces it, or refuses the run."""
    match value:
        case str() if "{{" in value:
            raise InputError(f"{where}: found {value!r}, where Argo takes {{{{ for a template; leave it out")
        case Mapping():
            for key, item in value.items():
                require_plain(where, key)
                require_plain(where, item)
        case list() | tuple():
            for item in value:
                require_plain(where, item)
