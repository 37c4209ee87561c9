"""The way to the cluster, and who may do what in it."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any
from urllib.parse import urlsplit

from datum.cluster.doctor.checks import (
    Examination,
    Finding,
    listed,
    ok,
    problem,
    status_message,
    timeout,
    warning,
)
from datum.cluster.settings import ClusterSettings

MINIMUM_KUBERNETES = (1, 30)
"""Oldest Kubernetes that the manifests are validated against."""

DEPLOYED = {
    "serviceaccounts": "",
    "roles": "rbac.authorization.k8s.io",
    "rolebindings": "rbac.authorization.k8s.io",
    "networkpolicies": "networking.k8s.io",
}
"""Resource and API group of what every overlay of `manifests/` makes in the namespace of the runs."""

DEPLOYED_STORE = {
    "secrets": "",
    "services": "",
    "statefulsets": "apps",
    "jobs": "batch",
    "networkpolicies": "networking.k8s.io",
}
"""The same of what the overlay `minio` makes in the namespace of its store."""

DEPLOY_VERBS = ("create", "patch")
"""What `kubectl apply` does to each of them."""

PROXY_VERBS = ("get", "create", "delete")
"""What the KFP client does through the service proxy."""


def connect(examination: Examination, settings: ClusterSettings) -> tuple[Any, ClusterSettings]:
    """The client of the cluster, None where there is none, and the settings to go on with: inside of the
    cluster KFP is reached at its service's own address. Adds the row of the kube context."""
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import (
        ConfigException,
        list_kube_config_contexts,
        load_incluster_config,
        load_kube_config,
    )
    from yaml import YAMLError

    # Not the client's own default, which is read when it is imported.
    file = os.environ.get("KUBECONFIG") or "~/.kube/config"
    configuration = Configuration()
    try:
        load_kube_config(file, client_configuration=configuration)
        _, context = list_kube_config_contexts(file)
        found = f"{context['name']}, {configuration.host}"
    except (ConfigException, YAMLError, OSError) as error:
        try:
            load_incluster_config(client_configuration=configuration)
        except ConfigException:
            examination.add(
                "kube context",
                problem(
                    f"{file}: {' '.join(str(error).split())}",
                    "kubectl config get-contexts lists the contexts, kubectl config use-context NAME chooses "
                    "one; or name the file in KUBECONFIG",
                ),
            )
            return None, settings
        if not settings.kfp_host:
            settings = dataclasses.replace(
                settings, kfp_host=f"http://ml-pipeline.{settings.kfp_namespace}.svc.cluster.local:8888"
            )
        found = f"no kubeconfig; the cluster that this runs in, {configuration.host}"
    # One try a call: every check has a row of its own to say that the server is away.
    configuration.retries = False
    examination.add("kube context", ok(found))
    return ApiClient(configuration), settings


def api_server(client: Any) -> Finding:
    """Whether the API server answers, and its version."""
    from kubernetes.client import VersionApi

    version = VersionApi(client).get_code(_request_timeout=timeout())
    # Some providers write the minor version as `30+`.
    numbers = tuple(int(re.match(r"\d*", part)[0] or 0) for part in (version.major, version.minor))  # type: ignore[index]
    if numbers < MINIMUM_KUBERNETES:
        return problem(
            f"Kubernetes {version.git_version}, expected {_dotted(MINIMUM_KUBERNETES)} or newer",
            "upgrade the cluster, or choose another kube context",
        )
    return ok(f"Kubernetes {version.git_version}")


def your_permissions(client: Any, settings: ClusterSettings) -> Finding:
    """Whether the user may make what the manifests hold, and reach KFP through the API server."""
    from kubernetes.client import (
        ApiException,
        AuthorizationV1Api,
        V1ResourceAttributes,
        V1SelfSubjectAccessReview,
        V1SelfSubjectAccessReviewSpec,
    )

    wanted = deploy_rights(settings)
    denied: dict[str, list[str]] = {}
    for attributes in wanted:
        review = V1SelfSubjectAccessReview(
            spec=V1SelfSubjectAccessReviewSpec(resource_attributes=V1ResourceAttributes(**attributes))
        )
        try:
            answer = AuthorizationV1Api(client).create_self_subject_access_review(
                review, _request_timeout=timeout()
            )
        except ApiException as error:
            if error.status != 403:
                raise
            return problem(
                f"you may not even ask what you may do: 403 {status_message(error)}",
                "ask an administrator to bind you to the cluster role system:basic-user and, in namespace "
                f"{settings.namespace}, to admin",
            )
        if not answer.status.allowed:
            denied.setdefault(_object(attributes), []).append(attributes["verb"])
    if denied:
        what = listed(f"{'/'.join(verbs)} {name}" for name, verbs in denied.items())
        return problem(
            f"you may not {what}",
            "have a cluster administrator run `make deploy`, or ask for these rights; those inside of "
            f"{settings.namespace} come with: kubectl -n {settings.namespace} create rolebinding datum-admin "
            "--clusterrole=admin --user=YOU",
        )
    return ok(f"you may make what the overlay {settings.overlay} holds, and reach KFP")


def deploy_rights(settings: ClusterSettings) -> list[dict[str, str]]:
    """What `make deploy` does, each as the attributes of an access review."""
    rights = [{"verb": "patch", "resource": "namespaces", "name": settings.namespace}]
    places = [(settings.namespace, DEPLOYED)]
    if settings.overlay == "minio":
        # The store's namespace is the second label of its address, as the overlay has it.
        store_namespace = (urlsplit(settings.store_endpoint).hostname or "").split(".")[1:2]
        places += [(namespace, DEPLOYED_STORE) for namespace in store_namespace]
        rights += [
            {"verb": "create", "resource": "namespaces"},
            {"verb": "create", "resource": "secrets", "namespace": settings.namespace},
            {
                "verb": "patch",
                "resource": "configmaps",
                "name": "kfp-launcher",
                "namespace": settings.namespace,
            },
        ]
    rights += [
        {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        for namespace, resources in places
        for resource, group in resources.items()
        for verb in DEPLOY_VERBS
    ]
    if not settings.kfp_host:
        rights += [
            {
                "verb": verb,
                "resource": "services",
                "subresource": "proxy",
                "name": "ml-pipeline:http",
                "namespace": settings.kfp_namespace,
            }
            for verb in PROXY_VERBS
        ]
    return rights


def runner_rights(settings: ClusterSettings) -> list[dict[str, str]]:
    """What KFP's driver and launcher and Argo's executor do with a task's service account: the driver reads
    KFP's settings, the launcher the secret of the artifacts' store, and the executor reports the outcome."""
    return [
        {"verb": "get", "resource": "configmaps", "name": "kfp-launcher"},
        {"verb": "get", "resource": "secrets", "name": settings.store_secret},
        {"verb": "create", "group": "argoproj.io", "resource": "workflowtaskresults"},
        {"verb": "patch", "group": "argoproj.io", "resource": "workflowtaskresults"},
    ]


def runner_permissions(client: Any, settings: ClusterSettings) -> Finding:
    """Whether the tasks' service account may do what KFP does with it; asked as an administrator may."""
    from kubernetes.client import (
        ApiException,
        AuthorizationV1Api,
        V1ResourceAttributes,
        V1SubjectAccessReview,
        V1SubjectAccessReviewSpec,
    )

    user = f"system:serviceaccount:{settings.namespace}:{settings.service_account}"
    denied = []
    for attributes in runner_rights(settings):
        review = V1SubjectAccessReview(
            spec=V1SubjectAccessReviewSpec(
                user=user,
                resource_attributes=V1ResourceAttributes(**attributes, namespace=settings.namespace),
            )
        )
        try:
            answer = AuthorizationV1Api(client).create_subject_access_review(
                review, _request_timeout=timeout()
            )
        except ApiException as error:
            if error.status != 403:
                raise
            return warning(
                "not checked: you may not ask what others may do",
                f"an administrator can: kubectl auth can-i --list --as={user} -n {settings.namespace}",
            )
        if not answer.status.allowed:
            denied.append(f"{attributes['verb']} {_object(attributes)}")
    if denied:
        return warning(
            f"{settings.service_account} may not {listed(denied)}",
            "`make deploy` applies the role that allows it",
        )
    return ok(f"{settings.service_account} may do what KFP does with it")


def _object(attributes: dict[str, str]) -> str:
    """`resource NAME in NAMESPACE`, as far as they are given."""
    text = "/".join(attributes[part] for part in ("resource", "subresource") if part in attributes)
    name = f" {attributes['name']}" if "name" in attributes else ""
    return text + name + (f" in {attributes['namespace']}" if "namespace" in attributes else "")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)
