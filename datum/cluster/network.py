"""What the tasks' NetworkPolicies let them reach of DNS, the Kubernetes API and the store, by the settings.

Addresses and ports are those of pods and of control planes, not of services: a NetworkPolicy is applied after
a service's address has been replaced.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from datum.cluster.settings import ClusterSettings, in_cluster_service

DNS_LABELS = {
    "kube-system": {"k8s-app": "kube-dns"},
    "openshift-dns": {"dns.operator.openshift.io/daemonset-dns": "default"},
}
"""Labels of the DNS server's pods, by their namespace; in another one every pod is taken for one."""

KFP_STORE = "seaweedfs"
"""Service of KFP's own store, which a policy of its own lets tasks reach."""

ANYWHERE = (
    {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]},
    {"cidr": "::/0", "except": ["fe80::/10"]},
)
"""Every address but link-local ones, where clouds keep credentials of their nodes."""

Rule = dict[str, Any]


def dns_rules(settings: ClusterSettings) -> list[Rule]:
    """Egress to the cluster's DNS: its pods, and addresses that belong to no pod, which listen on 53."""
    pods = _namespace(settings.dns_namespace)
    if labels := DNS_LABELS.get(settings.dns_namespace):
        pods["podSelector"] = {"matchLabels": labels}
    rules = [{"to": [pods], "ports": _ports([settings.dns_port], "UDP", "TCP")}]
    if settings.dns_cidrs:
        rules += [{"to": _blocks(settings.dns_cidrs), "ports": _ports([53], "UDP", "TCP")}]
    return rules


def api_rules(settings: ClusterSettings) -> list[Rule]:
    """Egress to the API server, which has no pod address."""
    return [{"to": _blocks(settings.api_cidrs), "ports": _ports(settings.api_ports)}]


def store_rules(settings: ClusterSettings) -> list[Rule]:
    """Egress to the store of data sets and state; none for KFP's own, which tasks reach anyhow."""
    service = in_cluster_service(settings)
    if service == (KFP_STORE, settings.kfp_namespace):
        return []
    if service:
        return [{"to": [_namespace(service.namespace)], "ports": _ports(store_ports(settings))}]
    if settings.store_cidrs:
        blocks = _blocks(settings.store_cidrs)
    elif address := _address(settings):
        blocks = [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}]
    else:
        blocks = [{"ipBlock": dict(block)} for block in ANYWHERE]
    return [{"to": blocks, "ports": _ports(store_ports(settings))}]


def model_registry_rules(settings: ClusterSettings) -> list[Rule]:
    """Egress to the model registry, if there is one: the pods of its namespace, or addresses outside."""
    return _rules_to(settings, settings.model_registry)


def pushgateway_rules(settings: ClusterSettings) -> list[Rule]:
    """Egress to the Pushgateway, if there is one: the pods of its namespace, or addresses outside."""
    return _rules_to(settings, settings.pushgateway)


def webhook_rules(settings: ClusterSettings) -> list[Rule]:
    """Egress to the webhook, if there is one; its URL, a secret, is not known here."""
    if not settings.webhook_secret:
        return []
    return [{"to": [{"ipBlock": dict(block)} for block in ANYWHERE], "ports": _ports((443, 80))}]


def store_ports(settings: ClusterSettings) -> list[int]:
    """Ports of the store that tasks may connect to: the endpoint's or, where it is set, its pods'."""
    return [settings.store_pod_port or _port(settings.store_endpoint)]


def _rules_to(settings: ClusterSettings, url: str) -> list[Rule]:
    if not url:
        return []
    service = in_cluster_service(settings, url)
    to = [_namespace(service.namespace)] if service else [{"ipBlock": dict(block)} for block in ANYWHERE]
    return [{"to": to, "ports": _ports([_port(url)])}]


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _address(settings: ClusterSettings) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `store_endpoint` is given as, if it is one."""
    try:
        return ipaddress.ip_address(urlsplit(settings.store_endpoint).hostname or "")
    except ValueError:
        return None


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _blocks(cidrs: Iterable[str]) -> list[dict[str, Any]]:
    return [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]


def _ports(ports: Iterable[int], *protocols: str) -> list[dict[str, Any]]:
    return [{"protocol": name, "port": port} for port in ports for name in protocols or ("TCP",)]
