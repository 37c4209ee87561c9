"""The namespace that runs live in, and what it must hold besides storage."""

from __future__ import annotations

from typing import Any

from datum.cluster.doctor.checks import Finding, ok, problem, timeout, warning
from datum.cluster.settings import ClusterSettings

POD_SECURITY = "pod-security.kubernetes.io/"
"""Prefix of the labels that set a namespace's Pod Security."""


def namespace(client: Any, settings: ClusterSettings) -> Finding:
    """Whether the namespace is there and not about to go."""
    found = _read_namespace(client, settings)
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


def pod_security(client: Any, settings: ClusterSettings) -> Finding:
    """Which Pod Security level the namespace enforces; our pods keep to `restricted`."""
    labels = _read_namespace(client, settings).metadata.labels or {}
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


def service_account(client: Any, settings: ClusterSettings) -> Finding:
    """Whether the tasks' service account is there yet."""
    from kubernetes.client import ApiException, CoreV1Api

    try:
        found = CoreV1Api(client).read_namespaced_service_account(
            settings.service_account, settings.namespace, _request_timeout=timeout()
        )
    except ApiException as error:
        if error.status != 404:
            raise
        return warning(f"{settings.service_account} is not there yet", "`make deploy` makes it")
    secrets = ", ".join(secret.name for secret in found.image_pull_secrets or ())
    return ok(settings.service_account + (f", pulls images with {secrets}" if secrets else ""))


def hub_token(client: Any, settings: ClusterSettings) -> Finding:
    """Whether the optional secret with a Hugging Face token is whole, where it is there."""
    from kubernetes.client import ApiException, CoreV1Api

    name = settings.hub_secret
    if not name:
        return ok("none: models are read without a token")
    try:
        secret = CoreV1Api(client).read_namespaced_secret(
            name, settings.namespace, _request_timeout=timeout()
        )
    except ApiException as error:
        if error.status != 404:
            raise
        return ok(f"no secret {name}: models are read without a token (it is optional)")
    if not (secret.data or {}).get("token"):
        return problem(
            f"secret {name} has no key token",
            f"kubectl -n {settings.namespace} delete secret {name}; kubectl -n {settings.namespace} create "
            f"secret generic {name} --from-file=token=FILE",
        )
    return ok(f"secret {name} has a token")


def _read_namespace(client: Any, settings: ClusterSettings) -> Any:
    """The namespace, or None where there is none."""
    from kubernetes.client import ApiException, CoreV1Api

    try:
        return CoreV1Api(client).read_namespace(settings.namespace, _request_timeout=timeout())
    except ApiException as error:
        if error.status != 404:
            raise
        return None
