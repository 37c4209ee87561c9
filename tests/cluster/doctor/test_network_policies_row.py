"""`datum doctor` compares what the policies allow with what stands behind the cluster's services."""

from typing import Any

import pytest

from tests.cluster.doctor.objects import Doctor, a_secret, a_slice
from tests.cluster.kubernetes_api import KubernetesApi


def test_a_cluster_whose_servers_are_where_the_settings_say_is_fit(examine: Doctor) -> None:
    row = examine()["network policies"]
    assert (row.status, row.found) == ("ok", "tasks get through to the API server, DNS and the store")


def test_policies_that_are_off_are_not_compared(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_slice("kubernetes", "default", "34.1.2.3", 443, port_name="https"))
    assert examine(network_policies="off")["network policies"].status == "ok"


@pytest.mark.parametrize(
    ("address", "port", "remedy"),
    [
        ("192.168.49.2", 8443, "set API_PORTS=[8443], or"),
        ("10.1.1.1", 16443, "set API_PORTS=[16443], or"),
        ("34.118.2.3", 443, '"34.118.2.3/32"], or'),
    ],
    ids=["minikube", "MicroK8s", "public control plane"],
)
def test_an_api_server_that_tasks_would_not_reach_is_a_problem_with_its_setting(
    examine: Doctor, cluster: KubernetesApi, address: str, port: int, remedy: str
) -> None:
    cluster.put(a_slice("kubernetes", "default", address, port, port_name="https"))
    row = examine()["network policies"]
    assert row.status == "problem"
    assert remedy in row.remedy
    fitting = {"api_ports": (port,), "api_cidrs": (f"{address}/32",)}
    assert examine(**fitting)["network policies"].status == "ok"


def test_dns_on_another_port_is_a_problem_and_in_another_namespace_a_warning(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.put(a_slice("dns-default", "openshift-dns", "10.0.0.3", 5353, port_name="dns"))
    row = examine(dns_namespace="openshift-dns")["network policies"]
    assert (row.status, row.remedy) == ("problem", "set DNS_PORT=5353, or NETWORK_POLICIES=off")
    assert examine(dns_namespace="openshift-dns", dns_port=5353)["network policies"].status == "ok"
    cluster.remove("EndpointSlice", "kube-dns-abcde", "kube-system")
    assert examine()["network policies"].status == "warning"


def test_a_store_whose_pods_listen_elsewhere_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_slice("s3", "objects", "10.0.0.9", 9000))
    store: dict[str, Any] = {"store_endpoint": "http://s3.objects.svc"}
    row = examine(**store)["network policies"]
    assert row.found == "the pods of service s3 in objects listen on port 9000, not on 80"
    assert row.remedy == "set STORE_POD_PORT=9000, or NETWORK_POLICIES=off"
    assert examine(**store, store_pod_port=9000)["network policies"].status == "ok"


def test_the_secret_that_kfps_launcher_reads_is_looked_for_beside_an_own_one(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.put(a_secret("own", accesskey="a", secretkey="b"))
    assert examine(store_secret="own")["artifact secret"].status == "ok"
    cluster.remove("Secret", "mlpipeline-minio-artifact", "kubeflow")
    row = examine(store_secret="own")["artifact secret"]
    assert row.status == "problem"
    assert "no secret mlpipeline-minio-artifact in kubeflow" in row.found
