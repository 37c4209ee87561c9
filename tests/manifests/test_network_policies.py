"""A pod of ours reaches what a run needs and nothing else, and nothing reaches it.

`kfp_pods.json` holds labels and ports of the pods, and the network policies, of KFP's own manifests
(`env/platform-agnostic` of each version). Semantics: https://kubernetes.io/docs/concepts/services-networking/network-policies/.
"""

import dataclasses
import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.images import STAGES
from datum.cluster.manifests import render_manifests
from datum.cluster.settings import load_cluster_settings

MANIFESTS = Path(__file__).parents[2] / "manifests"
KFP: dict[str, Any] = json.loads(Path(__file__).with_name("kfp_pods.json").read_text())

Policy = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Place:
    """An end of a connection: a pod of a namespace, or an address outside of all of them."""

    address: str = "10.244.1.7"
    namespace: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


def connects(
    policies: Sequence[Policy], source: Place, target: Place, port: int, protocol: str = "TCP"
) -> bool:
    """Whether the policies let `source` connect to `port` of `target`."""
    leaves = _allows(policies, "Egress", source, target, port, protocol)
    return leaves and _allows(policies, "Ingress", target, source, port, protocol)


def _allows(
    policies: Sequence[Policy], direction: str, pod: Place, peer: Place, port: int, protocol: str
) -> bool:
    """Whether `pod` may have a connection with `peer`: any rule of any policy that selects it allows it."""
    selecting = [
        policy["spec"]
        for policy in policies
        if pod.namespace == policy["metadata"]["namespace"]
        and direction in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], pod.labels)
    ]
    side = {"Egress": ("egress", "to"), "Ingress": ("ingress", "from")}[direction]
    return not selecting or any(
        _matches_ports(rule, port, protocol)
        and (side[1] not in rule or any(_is_peer(item, pod.namespace, peer) for item in rule[side[1]]))
        for spec in selecting
        for rule in spec.get(side[0]) or ()
    )


def _matches_ports(rule: Mapping[str, Any], port: int, protocol: str) -> bool:
    return "ports" not in rule or any(
        item["port"] == port and item.get("protocol", "TCP") == protocol for item in rule["ports"]
    )


def _is_peer(item: Mapping[str, Any], home: str, place: Place) -> bool:
    if "ipBlock" in item:
        # By the text of the standard a pod's address counts too, so the test is on the safe side.
        block, address = item["ipBlock"], ipaddress.ip_address(place.address)
        inside = address in ipaddress.ip_network(block["cidr"])
        return inside and not any(address in ipaddress.ip_network(cidr) for cidr in block.get("except", ()))
    if not place.namespace:
        return False
    if "namespaceSelector" in item:
        labels = {"kubernetes.io/metadata.name": place.namespace}
        at_home = _selects(item["namespaceSelector"], labels)
    else:
        at_home = place.namespace == home
    return at_home and _selects(item.get("podSelector", {}), place.labels)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _task(stage: str) -> Place:
    labels = {"app.kubernetes.io/part-of": "datum", "app.kubernetes.io/component": stage}
    return Place("10.244.2.9", "kubeflow", labels)


DNS = Place(namespace="kube-system", labels={"k8s-app": "kube-dns"})
LOCAL_DNS = Place("169.254.20.10")
API_SERVERS = (Place("172.18.0.2"), Place("10.0.0.2"), Place("fd00::2"))
HUB = Place("3.163.189.37")
METADATA_OF_THE_CLOUD = Place("169.254.169.254")
STRANGER = Place(namespace="somebody", labels={"app.kubernetes.io/part-of": "datum"})
MINIO = Place(namespace="datum-store", labels={"app.kubernetes.io/name": "minio"})
BUCKET_JOB = Place(namespace="datum-store", labels={"app.kubernetes.io/name": "datum-bucket"})


def _kfp(version: str) -> dict[str, tuple[Place, list[int]]]:
    """Every pod of KFP's manifests with the ports that it listens on."""
    return {
        pod["name"]: (Place(namespace="kubeflow", labels=pod["labels"]), pod["ports"])
        for pod in KFP[version]["pods"]
    }


@pytest.fixture(params=sorted(KFP))
def version(request: pytest.FixtureRequest) -> str:
    """Each KFP version that is supported, in turn."""
    return str(request.param)


@pytest.fixture
def policies(resources: list[dict[str, Any]], version: str) -> list[Policy]:
    """Network policies of an overlay, and those of KFP's manifests beside them."""
    ours = [item for item in resources if item["kind"] == "NetworkPolicy"]
    return ours + KFP[version]["network_policies"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_task_reaches_of_kfp_what_its_launcher_needs_and_nothing_else(
    policies: list[Policy], version: str, stage: str
) -> None:
    reached = {
        (name, port)
        for name, (pod, ports) in _kfp(version).items()
        # Ports that some pod of a cluster might listen on, besides its own.
        for port in {*ports, 22, 80, 3306, 8333, 8888, 9000, 9090}
        if connects(policies, _task(stage), pod, port)
    }
    assert reached == {("ml-pipeline", 8887), ("metadata-grpc-deployment", 8080), ("seaweedfs", 8333)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_task_reaches_dns_and_the_kubernetes_api(policies: list[Policy], stage: str) -> None:
    task = _task(stage)
    for server in (DNS, LOCAL_DNS):
        assert connects(policies, task, server, 53, "UDP")
        assert connects(policies, task, server, 53)
    for server in API_SERVERS:
        assert connects(policies, task, server, 443)
        assert connects(policies, task, server, 6443)
        assert not connects(policies, task, server, 22)
        assert not connects(policies, task, server, 10250)
    assert not connects(policies, task, Place(namespace="kube-system", labels={"k8s-app": "x"}), 53, "UDP")


@pytest.mark.parametrize("stage", STAGES)
def test_personalization_alone_reaches_the_hub(policies: list[Policy], stage: str) -> None:
    task = _task(stage)
    assert connects(policies, task, HUB, 443) == (stage == "personalization")
    assert connects(policies, task, Place("2600:9000::1"), 443) == (stage == "personalization")
    assert not connects(policies, task, HUB, 80)
    assert not connects(policies, task, HUB, 53, "UDP")


@pytest.mark.parametrize("stage", STAGES)
def test_a_task_reaches_no_cloud_metadata_and_no_other_pod(policies: list[Policy], stage: str) -> None:
    task = _task(stage)
    for port in (22, 80, 5432, 8000, 8080, 8333, 9000):
        assert not connects(policies, task, STRANGER, port)
        assert not connects(policies, task, METADATA_OF_THE_CLOUD, port)
    assert not connects(policies, task, METADATA_OF_THE_CLOUD, 443)
    assert not connects(policies, task, _task("reporting"), 8080)


def test_the_api_servers_ports_are_the_only_ones_open_to_other_pods(policies: list[Policy]) -> None:
    """The price of an API server that has no fixed address: some network plugins take pods for its range."""
    reached = {port for port in range(1, 10_000) if connects(policies, _task("adaptation"), STRANGER, port)}
    assert reached == {443, 6443}


def test_nothing_reaches_a_task(resources: list[dict[str, Any]]) -> None:
    """By our own policies. KFP 2.15 besides lets the pods of its namespace reach one another."""
    ours = [item for item in resources if item["kind"] == "NetworkPolicy"]
    visitors = [pod for pod, _ in _kfp("2.17.0").values()] + [_task("reporting"), STRANGER, MINIO, HUB]
    for visitor in visitors:
        for port in (22, 80, 443, 8080, 9090):
            assert not connects(ours, visitor, _task("adaptation"), port)


def test_others_pods_in_the_namespace_are_left_alone(policies: list[Policy]) -> None:
    driver = Place(namespace="kubeflow", labels={"pipelines.kubeflow.org/v2_component": "true"})
    assert connects(policies, driver, HUB, 80)


def test_the_own_store_is_reached_by_tasks_the_ui_and_its_job_alone(render: Any) -> None:
    policies = [item for item in render("minio") if item["kind"] == "NetworkPolicy"]
    kfp = _kfp("2.17.0")
    assert all(connects(policies, _task(stage), MINIO, 9000) for stage in STAGES)
    assert connects(policies, kfp["ml-pipeline-ui"][0], MINIO, 9000)
    assert connects(policies, BUCKET_JOB, MINIO, 9000)
    assert connects(policies, BUCKET_JOB, DNS, 53, "UDP")
    others = [pod for name, (pod, _) in kfp.items() if name != "ml-pipeline-ui"]
    for visitor in (*others, STRANGER, HUB, Place(namespace="kubeflow")):
        assert not connects(policies, visitor, MINIO, 9000)
    for port in (22, 9001):
        assert not connects(policies, _task("adaptation"), MINIO, port)


def test_the_own_store_reaches_nothing(render: Any) -> None:
    policies = [item for item in render("minio") if item["kind"] == "NetworkPolicy"]
    for target in (DNS, *API_SERVERS, HUB, METADATA_OF_THE_CLOUD, _task("adaptation"), STRANGER):
        for port in (53, 80, 443, 6443):
            assert not connects(policies, MINIO, target, port)
    assert not connects(policies, BUCKET_JOB, HUB, 443)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of cluster of README's table: what its settings.env changes, and where things are there."""

    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    api_server: tuple[Place, int] = (Place("172.18.0.2"), 6443)
    dns: tuple[Place, int] = (DNS, 53)
    namespace: str = "kubeflow"
    """Of the runs."""
    kfp: str = "kubeflow"
    """Namespace of KFP."""
    server: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"app": "ml-pipeline"})
    metadata: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"component": "metadata-grpc-server"}
    )
    """Labels of the pods of KFP's API server and of its metadata store."""
    store: tuple[Place, int] | None = None
    """The store of data sets and state; KFP's own if None."""


OPENSHIFT_DNS = Place(
    namespace="openshift-dns", labels={"dns.operator.openshift.io/daemonset-dns": "default"}
)
ON_OPENSHIFT = {"dns_namespace": "openshift-dns", "dns_port": 5353}
AWS = Place("52.219.1.1")

CLUSTERS: Mapping[str, Kind] = {
    "kind": Kind(),
    "k3s": Kind(api_server=(Place("192.168.1.20"), 6443)),
    "minikube": Kind(changes={"api_ports": (8443,)}, api_server=(Place("192.168.49.2"), 8443)),
    "MicroK8s": Kind(changes={"api_ports": (16443,)}, api_server=(Place("192.168.1.20"), 16443)),
    "GKE, public control plane": Kind(
        changes={"api_cidrs": ("34.118.2.3/32",), "dns_cidrs": ("169.254.20.10/32", "169.254.169.254/32")},
        api_server=(Place("34.118.2.3"), 443),
        dns=(Place("169.254.169.254"), 53),
    ),
    "EKS, private end": Kind(api_server=(Place("10.0.130.7"), 443)),
    "EKS, artifacts in S3": Kind(
        changes={"store_endpoint": "https://s3.eu-central-1.amazonaws.com"},
        api_server=(Place("10.0.130.7"), 443),
        store=(AWS, 443),
    ),
    "AKS, public control plane": Kind(
        changes={"api_cidrs": ("20.50.1.2/32",)}, api_server=(Place("20.50.1.2"), 443)
    ),
    "OpenShift": Kind(changes=ON_OPENSHIFT, api_server=(Place("10.0.0.5"), 6443), dns=(OPENSHIFT_DNS, 5353)),
    # As its operator has them (config/internal, apiserver and ml-metadata), for a server called `dspa`.
    "OpenShift AI": Kind(
        changes={
            **ON_OPENSHIFT,
            "namespace": "science",
            "kfp_namespace": "science",
            "kfp_server_labels": {"app": "ds-pipeline-dspa"},
            "kfp_metadata_labels": {"app": "ds-pipeline-metadata-grpc-dspa"},
            "store_endpoint": "https://s3.eu-central-1.amazonaws.com",
        },
        api_server=(Place("10.0.0.5"), 6443),
        dns=(OPENSHIFT_DNS, 5353),
        namespace="science",
        kfp="science",
        server={"app": "ds-pipeline-dspa", "dspa": "dspa"},
        metadata={"app": "ds-pipeline-metadata-grpc-dspa", "dspa": "dspa"},
        store=(AWS, 443),
    ),
    "multi-user KFP": Kind(changes={"namespace": "profile"}, namespace="profile"),
    "air-gapped, a store of the lab": Kind(
        changes={"store_endpoint": "https://s3.lab.example.org:8443", "store_cidrs": ("192.0.2.0/24",)},
        store=(Place("192.0.2.4"), 8443),
    ),
}


def _needed(kind: Kind) -> list[tuple[Place, int, str]]:
    """What a task of every stage connects to."""
    kfp_store = Place(namespace=kind.kfp, labels={"app": "seaweedfs"})
    dns, port = kind.dns
    return [
        (dns, port, "UDP"),
        (dns, port, "TCP"),
        (*kind.api_server, "TCP"),
        (Place(namespace=kind.kfp, labels=kind.server), 8887, "TCP"),
        (Place(namespace=kind.kfp, labels=kind.metadata), 8080, "TCP"),
        (*(kind.store or (kfp_store, 8333)), "TCP"),
    ]


@pytest.fixture
def with_settings(overlay: str) -> Callable[..., list[Policy]]:
    """Function: the policies of an overlay whose settings are changed as said."""
    folder = MANIFESTS / "overlays" / overlay
    settings = load_cluster_settings(folder / "settings.env")

    def policies(**changes: Any) -> list[Policy]:
        resources = render_manifests(dataclasses.replace(settings, **changes), folder)
        return [item for item in resources if item["kind"] == "NetworkPolicy"]

    return policies


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("overlay", ["default"])
def test_a_task_reaches_what_it_needs_on_each_kind_of_cluster_and_nothing_else(
    with_settings: Callable[..., list[Policy]], cluster: str
) -> None:
    kind = CLUSTERS[cluster]
    policies = with_settings(**kind.changes)
    for stage in STAGES:
        task = dataclasses.replace(_task(stage), namespace=kind.namespace)
        for place, port, protocol in _needed(kind):
            assert connects(policies, task, place, port, protocol)
            assert not connects(policies, task, place, 22, protocol)
        # Where the store is anywhere, at 443, so is the hub; a store of the own network opens nothing else.
        anywhere = kind.store == (AWS, 443)
        assert connects(policies, task, HUB, 443) == (stage == "personalization" or anywhere)
        assert not connects(policies, task, HUB, 80)
        for port in (80, 443, kind.api_server[1]):
            assert not connects(policies, task, METADATA_OF_THE_CLOUD, port)
        others = [pod for name, (pod, _) in _kfp("2.17.0").items() if name in ("mysql", "ml-pipeline-ui")]
        for pod in (*others, STRANGER, _task("reporting")):
            for port in (3000, 3306, 8080, 8888):
                assert not connects(policies, task, pod, port)


@pytest.mark.parametrize("cluster", [name for name, kind in CLUSTERS.items() if kind.changes])
@pytest.mark.parametrize("overlay", ["default"])
def test_each_setting_that_a_kind_of_cluster_changes_is_needed_there(
    with_settings: Callable[..., list[Policy]], cluster: str
) -> None:
    kind = CLUSTERS[cluster]
    task = dataclasses.replace(_task("adaptation"), namespace=kind.namespace)
    # Networks of a store narrow what is reached, and in a namespace without policies all is.
    for setting in kind.changes.keys() - {"store_cidrs", "namespace"}:
        rest = {name: value for name, value in kind.changes.items() if name != setting}
        policies = with_settings(**rest)
        assert not all(connects(policies, task, *end) for end in _needed(kind)), setting


def test_readme_names_each_setting_that_a_kind_of_cluster_changes() -> None:
    readme = (MANIFESTS.parent / "README.md").read_text(encoding="utf-8")
    table = readme.partition("**Clusters that people have.**")[2].partition("**A run looks")[0]
    for kind in CLUSTERS.values():
        for setting in kind.changes:
            assert f"`{setting.upper()}" in table, setting


STORES: Mapping[str, tuple[Mapping[str, Any], Place, int]] = {
    "a service": (
        {"store_endpoint": "https://s3.objects.svc:9443"},
        Place(namespace="objects", labels={"app": "s3"}),
        9443,
    ),
    "a service that forwards to another port": (
        {"store_endpoint": "http://s3.objects", "store_pod_port": 9000},
        Place(namespace="objects", labels={"app": "s3"}),
        9000,
    ),
    "a service of the runs' namespace": (
        {"store_endpoint": "http://s3:9000"},
        Place(namespace="kubeflow", labels={"app": "s3"}),
        9000,
    ),
    "an address": ({"store_endpoint": "http://10.9.8.7:9000"}, Place("10.9.8.7"), 9000),
    "a cloud's": ({"store_endpoint": "https://s3.eu-central-1.amazonaws.com"}, Place("52.219.1.1"), 443),
    "a lab's, by its network": (
        {"store_endpoint": "https://s3.lab.example.org:8443", "store_cidrs": ("192.0.2.0/24",)},
        Place("192.0.2.4"),
        8443,
    ),
}
"""Stores that are not KFP's, by the settings that name them."""


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("overlay", ["default", "kind"])
def test_a_task_reaches_the_store_that_the_settings_name(
    with_settings: Callable[..., list[Policy]], store: str
) -> None:
    changes, place, port = STORES[store]
    policies = with_settings(**changes)
    for stage in STAGES:
        assert connects(policies, _task(stage), place, port)
        assert not connects(policies, _task(stage), place, 22)
        assert not connects(policies, _task(stage), METADATA_OF_THE_CLOUD, port)
    assert connects(policies, _task("adaptation"), _kfp("2.17.0")["seaweedfs"][0], 8333)
    assert not connects(with_settings(), _task("adaptation"), place, port)
    if "store_cidrs" in changes or store == "an address":
        assert not connects(policies, _task("adaptation"), Place("198.51.100.7"), port)


@pytest.mark.parametrize(
    ("url", "place", "port"),
    [
        ("http://model-registry-service:8080", Place(namespace="kubeflow"), 8080),
        ("http://registry.models.svc.cluster.local", Place(namespace="models"), 80),
        ("https://registry.example.org", Place("198.51.100.7"), 443),
    ],
)
def test_the_image_of_the_report_alone_reaches_a_model_registry_and_only_one_that_is_set(
    with_settings: Callable[..., list[Policy]], url: str, place: Place, port: int
) -> None:
    policies = with_settings(model_registry=url)
    for stage in STAGES:
        is_hub = stage == "personalization" and port == 443
        assert connects(policies, _task(stage), place, port) == (stage == "reporting" or is_hub)
    assert not connects(policies, _task("reporting"), METADATA_OF_THE_CLOUD, port)
    assert not connects(with_settings(), _task("reporting"), place, port)


def test_every_task_reaches_a_webhook_anywhere_and_only_where_one_is_set(
    with_settings: Callable[..., list[Policy]],
) -> None:
    chat, inside = Place("198.51.100.7"), Place("10.9.8.7", namespace="chat")
    policies = with_settings(webhook_secret="datum-webhook", api_cidrs=("192.0.2.1/32",))
    plain = with_settings(api_cidrs=("192.0.2.1/32",))
    for stage in STAGES:
        for place in (chat, inside):
            assert connects(policies, _task(stage), place, 443) and connects(
                policies, _task(stage), place, 80
            )
            assert not connects(policies, _task(stage), place, 22)
            assert not connects(plain, _task(stage), place, 80)
        assert not connects(policies, _task(stage), METADATA_OF_THE_CLOUD, 80)
        is_hub = stage == "personalization"
        assert connects(plain, _task(stage), chat, 443) == is_hub
    assert connects(policies, STRANGER, chat, 443)


def test_policies_that_are_off_are_not_made(with_settings: Callable[..., list[Policy]]) -> None:
    assert with_settings(network_policies="off") == []


def test_without_the_policies_everything_is_reached() -> None:
    assert connects([], _task("adaptation"), HUB, 443)
    assert connects([], STRANGER, _task("adaptation"), 80)


@pytest.mark.parametrize("pipeline", ["reproduction", "training", "ingest", "ablation", "cells", "baselines"])
def test_every_task_of_a_compiled_pipeline_carries_the_labels_that_the_policies_select(pipeline: str) -> None:
    file = Path(__file__).parents[1] / "pipelines/golden" / f"{pipeline}.yaml"
    spec, platform = yaml.safe_load_all(file.read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(spec["deploymentSpec"]["executors"])
    for name, executor in executors.items():
        labels = executor["podMetadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "datum", name
        assert labels["app.kubernetes.io/component"] in STAGES, name
