"""Whether the cluster can watch an installation where `monitoring` is on: the operator and its Prometheus."""

from datum.cluster.doctor.checks import Finding, listed, ok, problem, warning
from datum.cluster.doctor.kubernetes_client import Kubernetes
from datum.cluster.manifests import SELECTED
from datum.cluster.settings import ClusterSettings

GROUP, VERSION = "monitoring.coreos.com", "v1"
"""Of the Prometheus operator's resources that are applied."""


def check_monitoring(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether the operator's kinds are there, and the namespace of the Prometheus that may scrape."""
    found = kubernetes.find(kubernetes.custom.get_api_resources, GROUP, VERSION)
    kinds = {resource.kind for resource in found.resources} if found else set()
    if missing := [kind for kind in SELECTED if kind not in kinds]:
        return problem(
            f"the cluster knows no {listed(missing)} ({GROUP}/{VERSION})",
            "install the Prometheus operator, or set MONITORING=off",
        )
    place = settings.prometheus_namespace
    if kubernetes.find(kubernetes.core.read_namespace, place) is None:
        return warning(
            f"{listed(SELECTED)} are known, but there is no namespace {place}, which alone may scrape tasks",
            "set PROMETHEUS_NAMESPACE (and PROMETHEUS_ACCOUNT, PROMETHEUS_LABELS) to those of Prometheus",
        )
    return ok(f"{listed(SELECTED)} are known, and tasks are scraped from {place}")
