"""Whether nodes can find the images that the pipelines are compiled with."""

import json
from collections.abc import Sequence

from components.images import BUILT_IMAGES, image_names
from datum.cluster.doctor.checks import Finding, listed, ok, problem, warning
from datum.cluster.doctor.kubernetes_client import Kubernetes
from datum.cluster.registry import RegistryError, find_manifest
from datum.cluster.settings import ClusterSettings


def check_image_pull(kubernetes: Kubernetes, settings: ClusterSettings) -> Finding:
    """Whether each stage's image can be pulled; with no registry, whether the nodes hold it.

    The images are those that were built for these settings or, before a build, that the settings name.
    """
    names = list(image_names(settings.registry, settings.tag).values())
    try:
        built = list(json.loads(BUILT_IMAGES.read_text(encoding="utf-8")).values())
    except FileNotFoundError:
        built = []
    except ValueError:
        return problem(f"{BUILT_IMAGES} is no JSON object of names", "`make images` writes it anew")
    if built and all(name.startswith(settings.registry) for name in built):
        names = built
    if not settings.registry:
        return _on_nodes(kubernetes, names)
    finding = _in_registry(names)
    if finding.status == "ok" and names is not built:
        return ok(f"{finding.found}: those of an earlier push, since {BUILT_IMAGES} names none of them")
    return finding


def _in_registry(names: Sequence[str]) -> Finding:
    missing: list[str] = []
    pushed_and_missing: list[str] = []
    refused: list[RegistryError] = []
    with_credentials = False
    for name in names:
        try:
            answer = find_manifest(name)
        except RegistryError as error:
            refused.append(error)
            continue
        with_credentials |= answer == "with credentials"
        if answer == "missing":
            # A digest is only ever recorded by a push.
            (pushed_and_missing if "@sha256:" in name else missing).append(name)
    if refused:
        return problem(f"{len(refused)} of {len(names)} images: {refused[0]}", refused[0].remedy)
    if pushed_and_missing:
        return problem(
            f"the registry lost {listed(pushed_and_missing)}",
            "push them again: make images push",
        )
    if missing:
        return warning(
            f"not in the registry yet: {listed(missing, most=len(names))}",
            "`make deploy` builds and pushes them; or make images push",
        )
    registry = names[0].rpartition("/")[0]
    if with_credentials:
        return ok(
            f"all {len(names)} can be pulled from {registry} with your credentials; nodes need their own "
            "(image pull secrets of the service account, or the node's role)"
        )
    return ok(f"all {len(names)} can be pulled from {registry}")


def _on_nodes(kubernetes: Kubernetes, names: Sequence[str]) -> Finding:
    nodes = kubernetes.core.list_node().items
    held = {name for node in nodes for image in node.status.images or () for name in image.names or ()}
    missing = [name for name in names if not _held(name, held)]
    if missing:
        return warning(
            f"registry is empty, and no node lists {listed(missing, most=len(missing))}",
            "`make deploy` loads them into kind; elsewhere set registry (a node lists its 50 largest images)",
        )
    return ok(f"all {len(names)} are on the nodes")


def _held(name: str, held: set[str]) -> bool:
    """Whether nodes hold `name`, which they list under Docker Hub's or localhost's full name."""
    return any(prefix + name in held for prefix in ("", "docker.io/library/", "docker.io/", "localhost/"))
