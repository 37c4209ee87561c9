"""Whether the NetworkPolicies of the settings let tasks reach this cluster's API server, DNS and store."""

import ipaddress
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from datum.cluster.doctor.checks import Finding, ok, problem, warning
from datum.cluster.doctor.kubernetes_client import Kubernetes
from datum.cluster.network import KFP_STORE, store_ports
from datum.cluster.settings import ClusterSettings, in_cluster_service

DNS_SERVICES = {"kube-dns", "coredns", "rke2-coredns-rke2-coredns", "dns-default"}
"""Services of the cluster's DNS, by the names that distributions give them."""


class _End(NamedTuple):
    """Where connections to a service go in the end."""

    address: str
    port: int


def check_network_policies(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether tasks get through to what stands behind the services that they use, as pods see it."""
    if settings.network_policies == "off":
        return ok("off: what tasks may reach is left to the cluster's owner")
    try:
        wanted = [change for look in (_api_server, _dns, _store) for change in look(kubernetes, settings)]
    except _UnseenError as error:
        return warning(f"not checked: {error}", "correct dns_namespace (openshift-dns on OpenShift)")
    if wanted:
        changes = " ".join(f"{key.upper()}={json.dumps(value)}" for _, key, value in wanted)
        return problem("; ".join(found for found, _, _ in wanted), f"set {changes}, or NETWORK_POLICIES=off")
    return ok("tasks get through to the API server, DNS and the store")


class _UnseenError(Exception):
    """Nothing stands behind a service, so nothing can be compared."""


_Change = tuple[str, str, Any]
"""What was found, the setting that leaves it out, and the value that would not."""


def _api_server(kubernetes: Kubernetes, settings: ClusterSettings) -> Iterable[_Change]:
    ends = _ends(kubernetes, "default", {"kubernetes"}, port_name="https")
    if outside := sorted({end.address for end in ends if not _within(end.address, settings.api_cidrs)}):
        addresses = [f"{address}/{ipaddress.ip_address(address).max_prefixlen}" for address in outside]
        found = f"the API server listens on {', '.join(outside)}, outside of api_cidrs"
        yield found, "api_cidrs", [*settings.api_cidrs, *addresses]
    if other := sorted({end.port for end in ends} - set(settings.api_ports)):
        yield f"the API server listens on port {other[0]}, which is not in api_ports", "api_ports", other


def _dns(kubernetes: Kubernetes, settings: ClusterSettings) -> Iterable[_Change]:
    ports = {end.port for end in _ends(kubernetes, settings.dns_namespace, DNS_SERVICES, port_name="dns")}
    if settings.dns_port not in ports:
        found = f"DNS in {settings.dns_namespace} listens on port {min(ports)}, not on {settings.dns_port}"
        yield found, "dns_port", min(ports)


def _store(kubernetes: Kubernetes, settings: ClusterSettings) -> Iterable[_Change]:
    service = in_cluster_service(settings)
    # KFP's own store has a policy of its own, and the overlay's store comes with the deployment.
    if service is None or settings.overlay == "minio" or service == (KFP_STORE, settings.kfp_namespace):
        return
    try:
        ports = {end.port for end in _ends(kubernetes, service.namespace, {service.name})}
    except _UnseenError:
        return  # the row `store` says what is amiss with it
    if not ports & set(store_ports(settings)):
        found = f"the pods of service {service.name} in {service.namespace} listen on port {min(ports)}"
        yield f"{found}, not on {store_ports(settings)[0]}", "store_pod_port", min(ports)


def _ends(kubernetes: Kubernetes, namespace: str, services: set[str], port_name: str = "") -> list[_End]:
    """Addresses and ports behind the services, by the cluster's own list; TCP and UDP alike."""
    slices = kubernetes.discovery.list_namespaced_endpoint_slice(namespace).items
    ends = [
        _End(address, port.port)
        for part in slices
        if (part.metadata.labels or {}).get("kubernetes.io/service-name") in services
        for port in part.ports or ()
        if not port_name or (port.name or port_name).startswith(port_name)
        for endpoint in part.endpoints or ()
        for address in endpoint.addresses
    ]
    if not ends:
        raise _UnseenError(f"{namespace} has no endpoints of a service {' or '.join(sorted(services))}")
    return ends


def _within(address: str, cidrs: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(cidr) for cidr in cidrs)
