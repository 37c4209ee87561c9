"""The median checkpoint of a report in Kubeflow's model registry, by its REST API.

A registered model stands for a benchmark, method and encoder; each run that reports adds a version, named by
the run's id, with one artifact: where the checkpoint lies, and its figures.
"""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from datum.errors import InputError, TemporaryFaultError, one_line, shortened, status_may_pass
from datum.formats.report_figures import read_figures
from datum.patience import persevere
from datum.telemetry import log

VERSIONS = ("v1alpha3", "v1")
"""Of the API: the server of April 2026 has the first, and the client 0.3.18 asks for the second; what is
asked here is the same in both."""

TIMEOUT = 30
"""Seconds that the registry may take to answer."""


def register_median(registry: str, report: Path, place: str, run_id: str) -> None:
    """Registers the median checkpoint of the report in the folder `report`, published at the URI `place`, in
    the registry at the URL `registry`; what is there already of this run is kept.

    Raises `InputError` where the registry refuses, and `TemporaryFaultError` where it stays out of reach.
    """
    figures = read_figures(report)
    median = figures["median_checkpoint"]
    about = {key: str(figures[key]) for key in ("benchmark", "data", "method", "encoder", "profile")}
    name = f"datum-{about['benchmark']}-{about['method']}-{about['encoder']}"
    api = _Api(registry)
    # A description would have to hold for every later version.
    model = api.get_or_create("registered_model", {"name": name})
    version = api.get_or_create(
        "model_version",
        {
            "name": run_id,
            "registeredModelId": model["id"],
            "description": f"Median seed {median['seed']} of run {run_id}: {median['miou']:.2f} mIoU",
            "customProperties": {
                **{key: _text(value) for key, value in about.items()},
                "miou": {"metadataType": "MetadataDoubleValue", "double_value": float(median["miou"])},
                "sha256": _text(median["sha256"]),
            },
        },
        parentResourceId=model["id"],
    )
    artifact = {
        "artifactType": "model-artifact",
        "name": name,  # by which Kubeflow's own client looks it up in a version
        "uri": f"{place}/{median['file']}",
        "modelFormatName": "safetensors",
        "modelSourceKind": "kfp",
        "modelSourceClass": "pipelinerun",
        "modelSourceId": run_id,
        "state": "LIVE",
    }
    if not api.find("model_artifact", name=artifact["name"], parentResourceId=version["id"]):
        api.post(f"model_versions/{version['id']}/artifacts", artifact)
    log(f"{registry}: {artifact['uri']} is version {run_id} of the registered model {name}")


def find_registry(registry: str) -> str:
    """Looks the registry at the URL `registry` up; raises as `register_median`."""
    return f"{_Api(registry).base}: answers"


class _NoSuchPathError(InputError):
    """The server knows no such path, which is another thing than a resource that is not there."""


class _Api:
    """What is asked of a registry, in the first of `VERSIONS` that it has."""

    def __init__(self, url: str) -> None:
        for version in VERSIONS:
            self.base = f"{url.rstrip('/')}/api/model_registry/{version}"
            try:
                self.find("registered_model", name="datum")
                return
            except _NoSuchPathError as error:
                missing = error
        raise missing

    def get_or_create(self, kind: str, wanted: Mapping[str, Any], **parent: str) -> dict[str, Any]:
        """The resource of this kind and name, as it is or as it is made."""
        return self.find(kind, name=wanted["name"], **parent) or self.post(f"{kind}s", wanted)

    def find(self, kind: str, **query: str) -> dict[str, Any]:
        """The one that fits, or nothing."""
        return self._ask("GET", f"{kind}?{urlencode(query)}")

    def post(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """What was made."""
        return self._ask("POST", path, json.dumps(content).encode())

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        url = f"{self.base}/{path}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)

        def attempt() -> dict[str, Any]:
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                    content = answer.read()
            except urllib.error.HTTPError as error:
                content = error.read(1000)
                if error.code == 404 and "message" in _object(content):  # any other page is no registry's
                    return {}
                said = one_line(shortened(content.decode(errors="replace").strip(), 200))
                if status_may_pass(error.code):
                    raise TemporaryFaultError(f"{url}: the registry answers {error.code} {said}") from None
                refused = _NoSuchPathError if error.code == 404 else InputError
                raise refused(
                    f"{url}: the model registry refuses with {error.code} {said}; check MODEL_REGISTRY"
                ) from None
            except (OSError, http.client.HTTPException) as error:
                raise TemporaryFaultError(f"{url}: the model registry cannot be reached ({error})") from None
            found = _object(content)
            if not found.get("id"):
                raise InputError(f"{url}: answers as no model registry does; check MODEL_REGISTRY")
            return found

        return persevere("model registry", attempt, of="registry")


def _object(content: bytes) -> dict[str, Any]:
    """The JSON object that `content` is; an empty one where it is none."""
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _text(value: str) -> dict[str, str]:
    return {"metadataType": "MetadataStringValue", "string_value": value}
