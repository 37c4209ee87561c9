"""Settings of an installation on a cluster: one `settings.env` an overlay.

The file is read by the `datum` command (which puts the values into the manifests), by the Makefile and by
deploy.sh, so that each value stands in one place. Lines are `KEY=VALUE`, the key in capitals, each once, and
end as Unix or Windows ends them; `#` starts a comment line. A value that is neither text nor one of a few
names is JSON. What the three would read differently (blanks or quotes around a value) is refused, here and in
`manifests/setting.sh`. The fields of a run's form are inherited.
"""

import dataclasses
import ipaddress
import json
import re
import typing
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from datum import __version__
from datum.cluster.rhythm import Rhythm
from datum.errors import InputError
from datum.store import is_http_url
from datum.values import Least, cast, did_you_mean, in_words
from pipelines.form_defaults import FormDefaults

PIPELINES = ("reproduction", "training", "ingest", "ablation", "cells", "baselines")
"""Pipelines that can be uploaded and submitted."""

_READ_BY_SHELLS = (
    "NAMESPACE",
    "KFP_NAMESPACE",
    "STORE_ENDPOINT",
    "STORE_SECRET",
    "PIPELINE_ROOT",
    "REGISTRY",
    "TAG",
)
"""Keys that the Makefile and deploy.sh read too, by `manifests/setting.sh`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterSettings(FormDefaults):
    """Where runs happen, which images they use, and what a run's form is filled with."""

    overlay: Literal["default", "seaweedfs", "minio", "kind"] = "default"
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
    artifact_secret: str = "mlpipeline-minio-artifact"
    """Secret of the store that KFP keeps artifacts in; its launcher reads it whatever `store_secret` is."""
    image_pull_secret: str = ""
    """Secret in `namespace`, of type kubernetes.io/dockerconfigjson, that nodes pull the images with; empty
    where they need none."""
    store_pod_port: Annotated[int, Least(0)] = 0
    """Port that the store's pods listen on, where its service has another; 0 is `store_endpoint`'s."""
    store_cidrs: tuple[str, ...] = ()
    """Networks of a store outside of the cluster; empty allows its port on all but link-local addresses."""
    kfp_server_labels: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"app": "ml-pipeline"})
    """Labels of the pods of KFP's API server; of an OpenShift AI server NAME, app: ds-pipeline-NAME."""
    kfp_metadata_labels: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"component": "metadata-grpc-server"}
    )
    """Labels of the pods of KFP's metadata store; on OpenShift AI, app: ds-pipeline-metadata-grpc-NAME."""
    network_policies: Literal["on", "off"] = "on"
    """Whether NetworkPolicies keep tasks to what they need; off leaves that to the cluster's owner."""
    prometheus_namespace: str = "monitoring"
    """Namespace of the Prometheus that scrapes tasks, where `monitoring` is on."""
    prometheus_account: str = "prometheus-k8s"
    """Its service account; RELEASE-kube-prometheus-prometheus of Helm's kube-prometheus-stack."""
    prometheus_labels: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"app.kubernetes.io/name": "prometheus"}
    )
    """Labels of its pods."""
    monitoring_labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Further labels of PodMonitor and PrometheusRule, by which Prometheus selects them, such as
    {"release": "RELEASE"} of kube-prometheus-stack."""
    dns_namespace: str = "kube-system"
    """Namespace of the cluster's DNS; openshift-dns on OpenShift."""
    dns_port: int = 53
    """Port that its pods listen on; 5353 on OpenShift."""
    dns_cidrs: tuple[str, ...] = ("169.254.20.10/32",)
    """Addresses of DNS that are no pod's: NodeLocal DNSCache; GKE's Cloud DNS is 169.254.169.254/32."""
    api_cidrs: tuple[str, ...] = (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
    )
    """Networks of the API server: the private ones (RFC 1918, 6598, 4193), since its addresses change."""
    api_ports: tuple[int, ...] = (443, 6443)
    """Ports of the API server; 8443 on minikube, 16443 on MicroK8s."""
    registry: str = ""
    """Registry and path that images are pushed to and pulled from, such as registry.example.org/team; empty
    names images that the nodes already hold (kind)."""
    tag: str = __version__
    """Tag that images are built with."""
    pipeline_root: str = ""
    """Where KFP keeps artifacts, such as minio://bucket/folder; empty takes KFP's default."""
    experiment: str = "datum"
    """KFP experiment that runs are listed under."""
    data_volume: str = ""
    """PersistentVolumeClaim with data sets, mounted read-only at /data; empty mounts none."""
    schedule: str = ""
    """How often `make deploy` has the reproduction repeated, as `datum schedule` takes it: nightly, weekly,
    monthly or a cron of six fields; empty: not at all."""

    def __post_init__(self) -> None:
        if "://" in self.registry or self.registry != self.registry.lower():
            raise InputError(
                f"setting REGISTRY: found {self.registry!r}, expected a host and a path in small letters, "
                "without http://, such as registry.example.org/team"
            )
        for key in ("store_cidrs", "dns_cidrs", "api_cidrs"):
            for cidr in getattr(self, key):
                if not _is_network(cidr):
                    raise InputError(
                        f"setting {key}: found {cidr!r}, expected networks such as 10.0.0.0/8; an address "
                        "alone ends in /32"
                    )
        if self.pushgateway and not is_http_url(self.pushgateway):
            raise InputError(
                f"setting pushgateway: found {self.pushgateway!r}, expected a URL such as "
                "http://pushgateway.monitoring:9091"
            )


def _is_network(text: str) -> bool:
    try:
        return "/" in text and bool(ipaddress.ip_network(text))
    except ValueError:
        return False


class Service(NamedTuple):
    """A service of the cluster."""

    name: str
    namespace: str


_SERVICE_HOST = re.compile(r"([a-z0-9-]+)(?:\.([a-z0-9-]+)(?:\.svc(?:\.cluster\.local)?)?)?")


def in_cluster_service(settings: ClusterSettings, url: str = "") -> Service | None:
    """The service that `url`, or `store_endpoint`, names as `service.namespace`, with or without `.svc`; None
    where it leads out of the cluster."""
    host = urlsplit(url or settings.store_endpoint).hostname or ""
    found = _SERVICE_HOST.fullmatch(host)
    return Service(found[1], found[2] or settings.namespace) if found and host != "localhost" else None


def load_cluster_settings(file: Path | None = None, overrides: Iterable[str] = ()) -> ClusterSettings:
    """The settings in `file`, or the defaults, with `key=value` overrides.

    Raises `InputError` for a file that is not there, a line that is no KEY=VALUE, an unknown key and a value
    of the wrong type.
    """
    values: dict[str, Any] = {}
    if file:
        for number, line in enumerate(_lines(file), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            where = f"{file}:{number}"
            setting = _setting(line, where)
            _require_one_meaning(line, where)
            if values.keys() & setting.keys():
                raise InputError(f"{where}: found {line.partition('=')[0]} twice, expected each key once")
            values |= setting
    for override in overrides:
        values |= _setting(override, f"--set {override}")
    return ClusterSettings(**values)


def _lines(file: Path) -> list[str]:
    try:
        # Some editors begin a file with a byte order mark.
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"--settings {file}: cannot be read ({error.strerror}); name an overlay's settings.env"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"--settings {file}: is not UTF-8 text; save it as UTF-8") from None
    return [line.removesuffix("\r") for line in text.split("\n")]


def _require_one_meaning(line: str, where: str) -> None:
    """Raises `InputError` for a line that make and deploy.sh would read otherwise than `datum`."""
    key, _, text = line.partition("=")
    if not re.fullmatch("[A-Z_]+", key):
        raise InputError(f"{where}: found the key {key!r}, expected capitals without blanks around them")
    if text != text.strip() or any(unicodedata.category(character) == "Cc" for character in text):
        raise InputError(f"{where}: found {key}={text!r}, expected a value without blanks around it")
    if text.startswith(("'", '"')):
        raise InputError(f"{where}: found {key}={text}, expected a value without quotes around it")
    if key in _READ_BY_SHELLS and not re.fullmatch(r"[][A-Za-z0-9._:/@-]*", text):
        raise InputError(f"{where}: found {key}={text}, expected letters, digits and . _ : / @ - alone")


def _setting(line: str, where: str) -> dict[str, Any]:
    """The setting of one `KEY=VALUE` line."""
    key, separator, text = line.strip().partition("=")
    if not separator:
        raise InputError(f"{where}: found {line.strip()!r}, expected KEY=VALUE")
    kinds = typing.get_type_hints(ClusterSettings, include_extras=True)
    if key.lower() not in kinds:
        raise InputError(f"{where}: unknown setting {key!r}; {did_you_mean(key.lower(), kinds)}")
    kind = kinds[key.lower()]
    is_text = typing.get_type_hints(ClusterSettings)[key.lower()] is str or typing.get_origin(kind) is Literal
    try:
        value = cast(text if is_text else json.loads(text), kind)
        if isinstance(value, int) and value < 0:
            raise ValueError(text)
    except (ValueError, TypeError, RecursionError):
        found = repr(text) if len(text) <= 200 else f"{text[:200]!r}…"
        # A line of a file names its key in capitals, an option all of itself.
        named = f"{where}: {key}" if key.isupper() else where
        raise InputError(f"{named}: found {found}, expected {in_words(kind)}") from None
    if key.lower() == "schedule" and value:
        try:
            Rhythm.parse(value)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return {key.lower(): value}
