"""The namespace that runs live in: its security, its service account, its token."""

from datum.cluster.doctor.checks import Finding, listed, ok, problem, warning
from datum.cluster.doctor.kubernetes_client import Kubernetes
from datum.cluster.manifests import PART_OF
from datum.cluster.settings import ClusterSettings, in_cluster_service

DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"
"""Type of the secrets that nodes pull images with."""

POD_SECURITY = "pod-security.kubernetes.io/"
"""Prefix of the labels that set a namespace's Pod Security."""


def check_namespace(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether the namespace is there and is not being deleted."""
    found = kubernetes.find(kubernetes.core.read_namespace, settings.namespace)
    if found is None:
        return problem(
            f"there is no namespace {settings.namespace}",
            "set namespace to the one that KFP runs in, or to your profile's; `make kfp` installs KFP",
        )
    if found.status.phase != "Active":
        return problem(
            f"{settings.namespace} is {found.status.phase}",
            f"wait until it is gone (kubectl get namespace {settings.namespace}), then make it anew",
        )
    return ok(settings.namespace)


def check_store_namespace(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether the namespace of the installation's own MinIO holds nothing of others, which its policies would
    cut off; `make deploy` refuses one that does."""
    service = in_cluster_service(settings)
    if service is None:
        return problem(
            f"{settings.store_endpoint} is no service of this cluster",
            "set store_endpoint to http://minio.NAMESPACE.svc:9000, whose namespace `make deploy` makes",
        )
    pods = kubernetes.core.list_namespaced_pod(service.namespace).items
    others = [pod.metadata.name for pod in pods if (pod.metadata.labels or {}).get(PART_OF) != "datum"]
    if others:
        return problem(
            f"{service.namespace} has pods of others: {listed(others)}",
            "name another namespace in store_endpoint, such as http://minio.datum-store.svc:9000",
        )
    return ok(f"{service.namespace}: nothing of others is in it")


def check_pod_security(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Which Pod Security level the namespace enforces; our pods keep to `restricted`."""
    labels = kubernetes.core.read_namespace(settings.namespace).metadata.labels or {}
    levels = {
        mode: labels[POD_SECURITY + mode]
        for mode in ("enforce", "audit", "warn")
        if POD_SECURITY + mode in labels
    }
    found = ", ".join(f"{mode}={level}" for mode, level in levels.items()) or "no label"
    if levels.get("enforce") in ("baseline", "restricted"):
        return ok(found)
    return warning(
        f"{found}: pods of this namespace may run privileged. DATUM's run under restricted",
        f"kubectl label namespace {settings.namespace} {POD_SECURITY}enforce=baseline "
        f"{POD_SECURITY}warn=restricted",
    )


def check_service_account(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether the tasks' service account is there yet, and the secret that it will pull images with."""
    name, pull = settings.service_account, settings.image_pull_secret
    if pull:
        secret = kubernetes.find(kubernetes.core.read_namespaced_secret, pull, settings.namespace)
        if secret is None or secret.type != DOCKER_CONFIG:
            found = "there is no" if secret is None else f"of type {secret.type}, not {DOCKER_CONFIG}, is"
            return problem(
                f"{found} secret {pull} in {settings.namespace}, which image_pull_secret names",
                f"kubectl -n {settings.namespace} create secret docker-registry {pull} --docker-server=HOST "
                "--docker-username=USER --docker-password=TOKEN, or correct image_pull_secret",
            )
    found = kubernetes.find(kubernetes.core.read_namespaced_service_account, name, settings.namespace)
    if found is None:
        return warning(f"{name} is not there yet", "`make deploy` makes it")
    secrets = ", ".join(secret.name for secret in found.image_pull_secrets or ())
    return ok(name + (f", pulls images with {secrets}" if secrets else ""))


def check_hub_token(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether the secret with a Hugging Face token, which is optional, holds one."""
    name = settings.hub_secret
    if not name:
        return ok("none: models are read without a token")
    secret = kubernetes.find(kubernetes.core.read_namespaced_secret, name, settings.namespace)
    if secret is None:
        return ok(f"no secret {name}: models are read without a token (it is optional)")
    if not (secret.data or {}).get("token"):
        return problem(
            f"secret {name} has no key token",
            f"kubectl -n {settings.namespace} delete secret {name}; kubectl -n {settings.namespace} create "
            f"secret generic {name} --from-file=token=FILE",
        )
    return ok(f"secret {name} has a token")


def check_webhook(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether the secret with the webhook's URL holds one."""
    name = settings.webhook_secret
    secret = kubernetes.find(kubernetes.core.read_namespaced_secret, name, settings.namespace)
    if secret is None or not (secret.data or {}).get("url"):
        create = f"kubectl -n {settings.namespace} create secret generic {name} --from-file=url=FILE"
        if secret is None:
            return problem(f"there is no secret {name}, which webhook_secret names", create)
        delete = f"kubectl -n {settings.namespace} delete secret {name}"
        return problem(f"secret {name} has no key url", f"{delete}; {create}")
    return ok(f"secret {name} has a URL")
