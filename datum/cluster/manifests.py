"""The manifests of an installation: an overlay, put together by kustomize, with the settings filled in.

Kustomize composes: base, overlay, and whatever patches an installation adds to its overlay. What stands in
the files as `${NAME}` is filled in here, since kustomize's own replacements differ from release to release:
5.7.1, of kubectl 1.34, passes over a label's key without a word. A name that is not known here is refused, so
what was not filled in never reaches a cluster.
"""

import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import yaml

from datum.cluster.network import (
    api_rules,
    dns_rules,
    model_registry_rules,
    pushgateway_rules,
    store_rules,
    webhook_rules,
)
from datum.cluster.rhythm import Rhythm
from datum.cluster.settings import ClusterSettings, in_cluster_service
from datum.errors import InputError
from datum.values import did_you_mean

PART_OF = "app.kubernetes.io/part-of"
"""Label of every resource of ours; its value is `datum`."""

MONITORING = ("app.kubernetes.io/component", "monitoring")
"""Label of what is applied where `monitoring` is on."""

SELECTED = ("PodMonitor", "PrometheusRule")
"""Kinds that a Prometheus selects by labels of its own choice."""

LOOKED_AHEAD = 60
"""Coming reproductions whose longest pause counts."""

DAY = 86_400
"""Seconds."""

Resource = dict[str, Any]

_PLACE = re.compile(r"\$\{([^}]*)\}")


def render_manifests(settings: ClusterSettings, overlay: Path) -> list[Resource]:
    """Every resource of the overlay in the folder `overlay`, with the values of `settings`."""
    values = _values(settings)
    resources = [
        _filled(resource, values, f"{resource['kind']} {resource['metadata']['name']}")
        for resource in _composed(overlay)
        if settings.network_policies == "on" or resource["kind"] != "NetworkPolicy"
        if settings.monitoring == "on" or MONITORING not in resource["metadata"].get("labels", {}).items()
    ]
    for selected in (item for item in resources if item["kind"] in SELECTED):
        selected["metadata"]["labels"].update(settings.monitoring_labels)
    for account in (item for item in resources if item["kind"] == "ServiceAccount"):
        if settings.image_pull_secret:
            account["imagePullSecrets"] = [{"name": settings.image_pull_secret}]
    return resources


def write_manifests(settings: ClusterSettings, overlay: Path, output: Path) -> None:
    """Writes the overlay's resources for `make deploy` and for GitOps into the folder `output`.

    `resources.yaml` holds what is ours, `namespace.yaml` the namespace of an own store, if there is one, and
    `kustomization.yaml` names both. `patch.yaml` is a merge patch of what belongs to KFP, of one key: it is
    not to be applied as a whole, and so `kustomization.yaml` does not name it.
    """
    resources = render_manifests(settings, overlay)
    ours = [item for item in resources if item["metadata"].get("labels", {}).get(PART_OF) == "datum"]
    namespaces = [item for item in resources if item["kind"] == "Namespace"]
    others = [item for item in resources if item not in ours and item not in namespaces]
    files = {"namespace.yaml": namespaces, "resources.yaml": ours, "patch.yaml": others}
    named = [name for name, content in files.items() if content and content is not others]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": named,
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, content in (files | {"kustomization.yaml": [kustomization]}).items():
        if content:
            text = yaml.safe_dump_all(content, sort_keys=False, width=110)
            (output / name).write_text(text, encoding="utf-8")
        else:
            (output / name).unlink(missing_ok=True)


def _composed(overlay: Path) -> list[Resource]:
    """The overlay as kustomize puts it together, of the kubectl that is on the path."""
    beside = str(Path(sys.executable).parent)
    kubectl = shutil.which("kubectl") or shutil.which("kubectl", path=beside)
    if kubectl is None:
        raise InputError("kubectl: not found on the path, expected 1.30 or newer; install it")
    if not (overlay / "kustomization.yaml").is_file():
        raise InputError(f"{overlay}: found no kustomization.yaml, expected an overlay of manifests/overlays")
    run = subprocess.run([kubectl, "kustomize", str(overlay)], capture_output=True, text=True)
    if run.returncode:
        fault = (run.stderr.strip() or "no reason given").splitlines()[-1]
        raise InputError(f"{overlay}: `kubectl kustomize` fails: {fault}; correct the overlay")
    return [document for document in yaml.safe_load_all(run.stdout) if document]


def _filled(value: Any, values: Mapping[str, Any], where: str) -> Any:
    """`value` with what `values` has for every `${NAME}`; a text that is nothing else takes any type."""
    if isinstance(value, dict):
        return {key: _filled(item, values, f"{where}, {key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values, where) for item in value]
    if not isinstance(value, str):
        return value
    for name in _PLACE.findall(value):
        if name not in values:
            raise InputError(f"{where}: found ${{{name}}}; {did_you_mean(name, values)}")
        if values[name] == "":
            raise InputError(f"{where}: found nothing for ${{{name}}}, expected a value in settings.env")
    if whole := _PLACE.fullmatch(value):
        return values[whole[1]]
    return _PLACE.sub(lambda place: str(values[place[1]]), value)


def _overdue(settings: ClusterSettings) -> str:
    """Seconds after a scheduled reproduction at which the next one is overdue: the longest pause of the
    coming ones, and a day for its own work. Never, where none is scheduled."""
    if not settings.schedule:
        return "+Inf"
    zone = ZoneInfo("UTC")
    times = list(
        itertools.islice(Rhythm.parse(settings.schedule).times(datetime.now(UTC), zone), LOOKED_AHEAD)
    )
    pauses = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(times)]
    return str(round(max(pauses, default=366 * DAY) + DAY))


def _values(settings: ClusterSettings) -> Mapping[str, Any]:
    """What the names in the manifests stand for."""
    service = in_cluster_service(settings)
    return {
        "NAMESPACE": settings.namespace,
        "KFP_NAMESPACE": settings.kfp_namespace,
        "SERVICE_ACCOUNT": settings.service_account,
        "STORE_ENDPOINT": settings.store_endpoint,
        "STORE_SECRET": settings.store_secret,
        "STORE_NAMESPACE": service.namespace if service else "",
        "BUCKET": urlsplit(settings.pipeline_root).netloc,
        "SECRETS": list(dict.fromkeys((settings.store_secret, settings.artifact_secret))),
        "KFP_SERVER_LABELS": dict(settings.kfp_server_labels),
        "KFP_METADATA_LABELS": dict(settings.kfp_metadata_labels),
        "DNS_RULES": dns_rules(settings),
        "API_RULES": api_rules(settings),
        "STORE_RULES": store_rules(settings),
        "MODEL_REGISTRY_RULES": model_registry_rules(settings),
        "WEBHOOK_RULES": webhook_rules(settings),
        "PROMETHEUS_NAMESPACE": settings.prometheus_namespace,
        "PROMETHEUS_ACCOUNT": settings.prometheus_account,
        "PROMETHEUS_LABELS": dict(settings.prometheus_labels),
        "PUSHGATEWAY_RULES": pushgateway_rules(settings),
        "REPRODUCTION_OVERDUE": _overdue(settings),
    }
