"""Volumes: a default StorageClass where the overlay makes a claim, and the claims that hold data sets."""

from datum.cluster.doctor.checks import Finding, listed, ok, problem, warning
from datum.cluster.doctor.kubernetes_client import Kubernetes
from datum.cluster.settings import ClusterSettings

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
