"""`datum doctor --inside`: what the first two tasks of a run look at, looked at by Jobs, without a run.

The pods have the tasks' images, labels, service account, secrets, volumes and size, so that they meet the
policies, quotas and nodes that a run will meet.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

from datum.cluster.kubernetes_access import USER_CONTAINER, KubernetesAccess, UnreadableError
from datum.cluster.settings import ClusterSettings
from datum.cluster.upload import images_of
from datum.errors import InputError
from datum.telemetry import log

TASKS = {"check": "check parameters", "node": "check node"}
"""Kinds of the tasks whose look is taken, with their names in a run."""
POLL_SECONDS = 2.0
"""Time between two looks at the pod."""
SPARE_SECONDS = 60
"""Of a Job's time, for reading its log: with the time its pod and the log are gone."""
KEPT_SECONDS = 600
"""Time that a Job stays after its end where nobody is there any more to remove it."""


def look_inside(settings: ClusterSettings) -> None:
    """Has both Jobs look, one after the other, and prints the rows of each.

    Raises `InputError` where a Job finds something wrong, does not begin in time, or may not be made.
    """
    kubernetes = KubernetesAccess.find(settings)
    if kubernetes is None:
        raise InputError(
            "--inside: found no kube context, expected one; kubectl config get-contexts lists them"
        )
    try:
        wrong = [name for kind, name in TASKS.items() if not _look(kubernetes, kind)]
    except UnreadableError as error:
        raise error.fault(
            f"--inside: {error}; it takes the rights to create and delete jobs, and to read pods, their logs "
            f"and events in {settings.namespace}"
        ) from None
    if wrong:
        raise InputError(
            f"--inside: what {' and '.join(wrong)} found is wrong; the rows above say what to do"
        )


def job_manifest(settings: ClusterSettings, kind: str) -> dict[str, Any]:
    """A Job that looks at what a task of this `kind` looks at, in a pod like the task's."""
    from pipelines.resources import Cluster

    cluster = Cluster(images=images_of(settings), data_volume=settings.data_volume, form=settings)
    needs = cluster.needs(kind)
    asked: dict[str, Any] = {"installation": settings.as_json()}
    size = {"cpu": needs.cpu, "memory": cluster.memory_of(kind)}
    bounds = {"memory": size["memory"]}
    placed: dict[str, Any] = {}
    if kind == "node":
        names = ("base_model", "gpu_count", "source", "target", "profile")
        asked["node"] = {**{name: getattr(settings, name) for name in names}, "overrides": []}
        if settings.gpu_count:
            bounds[settings.gpu_type] = str(settings.gpu_count)
        placed = {"nodeSelector": dict(settings.node_selector), "tolerations": list(settings.tolerations)}
    volumes = _volumes(settings, needs)
    container = {
        "name": USER_CONTAINER,
        "image": cluster.image_of(kind),
        "command": ["python3", "-m", "components.inside", json.dumps(asked)],
        "env": list(_environment(settings, needs)),
        # As KFP tells its launcher where its metadata store is.
        "envFrom": [{"configMapRef": {"name": "metadata-grpc-configmap", "optional": True}}],
        "resources": {"requests": {**size, **bounds}, "limits": bounds},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": name, "mountPath": path} for name, (path, _) in volumes.items()],
    }
    labels = {**settings.pod_labels, **cluster.labels_of(kind)}
    name = f"datum-{kind}-{uuid.uuid4().hex[:8]}"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": settings.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": round(needs.hours * 3600),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": settings.service_account,
                    "automountServiceAccountToken": False,
                    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [container],
                    "volumes": [{"name": name, **source} for name, (_, source) in volumes.items()],
                    **placed,
                },
            },
        },
    }


def _environment(settings: ClusterSettings, needs: Any) -> Iterator[dict[str, Any]]:
    from datum.data_cache import CACHE
    from datum.patience import PATIENCE
    from pipelines.resources import CACHE_FOLDER, CHECK_PATIENCE, HUB_KEYS, STORE_KEYS

    yield {"name": PATIENCE, "value": str(CHECK_PATIENCE)}
    if needs.shares_data and settings.data_cache:
        yield {"name": CACHE, "value": CACHE_FOLDER}
    secrets = [(settings.store_secret, STORE_KEYS, False)]
    if needs.hub and settings.hub_secret:
        secrets.append((settings.hub_secret, HUB_KEYS, True))
    for secret, keys, optional in secrets:
        for key, variable in keys.items():
            reference = {"name": secret, "key": key, "optional": optional}
            yield {"name": variable, "valueFrom": {"secretKeyRef": reference}}


def _volumes(settings: ClusterSettings, needs: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """By name: where each volume is mounted, and what it is."""
    from pipelines.resources import CACHE_FOLDER

    scratch: dict[str, Any] = {"emptyDir": {"sizeLimit": needs.disk}}
    if settings.scratch_class:
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": settings.scratch_class,
            "resources": {"requests": {"storage": needs.disk}},
        }
        scratch = {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
    volumes: dict[str, tuple[str, dict[str, Any]]] = {
        "tmp": ("/tmp", {"emptyDir": {"sizeLimit": needs.disk}}),
        "scratch": ("/scratch", scratch),
        "dev-shm": ("/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": needs.shared_memory}}),
    }
    claims = {"data": ("/data", settings.data_volume)}
    if needs.shares_data:
        claims["cache"] = (CACHE_FOLDER, settings.data_cache)
    for name, (path, claim_name) in claims.items():
        if claim_name:
            volumes[name] = (path, {"persistentVolumeClaim": {"claimName": claim_name}})
    return volumes


def _look(kubernetes: KubernetesAccess, kind: str) -> bool:
    """Makes the Job, waits for its end, prints what it found and removes it; whether all was right."""
    from kubernetes import client as api

    jobs, manifest = api.BatchV1Api(kubernetes.client), job_manifest(kubernetes.settings, kind)
    name, namespace = manifest["metadata"]["name"], kubernetes.settings.namespace
    print(f"\n{TASKS[kind]}, from inside (job {name} in {namespace})", flush=True)
    if kubernetes.read(jobs.create_namespaced_job, namespace, body=manifest) is None:
        raise UnreadableError(f"there is no namespace {namespace}")
    try:
        pod = _ended_pod(kubernetes, name, manifest["spec"]["activeDeadlineSeconds"] - SPARE_SECONDS)
        for line in kubernetes.log(pod.metadata.name) or ():
            print(line)
        for status in pod.status.container_statuses or ():
            ended = status.state and status.state.terminated
            if ended and ended.reason not in ("Completed", "Error"):
                print(f"✗ {ended.reason}")
        return bool(pod.status.phase == "Succeeded")
    finally:
        kubernetes.read(jobs.delete_namespaced_job, name, namespace, propagation_policy="Background")


def _ended_pod(kubernetes: KubernetesAccess, job: str, seconds: float) -> Any:
    """The Job's pod, once it has ended. Says what it waits for, each time that this changes; raises
    `InputError` with it where the `seconds` are over."""
    core, namespace = kubernetes.core, kubernetes.settings.namespace
    end, said = time.monotonic() + seconds, ""
    while True:
        pods = kubernetes.read(core.list_namespaced_pod, namespace, label_selector=f"job-name={job}")
        pod = next(iter(pods.items), None)
        if pod and pod.status.phase in ("Succeeded", "Failed"):
            return pod
        waits = _waits_for(pod) if pod else _refusal(kubernetes, job)
        if waits != said:
            log(f"  waits: {waits}" if waits else "  at work")
            said = waits
        if time.monotonic() > end:
            raise InputError(
                f"--inside: job {job} did not end in {seconds / 60:.0f} minutes ({waits or 'at work'}); "
                "mend that and look again"
            )
        time.sleep(POLL_SECONDS)


def _waits_for(pod: Any) -> str:
    """Why a pod is not at work yet; empty where it is."""
    for status in pod.status.container_statuses or ():
        if waiting := status.state and status.state.waiting:
            return f"{waiting.reason}: {waiting.message}" if waiting.message else str(waiting.reason)
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status != "True":
            return str(condition.message or condition.reason)
    return "" if pod.status.phase == "Running" else "its node has not begun with it"


def _refusal(kubernetes: KubernetesAccess, job: str) -> str:
    """Why a Job has no pod: what its controller says of it."""
    events = kubernetes.read(
        kubernetes.core.list_namespaced_event,
        kubernetes.settings.namespace,
        field_selector=f"involvedObject.name={job},type=Warning",
    )
    messages = [str(event.message) for event in events.items] if events else []
    # Each try is a pod of another name.
    return re.sub(rf"{job}-\w*", job, messages[-1]) if messages else "the Job has no pod yet"
