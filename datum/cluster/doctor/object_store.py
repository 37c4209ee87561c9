"""The store of data sets and state: its secret, its address, its rights; and the data sets in it."""

import base64
import socket
import uuid
from collections.abc import Collection
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from datum.cluster.doctor.checks import TIMEOUT, Finding, ok, problem, warning
from datum.cluster.doctor.kubernetes_client import Kubernetes
from datum.cluster.settings import ClusterSettings, in_cluster_service
from datum.cluster.store_access import SECRET_KEYS
from datum.errors import InputError, TemporaryFaultError
from datum.layouts import LAYOUTS, Listing, check_dataset
from datum.methods import DatasetName
from datum.segmentation.pretrained_file import RANDOM, is_downloaded
from datum.store import Access, is_http_url, open_store
from datum.transfer import INDEX, is_published, remote_files

IMPATIENT: dict[str, Any] = {"timeout": TIMEOUT, "patient": False}
"""How the doctor asks a store that may not answer at all."""


class StoreChecks:
    """The checks of the store and of what lies in it; they share the store's keys, which nothing prints."""

    def __init__(self, kubernetes: Kubernetes, settings: ClusterSettings) -> None:
        self._kubernetes, self._settings = kubernetes, settings
        self._keys: tuple[str, str] | None = None
        """None until `check_secret` has found them."""

    def check_secret(self) -> Finding:
        """Whether the secret with the store's keys is there and whole."""
        name, namespace = self._settings.store_secret, self._settings.namespace
        make = (
            f"kubectl -n {namespace} create secret generic {name} --from-file=accesskey=FILE "
            "--from-file=secretkey=FILE, or set store_secret to another"
        )
        secret = self._kubernetes.find(self._kubernetes.core.read_namespaced_secret, name, namespace)
        if secret is None:
            if self._settings.overlay == "minio":
                return warning(f"there is no secret {name} in {namespace} yet", "`make deploy` makes it")
            return problem(f"there is no secret {name} in {namespace}", make)
        data = secret.data or {}
        missing = [key for key in SECRET_KEYS if not data.get(key)]
        if missing:
            return problem(
                f"secret {name} has no key {' and no '.join(missing)}; the keys are "
                f"{' and '.join(SECRET_KEYS)}",
                make,
            )
        access_key, secret_key = (base64.b64decode(data[key]).decode() for key in SECRET_KEYS)
        self._keys = access_key, secret_key
        return ok(f"secret {name} has accesskey and secretkey")

    def check_artifact_secret(self) -> Finding:
        """Whether the secret that KFP's launcher reads is where the runs are."""
        name, namespace = self._settings.artifact_secret, self._settings.namespace
        if name == self._settings.store_secret:
            return ok("the store's")
        if self._kubernetes.find(self._kubernetes.core.read_namespaced_secret, name, namespace) is None:
            return problem(
                f"there is no secret {name} in {namespace}, which KFP's launcher reads in every task",
                "set artifact_secret to the one of KFP's own store (on OpenShift AI ds-pipeline-s3-NAME)",
            )
        return ok(f"secret {name} of KFP's own store is there")

    def check_store(self) -> Finding:
        """Whether data sets and state can be written, read and removed with the secret's keys."""
        settings, endpoint = self._settings, self._settings.store_endpoint
        if not is_http_url(endpoint):
            return problem(f"store_endpoint is {endpoint}", "expected http://host:port or https://")
        if self._keys is None:
            return warning("not checked: its secret could not be read", "see the row store secret")
        if self._unreachable:
            return self._seen_from_inside()
        places = [uri for uri in (settings.datasets, settings.state) if uri.startswith("s3://")]
        for place in places:
            try:
                if fault := self._probe(place):
                    return fault
            except (InputError, TemporaryFaultError) as error:
                return self._fault(place, error)
        return ok(f"{endpoint}: wrote, read and removed an object in {' and '.join(places)}")

    def check_data_set(self, name: str) -> Finding:
        """Whether the data set that the setting `name` (source or target) names is there, by its listing."""
        settings, uri = self._settings, str(getattr(self._settings, name))
        other = "target" if name == "source" else "source"
        if not uri:
            if getattr(settings, other):
                return problem(
                    f"{name} is empty, but {other} is given",
                    f"set {name} too, or empty {other} for drawn scenes",
                )
            return ok("drawn street scenes: nothing to check")
        if not uri.startswith("s3://"):
            return _on_volume(settings, name, uri)
        if self._keys is None or self._unreachable:
            return _not_asked(uri)
        try:
            # First with little patience, for a server that accepts connections and answers nothing.
            open_store(uri, self._access(**IMPATIENT)).exists(INDEX)
            files = remote_files(uri, access=self._access())
            published = any(file.sha256 for file in files.values())
            if published and not is_published(uri, self._access()):
                return problem(
                    f"{uri}: files of its index are missing, or have another size", "run datum-ingest again"
                )
        except (InputError, TemporaryFaultError) as error:
            return self._fault(uri, error)
        names: tuple[DatasetName, ...] = ("gta", "synthia") if name == "source" else ("cityscapes",)
        for dataset_name in names:
            if any(key.startswith(f"{LAYOUTS[dataset_name].images}/") for key in files):
                return _compare(uri, dataset_name, files, published)
        folders = " or ".join(f"{LAYOUTS[dataset_name].images}/" for dataset_name in names)
        if uri.startswith(settings.datasets.rstrip("/") + "/"):
            return warning(
                f"{uri} has no {folders} yet", "run the pipeline datum-ingest, which fills it, first"
            )
        return problem(f"{uri} has no {folders}", f"upload the data set there, or correct {name}")

    def check_encoder_weights(self) -> Finding:
        """Whether it is said what a training's encoder starts from, and whether the store has it."""
        settings, uri = self._settings, self._settings.encoder_weights
        if not uri and settings.profile == "demo":
            return ok("not needed: the demo profile starts from a packaged network")
        if not uri:
            return (problem if settings.schedule else warning)(
                "encoder_weights is empty, and the paper profile trains from ImageNet weights",
                "put them into the store (`datum weights mit-b5 --fetch` downloads those of mit-b5) and "
                "set encoder_weights to their s3:// URI, or to random; or name them for each run, as "
                "method_encoder_weights",
            )
        if uri == RANDOM:
            return ok("random, as set")
        if is_downloaded(uri):
            return self._downloaded(uri)
        if not uri.startswith("s3://"):
            return _on_volume(settings, "encoder_weights", uri)
        if self._keys is None or self._unreachable:
            return _not_asked(uri)
        folder, _, name = uri.rpartition("/")
        try:
            there = open_store(folder, self._access(**IMPATIENT)).exists(name)
        except (InputError, TemporaryFaultError) as error:
            return self._fault(uri, error)
        return (
            ok(uri)
            if there
            else problem(f"{uri} is not there", "upload it there, or correct encoder_weights")
        )

    def _downloaded(self, uri: str) -> Finding:
        """Whether a training may download its weights: as a rule it reaches the store alone."""
        settings = self._settings
        if settings.network_policies == "on" and not settings.webhook_secret:
            return problem(
                f"{uri}: the network policies keep a training from downloading it",
                "put the weights into the store (`datum weights` lists them, with --fetch it downloads them) "
                "and set encoder_weights to their s3:// URI",
            )
        return ok(f"{uri}: each training downloads it; a run's first task looks whether it is reached")

    @cached_property
    def _address(self) -> tuple[str, int]:
        """Host and port of the endpoint."""
        parts = urlsplit(self._settings.store_endpoint)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    @cached_property
    def _unreachable(self) -> str:
        """Why no connection to the endpoint can be made from here; empty where one can."""
        if not is_http_url(self._settings.store_endpoint):
            return "no URL"
        try:
            socket.create_connection(self._address, timeout=TIMEOUT[0]).close()
        except OSError as error:
            return str(error)
        return ""

    def _access(self, **patience: Any) -> Access:
        """How the store is reached with the secret's keys; `patience` as in `Access`, a task's by default."""
        access_key, secret_key = self._keys or ("", "")
        endpoint = self._settings.store_endpoint
        return Access(endpoint=endpoint, access_key=access_key, secret_key=secret_key, **patience)

    def _probe(self, place: str) -> Finding | None:
        """Writes, reads and removes a small object below `place`; returns what the secret's user may not do.

        Raises what a store raises that cannot be listed or is out of reach.
        """
        store = open_store(place, self._access(**IMPATIENT))
        key, content = f"datum-doctor-{uuid.uuid4().hex}", b"datum doctor"
        store.list(key)
        try:
            store.write_bytes(key, content)
        except InputError as error:
            if "AccessDenied" not in str(error):
                raise
            return problem(
                f"{place} can be read but not written with secret {self._settings.store_secret}",
                "give its user the right to write there, or set store_secret to one that may",
            )
        try:
            same = store.read_bytes(key) == content
            store.delete(key)
        except (InputError, TemporaryFaultError, KeyError) as error:
            return problem(
                f"{place}/{key} was written, but not read and removed again: {error}",
                "give the secret's user the rights to read and to delete, and remove that object",
            )
        if not same:
            return problem(
                f"{place}: what was read is not what was written", "look at the store's own health"
            )
        return None

    def _fault(self, place: str, error: Exception) -> Finding:
        """The row of what `datum.store` raised of `place`."""
        name, endpoint = self._settings.store_secret, self._settings.store_endpoint
        keys = f"put the store's own keys into secret {name}"
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
                return problem(f"{found} ({code} from {endpoint})", remedy)
        return problem(f"{error}", "check store_endpoint, its certificate and the store's log")

    def _seen_from_inside(self) -> Finding:
        """What the cluster says of a store whose address cannot be reached from here."""
        (_, port), settings = self._address, self._settings
        in_cluster = in_cluster_service(settings)
        if in_cluster is None:
            return problem(
                f"{settings.store_endpoint} cannot be reached from here ({self._unreachable})",
                "check store_endpoint; if only pods reach it, test from one",
            )
        name, namespace = in_cluster
        service = self._kubernetes.find(self._kubernetes.core.read_namespaced_service, name, namespace)
        if service is None:
            if settings.overlay == "minio":
                return warning(f"there is no service {name} in {namespace} yet", "`make deploy` makes it")
            return problem(f"there is no service {name} in {namespace}", "correct store_endpoint")
        ports = [item.port for item in service.spec.ports]
        if port not in ports:
            return problem(f"service {name} has ports {ports}, not {port}", "correct store_endpoint")
        slices = self._kubernetes.discovery.list_namespaced_endpoint_slice(
            namespace, label_selector=f"kubernetes.io/service-name={name}"
        )
        if not any(item.conditions.ready for part in slices.items for item in part.endpoints or ()):
            return problem(
                f"service {name} in {namespace} has no ready pod",
                f"see kubectl -n {namespace} get pods, and kubectl -n {namespace} describe service {name}",
            )
        return warning(
            f"service {name} in {namespace} is up, but only pods reach it: keys, bucket and writing not "
            "checked",
            "`datum doctor --inside` checks them, after `make deploy`",
        )


def _not_asked(uri: str) -> Finding:
    return warning(f"not checked: {uri} lies in the store, which was not reached", "see the row store")


def _on_volume(settings: ClusterSettings, name: str, uri: str) -> Finding:
    if not uri.startswith("/data"):
        return problem(f"{name} is {uri}", "expected s3://bucket/path, or /data/path of the data volume")
    if not settings.data_volume:
        return problem(
            f"{uri} lies on the data volume, but data_volume is empty",
            "set data_volume to the PersistentVolumeClaim that holds it",
        )
    return ok(f"{uri} on {settings.data_volume}: the first task of a run checks what is there")


def _compare(uri: str, name: DatasetName, files: Collection[str], published: bool) -> Finding:
    """Whether every image that needs a label has one, and the other way round."""
    try:
        needed, pairs = check_dataset(name, Listing(uri, files))
    except InputError as error:
        found, _, remedy = str(error).partition("; ")
        return problem(found, remedy)
    verified = "every file of its index is there" if published else "by its listing; ingest reads the files"
    images = f"{LAYOUTS[name].title}, {len(needed) - len(pairs)} images, {len(pairs)} with labels"
    return ok(f"{uri}: {images}; {verified}")
