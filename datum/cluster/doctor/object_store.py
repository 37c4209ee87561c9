"""The store of data sets and state: its secret, its way, its rights; and the data sets in it."""

from __future__ import annotations

import base64
import os
import re
import socket
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from datum.cluster.doctor.checks import (
    CONNECT_SECONDS,
    READ_SECONDS,
    Finding,
    ok,
    problem,
    timeout,
    warning,
)
from datum.cluster.settings import ClusterSettings
from datum.errors import InputError, TemporaryFaultError
from datum.layouts import LAYOUTS
from datum.methods import DatasetName
from datum.store import S3Store
from datum.transfer import INDEX, is_published, read_index, remote_files

SECRET_KEYS = ("accesskey", "secretkey")
"""Keys of a store's secret, as KFP's own secret names them."""

_CLUSTER_HOST = re.compile(r"(?P<service>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)(\.svc(\.cluster\.local)?)?")
"""Address of a service, which only pods can resolve."""


class StoreSecret:
    """The keys of the store, once they are read; nothing prints them."""

    def __init__(self) -> None:
        self.keys: tuple[str, str] | None = None


def store_secret(client: Any, settings: ClusterSettings, secret: StoreSecret) -> Finding:
    """Whether the secret is there and whole; keeps its values in `secret`."""
    from kubernetes.client import ApiException, CoreV1Api

    name, namespace = settings.store_secret, settings.namespace
    make = (
        f"kubectl -n {namespace} create secret generic {name} --from-file=accesskey=FILE "
        "--from-file=secretkey=FILE, or set store_secret to another"
    )
    try:
        found = CoreV1Api(client).read_namespaced_secret(name, namespace, _request_timeout=timeout())
    except ApiException as error:
        if error.status != 404:
            raise
        if settings.overlay == "minio":
            return warning(f"there is no secret {name} in {namespace} yet", "`make deploy` makes it")
        return problem(f"there is no secret {name} in {namespace}", make)
    data = found.data or {}
    missing = [key for key in SECRET_KEYS if not data.get(key)]
    if missing:
        return problem(
            f"secret {name} has no key {' and no '.join(missing)}; the keys are {' and '.join(SECRET_KEYS)}",
            make,
        )
    secret.keys = tuple(base64.b64decode(data[key]).decode() for key in SECRET_KEYS)  # type: ignore[assignment]
    return ok(f"secret {name} has accesskey and secretkey")


def store(client: Any, settings: ClusterSettings, secret: StoreSecret) -> Finding:
    """Whether data sets and state can be written, read and removed with the secret's keys."""
    if not _is_url(settings.store_endpoint):
        return problem(
            f"store_endpoint is {settings.store_endpoint}", "expected http://host:port or https://"
        )
    places = [uri for uri in (settings.datasets, settings.state) if uri.startswith("s3://")]
    if secret.keys is None:
        return warning("not checked: its secret could not be read", "see the row store secret")
    if why := _unreachable(settings.store_endpoint):
        return _seen_from_inside(client, settings, why)
    for place in places:
        if fault := _probe(settings, secret, place):
            return fault
    return ok(f"{settings.store_endpoint}: wrote, read and removed an object in {' and '.join(places)}")


def dataset(settings: ClusterSettings, secret: StoreSecret, name: str) -> Finding:
    """Whether the data set that the setting `name` (source or target) names is there, by its listing."""
    uri = str(getattr(settings, name))
    other = "target" if name == "source" else "source"
    if not uri:
        if getattr(settings, other):
            return problem(
                f"{name} is empty, but {other} is given", f"set {name} too, or empty {other} for drawn scenes"
            )
        return ok("drawn street scenes: nothing to check")
    if not uri.startswith("s3://"):
        return _on_volume(settings, name, uri)
    if secret.keys is None or not _is_url(settings.store_endpoint) or _unreachable(settings.store_endpoint):
        return warning(f"not checked: {uri} lies in the store, which was not reached", "see the row store")
    names: tuple[DatasetName, ...] = ("gta", "synthia") if name == "source" else ("cityscapes",)
    try:
        # First with little patience: what follows has a task's.
        _open(settings, secret, uri).exists(INDEX)
        with _environment(settings, secret):
            files, published = remote_files(uri), read_index(uri) is not None
            if published and not is_published(uri):
                return problem(
                    f"{uri}: files of its index are missing, or have another size", "run datum-ingest again"
                )
    except (InputError, TemporaryFaultError) as error:
        return _store_fault(uri, error, settings)
    for dataset_name in names:
        if any(key.startswith(f"{LAYOUTS[dataset_name].images}/") for key in files):
            return _compare(uri, dataset_name, files, published)
    folders = " or ".join(f"{LAYOUTS[dataset_name].images}/" for dataset_name in names)
    if uri.startswith(settings.datasets.rstrip("/") + "/"):
        return warning(f"{uri} has no {folders} yet", "run the pipeline datum-ingest, which fills it, first")
    return problem(f"{uri} has no {folders}", f"upload the data set there, or correct {name}")


def _on_volume(settings: ClusterSettings, name: str, uri: str) -> Finding:
    if not uri.startswith("/data"):
        return problem(f"{name} is {uri}", "expected s3://bucket/folder, or /data/folder of the data volume")
    if not settings.data_volume:
        return problem(
            f"{uri} lies on the data volume, but data_volume is empty",
            "set data_volume to the PersistentVolumeClaim that holds the data sets",
        )
    return ok(f"{uri} on {settings.data_volume}: the first task of a run checks what is there")


def _compare(uri: str, name: DatasetName, files: Iterable[str], published: bool) -> Finding:
    """Whether every image that needs a label has one, and the other way round."""
    layout = LAYOUTS[name]
    remedy = f"complete the data set: {layout.title}'s layout, see the README"
    frames = _frames(files, layout.images, layout.image_suffix, layout.frame_ends_in_digit)
    labelled = _frames(files, layout.labels, layout.label_suffix, layout.frame_ends_in_digit)
    if layout.splits and not any(frame.startswith("train/") for frame in frames):
        return problem(f"{uri} has no image in {layout.images}/train", remedy)
    # The target's training images need no labels.
    pairs = {frame for frame in frames | labelled if not layout.splits or frame.startswith("val/")}
    lonely = sorted(pairs - (frames & labelled))
    if lonely:
        return problem(
            f"{uri}: {len(lonely)} of {len(pairs)} frames lack image or label, such as {lonely[0]}", remedy
        )
    if not pairs:
        return problem(f"{uri} has no frame in {layout.images}/val and {layout.labels}/val", remedy)
    verified = "every file of its index is there" if published else "by its listing; ingest reads the files"
    return ok(f"{uri}: {layout.title}, {len(frames)} images, {len(pairs)} with labels; {verified}")


def _frames(files: Iterable[str], folder: str, suffix: str, ends_in_digit: bool) -> set[str]:
    frames = {
        file.removeprefix(f"{folder}/").removesuffix(suffix)
        for file in files
        if file.startswith(f"{folder}/") and file.endswith(suffix)
    }
    return {frame for frame in frames if frame[-1:].isdigit() or not ends_in_digit}


def _probe(settings: ClusterSettings, secret: StoreSecret, place: str) -> Finding | None:
    """Writes, reads and removes a small object below `place`; returns what stands in the way, if anything."""
    store, key, content = _open(settings, secret, place), f"datum-doctor-{uuid.uuid4().hex}", b"datum doctor"
    try:
        store.list(key)
    except (InputError, TemporaryFaultError) as error:
        return _store_fault(place, error, settings)
    try:
        store.write_bytes(key, content)
    except InputError as error:
        if "AccessDenied" in str(error):
            return problem(
                f"{place} can be read but not written with secret {settings.store_secret}",
                "give its user the right to write there, or set store_secret to one that may",
            )
        return _store_fault(place, error, settings)
    except TemporaryFaultError as error:
        return _store_fault(place, error, settings)
    try:
        same = store.read_bytes(key) == content
        store.delete(key)
    except (InputError, TemporaryFaultError, KeyError) as error:
        return problem(
            f"{place}/{key} was written, but not read and removed again: {error}",
            "give the secret's user the rights to read and to delete, and remove that object",
        )
    if not same:
        return problem(f"{place}: what was read is not what was written", "look at the store's own health")
    return None


def _store_fault(place: str, error: Exception, settings: ClusterSettings) -> Finding:
    """The row of what `datum.store` raised of `place`."""
    name, keys = settings.store_secret, f"put the store's own keys into secret {settings.store_secret}"
    known = {
        "NoSuchBucket": (
            f"there is no bucket {urlsplit(place).netloc}",
            "make the bucket, or correct datasets, state, source and target",
        ),
        "InvalidAccessKeyId": (f"the store does not know the accesskey of secret {name}", keys),
        "SignatureDoesNotMatch": (f"the secretkey of secret {name} is wrong", keys),
        "AccessDenied": (
            f"the user of secret {name} may not list {place}",
            "give it the rights to list, read and write there, or set store_secret to one that may",
        ),
    }
    for code, (found, remedy) in known.items():
        if code in str(error):
            return problem(f"{found} ({code} from {settings.store_endpoint})", remedy)
    return problem(f"{error}", "check store_endpoint, its certificate and the store's log")


def _seen_from_inside(client: Any, settings: ClusterSettings, why: str) -> Finding:
    """What the cluster says of a store whose address cannot be reached from here."""
    from kubernetes.client import ApiException, CoreV1Api, DiscoveryV1Api

    endpoint = urlsplit(settings.store_endpoint)
    match = _CLUSTER_HOST.fullmatch(endpoint.hostname or "")
    if not match:
        return problem(
            f"{settings.store_endpoint} cannot be reached from here ({why})",
            "check store_endpoint; if only pods reach it, test from one",
        )
    name, namespace = match["service"], match["namespace"]
    try:
        service = CoreV1Api(client).read_namespaced_service(name, namespace, _request_timeout=timeout())
    except ApiException as error:
        if error.status != 404:
            raise
        if settings.overlay == "minio":
            return warning(f"there is no service {name} in {namespace} yet", "`make deploy` makes it")
        return problem(f"there is no service {name} in {namespace}", "correct store_endpoint")
    port = endpoint.port or (443 if endpoint.scheme == "https" else 80)
    ports = [item.port for item in service.spec.ports]
    if port not in ports:
        return problem(f"service {name} has ports {ports}, not {port}", "correct store_endpoint")
    slices = DiscoveryV1Api(client).list_namespaced_endpoint_slice(
        namespace, label_selector=f"kubernetes.io/service-name={name}", _request_timeout=timeout()
    )
    ready = [item for part in slices.items for item in part.endpoints or () if item.conditions.ready]
    if not ready:
        return problem(
            f"service {name} in {namespace} has no ready pod",
            f"see kubectl -n {namespace} get pods, and kubectl -n {namespace} describe service {name}",
        )
    return warning(
        f"service {name} in {namespace} is up, but only pods reach it: keys, bucket and writing not checked",
        f"to check them too: kubectl -n {namespace} port-forward service/{name} {port} & datum doctor "
        f"--set store_endpoint={endpoint.scheme}://localhost:{port}",
    )


def _is_url(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _unreachable(endpoint: str) -> str:
    """Why no connection to `endpoint` can be made from here; empty where one can."""
    parts = urlsplit(endpoint)
    try:
        address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        socket.create_connection(address, timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return str(error)
    return ""


@contextmanager
def _environment(settings: ClusterSettings, secret: StoreSecret) -> Iterator[None]:
    """The environment that `datum.store` reads, as a task's, while the block runs."""
    access_key, secret_key = secret.keys or ("", "")
    values = {
        "S3_ENDPOINT": settings.store_endpoint,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _open(settings: ClusterSettings, secret: StoreSecret, uri: str) -> S3Store:
    """The store at `uri`, with the secret's keys and less patience than a task has."""
    from minio import Minio
    from urllib3 import PoolManager, Timeout

    endpoint, place = urlsplit(settings.store_endpoint), urlsplit(uri)
    access_key, secret_key = secret.keys or ("", "")
    client = Minio(
        endpoint.netloc,
        access_key=access_key,
        secret_key=secret_key,
        secure=endpoint.scheme == "https",
        http_client=PoolManager(timeout=Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS), retries=False),
    )
    return S3Store(client, place.netloc, place.path.strip("/"))
