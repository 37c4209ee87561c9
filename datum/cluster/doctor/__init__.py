"""`datum doctor`: what a run needs of a cluster, one row a check, with the remedy of what is amiss.

Every check is made, also after one has failed; one that builds on a failed one says so. Nothing is changed
in the cluster: permissions are asked for, not tried, and the store gets one small object that is removed.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING

from datum.cluster.doctor.checks import Check, Examination
from datum.cluster.settings import ClusterSettings

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Check", "doctor", "show"]


def doctor(settings: ClusterSettings) -> list[Check]:
    """Every check, in the order of the table; never raises for what it finds.

    The cluster is the one of the current kube context or, where there is no kubeconfig, the one that this
    process runs in.
    """
    from datum.cluster.doctor import access, namespace
    from datum.cluster.doctor import gpu_nodes as nodes
    from datum.cluster.doctor import image_pull as images
    from datum.cluster.doctor import kfp_api as kfp
    from datum.cluster.doctor import object_store as store
    from datum.cluster.doctor import volumes as storage

    examination = Examination()
    client, settings = access.connect(examination, settings)
    cluster = ("kube context", "Kubernetes API")
    runs = (*cluster, "namespace")
    check = examination.check
    check("Kubernetes API", cluster[:1], lambda: access.api_server(client))
    check("namespace", cluster, lambda: namespace.namespace(client, settings))
    check("Pod Security", runs, lambda: namespace.pod_security(client, settings))
    check("your permissions", cluster, lambda: access.your_permissions(client, settings))
    check("service account", runs, lambda: namespace.service_account(client, settings))
    check("task permissions", runs, lambda: access.runner_permissions(client, settings))
    check("KFP", () if settings.kfp_host else cluster, lambda: kfp.pipelines_api(client, settings))
    check("GPU nodes", cluster, lambda: nodes.gpu_nodes(client, settings))
    check("StorageClass", cluster, lambda: storage.storage_class(client, settings))
    check("data volume", runs, lambda: storage.data_volume(client, settings))
    secret = store.StoreSecret()
    check("store secret", runs, lambda: store.store_secret(client, settings, secret))
    check("store", (*runs, "store secret"), lambda: store.store(client, settings, secret))
    for name, uri in (("source", settings.source), ("target", settings.target)):
        needs = (*runs, "store secret") if uri.startswith("s3://") else ()
        check(name, needs, functools.partial(store.dataset, settings, secret, name))
    check("images", () if settings.registry else cluster, lambda: images.images(client, settings))
    check("hub token", runs, lambda: namespace.hub_token(client, settings))
    return examination.checks


def show(checks: list[Check], console: Console | None = None) -> None:
    """Prints the table, and how many problems and warnings there are, to `console` (standard output)."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console(highlight=False)
    colors = {"ok": "green", "warning": "yellow", "problem": "bold red"}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("found, and the remedy", overflow="fold")
    for check in checks:
        text = Text(check.found)
        if check.remedy:
            text.append(f"\n→ {check.remedy}", style="bold" if check.status == "problem" else "")
        table.add_row(Text(check.status, style=colors[check.status]), check.name, text)
    console.print(table)
    counts = Counter(check.status for check in checks)
    summary = f"{_count(counts['problem'], 'problem')}, {_count(counts['warning'], 'warning')}"
    console.print(f"\n{summary} in {len(checks)} checks")


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
