"""Volumes: a default StorageClass where the overlay makes a claim, the claims that hold data sets, and the
size of the store's own."""

from kubernetes.utils.quantity import parse_quantity

from components.run_room import bytes_of_model, room_of_run
from datum.cluster.doctor.checks import Finding, listed, ok, problem, warning
from datum.cluster.doctor.kubernetes_client import Kubernetes
from datum.cluster.network import KFP_STORE
from datum.cluster.settings import ClusterSettings, in_cluster_service
from datum.config import load_settings
from datum.errors import InputError
from datum.room import size_in_words

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
"""Annotation of the StorageClass that claims without one get."""


def check_storage_class(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether claims get a volume without naming a class; only the overlay `minio` makes one."""
    if settings.overlay != "minio":
        return ok(f"not needed: the overlay {settings.overlay} makes no volume")
    classes = kubernetes.storage.list_storage_class().items
    defaults = [
        item.metadata.name
        for item in classes
        if (item.metadata.annotations or {}).get(DEFAULT_CLASS) == "true"
    ]
    if defaults:
        return ok(f"{defaults[0]} is the default")
    names = [item.metadata.name for item in classes]
    first = names[0] if names else "NAME"
    return problem(
        f"none of the StorageClasses ({listed(names) or 'there are none'}) is the default",
        ("" if names else "install a volume provisioner, then ")
        + f"kubectl annotate storageclass {first} {DEFAULT_CLASS}=true",
    )


def check_data_volume(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether the claim with data sets is there and bound."""
    return _check_claim(kubernetes, settings, "data_volume", "make it and fill it with the data sets")


def check_data_cache(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether the claim that keeps fetched data sets is there and bound, and trainings on several nodes can
    mount it."""
    remedy = "make it, ReadWriteMany, with room for the data sets of some runs (GTA: 57 GB)"
    found = _check_claim(kubernetes, settings, "data_cache", remedy)
    if " is Pending, " in found.found:
        # Nothing else mounts a new one, so that a class which waits for a pod would keep us waiting for ever.
        return warning(
            f"{found.found} from the first training on, if its class has volumeBindingMode "
            "WaitForFirstConsumer",
            f"else {found.remedy}",
        )
    if found.status == "ok" and settings.data_cache and "ReadWriteMany" not in found.found:
        return warning(
            f"{found.found}: trainings can mount it on one node alone, and wait for that node",
            "make the claim ReadWriteMany, or hold the trainings on one node by node_selector",
        )
    return found


def _check_claim(kubernetes: Kubernetes, settings: ClusterSettings, setting: str, remedy: str) -> Finding:
    claim = getattr(settings, setting)
    if not claim:
        return ok(f"not needed: {setting} is empty")
    read = kubernetes.core.read_namespaced_persistent_volume_claim
    found = kubernetes.find(read, claim, settings.namespace)
    if found is None:
        return problem(
            f"there is no PersistentVolumeClaim {claim} in {settings.namespace}",
            f"{remedy}, or set {setting} to one of: kubectl -n "
            f"{settings.namespace} get persistentvolumeclaims",
        )
    if found.status.phase != "Bound":
        return problem(
            f"PersistentVolumeClaim {claim} is {found.status.phase}, expected Bound",
            f"kubectl -n {settings.namespace} describe persistentvolumeclaim {claim} says why",
        )
    size = (found.status.capacity or {}).get("storage", "size unknown")
    return ok(f"{claim} is bound, {size}, {', '.join(found.status.access_modes or ())}")


def check_store_room(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether the claims of a store in the cluster hold what one reproduction puts there beside its data;
    what is free of them no API says."""
    service = in_cluster_service(settings)
    if service is None:
        return ok("not known: the store lies outside of the cluster")
    name, namespace = service
    core = kubernetes.core
    found = kubernetes.find(core.read_namespaced_service, name, namespace)
    selector = ",".join(f"{key}={value}" for key, value in ((found and found.spec.selector) or {}).items())
    pods = core.list_namespaced_pod(namespace, label_selector=selector).items if selector else []
    volumes = [volume for pod in pods for volume in pod.spec.volumes or () if volume.persistent_volume_claim]
    names = {volume.persistent_volume_claim.claim_name for volume in volumes}
    claims = [
        kubernetes.find(core.read_namespaced_persistent_volume_claim, claim, namespace)
        for claim in sorted(names)
    ]
    capacities = [(claim.status.capacity or {}).get("storage", "0") for claim in claims if claim]
    if not capacities:
        return ok(f"not known: no pod of service {name} in {namespace} has a claim")
    profile = load_settings(settings.profile)
    try:
        model = bytes_of_model(
            "" if settings.base_model.startswith("s3://") else settings.base_model, profile
        )
    except InputError as error:
        return problem(f"base_model: {error}", "correct BASE_MODEL in settings.env")
    room = room_of_run(profile, data=0, model=model, seeds=len(settings.seeds))
    own = service == (KFP_STORE, settings.kfp_namespace)
    needed = room.state + (room.artifacts if own else 0)
    size = int(sum(map(parse_quantity, capacities)))
    said = (
        f"{', '.join(sorted(names))} in {namespace}: {size_in_words(size)} in all; a reproduction needs up "
        f"to {size_in_words(needed)} beside its data"
    )
    if size < needed:
        return warning(
            said, "enlarge the claim, if its class allows that, or set STORE_ENDPOINT to another store"
        )
    return ok(said)
