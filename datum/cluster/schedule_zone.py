"""The time zone that KFP starts recurring runs in: one for the whole installation."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from datum.cluster.kubernetes_access import KubernetesAccess, UnreadableError
from datum.cluster.rhythm import Rhythm, time_zone
from datum.cluster.settings import ClusterSettings
from datum.errors import InputError
from datum.telemetry import log

CONTROLLER = "ml-pipeline-scheduledworkflow"
"""Deployment of the controller that starts them."""
VARIABLE = "CRON_SCHEDULE_TIMEZONE"
"""Its environment variable with the zone; KFP's manifests fill it from `cronScheduleTimezone`, UTC, of the
ConfigMap `pipeline-install-config`."""
NEXT_TIMES = 3
"""Coming times that are shown."""


def scheduler_zone(settings: ClusterSettings) -> str | None:
    """The zone of the controller, or None where that cannot be seen from here."""
    kubernetes = KubernetesAccess.find(settings)
    try:
        return _zone_of(kubernetes, settings.kfp_namespace) if kubernetes else None
    except UnreadableError:
        return None


def require_zone(settings: ClusterSettings, rhythm: Rhythm) -> str | None:
    """The zone of the controller, as `scheduler_zone`.

    Raises `InputError` where it is another one than the rhythm means: no schedule can have its own.
    """
    zone = scheduler_zone(settings)
    if not rhythm.zone:
        return zone
    if zone is None:
        log(
            f"{rhythm.text}: the zone of KFP's scheduler cannot be seen from here; it has to be "
            f"{rhythm.zone}, {VARIABLE} of the deployment {CONTROLLER}, and is UTC unless set otherwise"
        )
        return rhythm.zone
    if not _same(zone, rhythm.zone):
        raise InputError(
            f"schedule: found {rhythm.text!r}, but KFP's scheduler runs in {zone}, the one zone of all "
            f"schedules: kubectl -n {settings.kfp_namespace} set env deployment/{CONTROLLER} "
            f"{VARIABLE}={rhythm.zone}, or give the hours of {zone}"
        )
    return zone


def coming(rhythm: Rhythm, zone: str | None) -> str:
    """The rhythm in words, its zone and its next times, in one line."""
    name = zone or "UTC"
    times = rhythm.times(datetime.now(UTC), time_zone(name))
    shown = ", ".join(map(_shown, itertools.islice(times, NEXT_TIMES)))
    assumed = "" if zone else " (the zone of KFP's scheduler unless it is set to another)"
    return f"{rhythm.words()}, {name}{assumed}; next: {shown}"


def _shown(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M}" + (f":{moment:%S}" if moment.second else "")


def _zone_of(kubernetes: KubernetesAccess, namespace: str) -> str | None:
    from kubernetes.client import AppsV1Api

    apps = AppsV1Api(kubernetes.client)
    deployment = kubernetes.read(apps.read_namespaced_deployment, CONTROLLER, namespace)
    if deployment is None:
        return None
    for container in deployment.spec.template.spec.containers:
        for variable in container.env or ():
            if variable.name == VARIABLE:
                return _value(kubernetes, namespace, variable) or "UTC"
    return "UTC"


def _value(kubernetes: KubernetesAccess, namespace: str, variable: Any) -> str:
    source = variable.value_from and variable.value_from.config_map_key_ref
    if not source:
        return variable.value or ""
    found = kubernetes.read(kubernetes.core.read_namespaced_config_map, source.name, namespace)
    return ((found.data if found else None) or {}).get(source.key, "")


def _same(one: str, other: str) -> bool:
    """Whether two zones show the same time all through the coming year."""
    start = datetime.now(UTC)
    moments = [start + timedelta(days=day) for day in range(366)]
    zones = time_zone(one), time_zone(other)
    return all(
        moment.astimezone(zones[0]).utcoffset() == moment.astimezone(zones[1]).utcoffset()
        for moment in moments
    )
