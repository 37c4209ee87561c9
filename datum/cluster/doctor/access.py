"""How the cluster is reached, and who may do what in it."""

import dataclasses
import re
from collections.abc import Iterable

from kubernetes.client import ApiException, Configuration
from kubernetes.config import ConfigException, load_incluster_config

from datum.cluster.client import service_url
from datum.cluster.doctor.checks import Finding, listed, ok, problem, warning
from datum.cluster.doctor.kubernetes_client import Kubernetes
from datum.cluster.kubeconfig import load_kubeconfig, refusal
from datum.cluster.settings import ClusterSettings, in_cluster_service
from datum.errors import InputError

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


def connect(settings: ClusterSettings) -> tuple[Finding, Kubernetes, ClusterSettings]:
    """The row of the kube context, the cluster, and the settings to go on with.

    Inside of a cluster the settings are changed so that KFP is reached at its service's own address. Where
    the row is a problem, the cluster cannot be asked anything.
    """
    configuration = Configuration()
    try:
        found = f"{load_kubeconfig(configuration)}, {configuration.host}"
    except InputError as error:
        try:
            load_incluster_config(client_configuration=configuration)
        except ConfigException:
            finding = problem(
                str(error),
                "kubectl config get-contexts lists the contexts, kubectl config use-context NAME chooses "
                "one; or name the file in KUBECONFIG",
            )
            return finding, Kubernetes(configuration), settings
        host = settings.kfp_host or service_url(settings.kfp_namespace)
        settings = dataclasses.replace(settings, kfp_host=host)
        found = f"no kubeconfig; the cluster that this runs in, {configuration.host}"
    return ok(found), Kubernetes(configuration), settings


def check_api_server(kubernetes: Kubernetes) -> Finding:
    """Whether the API server answers, and its version."""
    version = kubernetes.version.get_code()
    # Some providers write the minor version as `30+`.
    numbers = tuple(int(re.match(r"\d*", part)[0] or 0) for part in (version.major, version.minor))  # type: ignore[index]
    if numbers < MINIMUM_KUBERNETES:
        return problem(
            f"Kubernetes {version.git_version}, expected {'.'.join(map(str, MINIMUM_KUBERNETES))} or newer",
            "upgrade the cluster, or choose another kube context",
        )
    return ok(f"Kubernetes {version.git_version}")


def check_your_permissions(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether the user may make what the manifests hold, and reach KFP through the API server."""
    try:
        denied = _denied(kubernetes, deploy_rights(settings))
    except ApiException as error:
        if error.status != 403:
            raise
        return problem(
            f"you may not even ask what you may do: 403 {refusal(error)[0]}",
            "ask an administrator to bind you to the cluster role system:basic-user and, in namespace "
            f"{settings.namespace}, to admin",
        )
    if denied:
        return problem(
            f"you may not {denied}",
            "have a cluster administrator run `make deploy`, or ask for these rights; those inside of "
            f"{settings.namespace} come with: kubectl -n {settings.namespace} create rolebinding datum-admin "
            "--clusterrole=admin --user=YOU",
        )
    return ok(f"you may make what the overlay {settings.overlay} holds, and reach KFP")


def check_task_permissions(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether the tasks' service account may do what KFP does with it; asked as an administrator may."""
    user = f"system:serviceaccount:{settings.namespace}:{settings.service_account}"
    try:
        denied = _denied(kubernetes, task_rights(settings), user)
    except ApiException as error:
        if error.status != 403:
            raise
        return warning(
            "not checked: you may not ask what others may do",
            f"an administrator can: kubectl auth can-i --list --as={user} -n {settings.namespace}",
        )
    if denied:
        return warning(
            f"{settings.service_account} may not {denied}", "`make deploy` applies the role that allows it"
        )
    return ok(f"{settings.service_account} may do what KFP does with it")


@dataclasses.dataclass(frozen=True)
class Right:
    """What somebody may do, in the words of a Kubernetes access review."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    group: str = ""
    subresource: str = ""

    @property
    def target(self) -> str:
        """`resource/subresource NAME in NAMESPACE`, as far as they are given."""
        parts = (("", self.resource), ("/", self.subresource), (" ", self.name), (" in ", self.namespace))
        return "".join(before + part for before, part in parts if part)


def deploy_rights(settings: ClusterSettings) -> list[Right]:
    """What `make deploy` does."""
    runs = settings.namespace
    rights, places = [], [(runs, DEPLOYED)]
    if settings.overlay == "minio":
        if store := in_cluster_service(settings):
            places += [(store.namespace, DEPLOYED_STORE)]
        rights += [Right("create", "namespaces")]
    if settings.overlay == "seaweedfs":
        rights += [Right("create", "pods", settings.kfp_namespace, subresource="exec")]
    if settings.overlay in ("minio", "seaweedfs"):
        rights += [Right("create", "secrets", runs)]
    rights += [Right("patch", "configmaps", runs, "kfp-launcher")]
    rights += [
        Right(verb, resource, namespace, group=group)
        for namespace, resources in places
        for resource, group in resources.items()
        for verb in DEPLOY_VERBS
    ]
    if not settings.kfp_host:
        service = (settings.kfp_namespace, "ml-pipeline:http")
        rights += [Right(verb, "services", *service, subresource="proxy") for verb in PROXY_VERBS]
    return rights


def task_rights(settings: ClusterSettings) -> list[Right]:
    """What KFP's driver and launcher and Argo's executor do with a task's service account: the driver reads
    KFP's settings, the launcher the secrets of the stores, and the executor reports the outcome."""
    runs = settings.namespace
    secrets = dict.fromkeys((settings.store_secret, settings.artifact_secret))
    return [
        Right("get", "configmaps", runs, "kfp-launcher"),
        *(Right("get", "secrets", runs, name) for name in secrets),
        Right("create", "workflowtaskresults", runs, group="argoproj.io"),
        Right("patch", "workflowtaskresults", runs, group="argoproj.io"),
    ]


def _denied(kubernetes: Kubernetes, rights: Iterable[Right], user: str = "") -> str:
    """Those of `rights` that you, or `user`, lack, as text; empty where there is none."""
    denied: dict[str, list[str]] = {}
    for right in rights:
        if not kubernetes.allows(dataclasses.asdict(right), user):
            denied.setdefault(right.target, []).append(right.verb)
    return listed(f"{'/'.join(verbs)} {target}" for target, verbs in denied.items())
