"""`datum doctor` says whether the cluster can watch an installation, where that is on."""

from kubernetes import client as kubernetes

from tests.cluster.doctor.objects import Doctor, metadata
from tests.cluster.kubernetes_api import KubernetesApi


def install_operator(cluster: KubernetesApi, *kinds: str) -> None:
    resources = [
        kubernetes.V1APIResource(kind=kind, name=kind, namespaced=True, singular_name="", verbs=["list"])
        for kind in kinds
    ]
    cluster.objects["/apis/monitoring.coreos.com/v1"] = kubernetes.V1APIResourceList(
        group_version="monitoring.coreos.com/v1", resources=resources
    )


def test_nothing_is_asked_where_monitoring_is_off(examine: Doctor) -> None:
    assert "monitoring" not in examine()


def test_a_cluster_without_the_operator_is_told(cluster: KubernetesApi, examine: Doctor) -> None:
    row = examine(monitoring="on")["monitoring"]
    assert row.status == "problem" and "no PodMonitor, PrometheusRule (monitoring.coreos.com/v1)" in row.found
    assert "MONITORING=off" in row.remedy
    install_operator(cluster, "PodMonitor")
    assert "knows no PrometheusRule" in examine(monitoring="on")["monitoring"].found


def test_a_prometheus_that_is_elsewhere_is_told(cluster: KubernetesApi, examine: Doctor) -> None:
    install_operator(cluster, "PodMonitor", "PrometheusRule")
    row = examine(monitoring="on")["monitoring"]
    assert row.status == "warning" and "no namespace monitoring" in row.found
    cluster.put(kubernetes.V1Namespace(kind="Namespace", metadata=metadata("watch", None)))
    row = examine(monitoring="on", prometheus_namespace="watch")["monitoring"]
    assert row.status == "ok" and "scraped from watch" in row.found
