"""`datum doctor`: what a run needs of a cluster, one row per check, with the remedy of what is amiss.

Every check is made, also after one has failed; one that builds on a failed one says so. Nothing is changed
in the cluster: permissions are asked for, not tried, and the store gets one small object that is removed.
"""

from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from datum.cluster.doctor import (
    access,
    gpu_nodes,
    image_pull,
    kfp_api,
    monitoring,
    namespace,
    network_policies,
    object_store,
    volumes,
    workflow_controller,
)
from datum.cluster.doctor.checks import Examination, Finding
from datum.cluster.settings import ClusterSettings

__all__ = ["Finding", "doctor", "show"]


def doctor(settings: ClusterSettings) -> dict[str, Finding]:
    """What every check found, by its name and in the order of the table; never raises for what it finds.

    The cluster is the one of the current kube context or, where there is no kubeconfig, the one that this
    process runs in.
    """
    examination = Examination()
    context, kubernetes, settings = access.connect(settings)
    examination.add("kube context", context)
    check, asked = examination.check, (kubernetes, settings)
    cluster = ("kube context", "Kubernetes API")
    runs = (*cluster, "namespace")
    check("Kubernetes API", cluster[:1], access.check_api_server, kubernetes)
    check("namespace", cluster, namespace.check_namespace, *asked)
    check("Pod Security", runs, namespace.check_pod_security, *asked)
    check("your permissions", cluster, access.check_your_permissions, *asked)
    check("service account", runs, namespace.check_service_account, *asked)
    check("task permissions", runs, access.check_task_permissions, *asked)
    check("KFP", () if settings.kfp_host else cluster, kfp_api.check_kfp, settings)
    check("retries", cluster, workflow_controller.check_retries, *asked)
    check("network policies", cluster, network_policies.check_network_policies, *asked)
    check("GPU nodes", cluster, gpu_nodes.check_gpu_nodes, *asked)
    check("StorageClass", cluster, volumes.check_storage_class, *asked)
    check("data volume", runs, volumes.check_data_volume, *asked)
    check("data cache", runs, volumes.check_data_cache, *asked)
    if settings.overlay == "minio":
        check("store namespace", cluster, namespace.check_store_namespace, *asked)
    store = object_store.StoreChecks(*asked)
    check("store secret", runs, store.check_secret)
    check("artifact secret", runs, store.check_artifact_secret)
    check("store", (*runs, "store secret"), store.check_store)
    check("store room", cluster, volumes.check_store_room, *asked)
    for name, uri in (("source", settings.source), ("target", settings.target)):
        needs = (*runs, "store secret") if uri.startswith("s3://") else ()
        check(name, needs, store.check_data_set, name)
    needs = (*runs, "store secret") if settings.encoder_weights.startswith("s3://") else ()
    check("encoder weights", needs, store.check_encoder_weights)
    check("images", () if settings.registry else cluster, image_pull.check_image_pull, *asked)
    check("hub token", runs, namespace.check_hub_token, *asked)
    if settings.monitoring == "on":
        check("monitoring", cluster, monitoring.check_monitoring, *asked)
    if settings.webhook_secret:
        check("webhook", runs, namespace.check_webhook, *asked)
    return examination.findings


def show(findings: Mapping[str, Finding], console: Console | None = None) -> None:
    """Prints the table, and how many problems and warnings there are, to `console` (standard output)."""
    console = console or Console(highlight=False)
    colors = {"ok": "green", "warning": "yellow", "problem": "bold red"}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("found, and the remedy", overflow="fold")
    for name, finding in findings.items():
        text = Text(finding.found)
        if finding.remedy:
            text.append(f"\n→ {finding.remedy}", style="bold" if finding.status == "problem" else "")
        table.add_row(Text(finding.status, style=colors[finding.status]), name, text)
    console.print(table)
    counts = Counter(finding.status for finding in findings.values())
    summary = f"{_count(counts['problem'], 'problem')}, {_count(counts['warning'], 'warning')}"
    console.print(f"\n{summary} in {len(findings)} checks")


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
