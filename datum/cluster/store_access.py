"""The store of an installation, as it can be reached from this machine.

`S3_ENDPOINT` and keys in the environment go before all else. Without them the keys are read from the secret
of the settings, and a store that only pods reach is reached through the Kubernetes API.
"""

import base64
import contextlib
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from datum.cluster.kubernetes_access import KubernetesAccess, UnreadableError
from datum.cluster.port_forward import forwarded
from datum.cluster.settings import ClusterSettings, in_cluster_service
from datum.errors import InputError
from datum.store import Access, Store, open_store

SECRET_KEYS = ("accesskey", "secretkey")
"""Keys of a store's secret, as KFP's own secret names them."""


@contextlib.contextmanager
def installed_store(settings: ClusterSettings, place: str, *, patient: bool = True) -> Iterator[Store]:
    """The store behind `place`, a URI in the settings, while the block lasts.

    Raises `InputError` where neither the environment nor the cluster leads to it, and `TemporaryFaultError`
    where the cluster does not now.
    """
    if not place.startswith("s3://"):
        yield open_store(place)
        return
    kubernetes = None if os.environ.get("S3_ENDPOINT") else KubernetesAccess.find(settings)
    if kubernetes is None:
        try:
            access = Access.from_environment(place, patient=patient)
        except InputError as error:
            raise InputError(
                f"{error}; S3_ENDPOINT is {settings.store_endpoint} to pods and may need a port-forward from "
                f"here, the keys are in the secret {settings.store_secret}"
            ) from None
        yield open_store(place, access)
        return
    with contextlib.ExitStack() as stack:
        try:
            access_key, secret_key = _keys(kubernetes)
            endpoint = stack.enter_context(_endpoint(kubernetes))
        except UnreadableError as error:
            raise error.fault(
                f"{place}: the store cannot be reached through the cluster: {error}; or set S3_ENDPOINT, "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from None
        access = Access(endpoint=endpoint, access_key=access_key, secret_key=secret_key, patient=patient)
        yield open_store(place, access)


def _keys(kubernetes: KubernetesAccess) -> tuple[str, str]:
    """The store's access key and secret key."""
    settings = kubernetes.settings
    name, namespace = settings.store_secret, settings.namespace
    secret = kubernetes.read(kubernetes.core.read_namespaced_secret, name, namespace)
    if secret is None:
        raise UnreadableError(f"there is no secret {name} in {namespace}")
    data = secret.data or {}
    if missing := [key for key in SECRET_KEYS if not data.get(key)]:
        raise UnreadableError(f"the secret {name} in {namespace} has no {' and no '.join(missing)}")
    access_key, secret_key = (base64.b64decode(data[key]).decode().strip() for key in SECRET_KEYS)
    return access_key, secret_key


@contextlib.contextmanager
def _endpoint(kubernetes: KubernetesAccess) -> Iterator[str]:
    """The store's URL from here: a port of this machine where it is that of a service."""
    endpoint, service = kubernetes.settings.store_endpoint, in_cluster_service(kubernetes.settings)
    if not service or not kubernetes.read(kubernetes.core.read_namespaced_service, *service):
        yield endpoint
        return
    parts = urlsplit(endpoint)
    if parts.scheme == "https":
        # Its certificate is for a name that this machine cannot resolve.
        raise UnreadableError(f"{endpoint} is a service with TLS, which is not reached from here by itself")
    with forwarded(kubernetes, service.namespace, service.name, parts.port or 80) as port:
        yield f"http://127.0.0.1:{port}"
