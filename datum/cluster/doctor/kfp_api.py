"""The API of Kubeflow Pipelines: reachable, new enough, and starting runs in our namespace."""

from datum.cluster.client import Kfp
from datum.cluster.doctor.checks import TIMEOUT, Finding, ok, problem, warning
from datum.cluster.settings import ClusterSettings
from datum.errors import InputError, TemporaryFaultError

MINIMUM_KFP = (2, 15)
"""Oldest KFP that the manifests fit: its store is SeaweedFS since then."""


def check_kfp(settings: ClusterSettings) -> Finding:
    """Whether KFP answers, its version, whether it runs where we say, and lets you see runs."""
    try:
        kfp = Kfp(settings, timeout=TIMEOUT, delays=())
        finding = _judge(kfp, settings)
        if finding.status != "problem":
            kfp.first(kfp.experiments, "experiments", **kfp.namespace)
    except (InputError, TemporaryFaultError) as error:
        found, _, remedy = str(error).partition("; ")
        if not remedy or "datum doctor" in remedy:
            of = f"kubectl -n {settings.kfp_namespace}"
            remedy = f"see {of} get pods -l app=ml-pipeline, and {of} logs deployment/ml-pipeline"
        return problem(found, remedy)
    return finding


def _judge(kfp: Kfp, settings: ClusterSettings) -> Finding:
    multi_user = bool(kfp.health.get("multi_user"))
    mode = "multi-user" if multi_user else "single-user"
    found = f"KFP {kfp.health.get('tag_name') or 'of unknown version'}, {mode}"
    if kfp.version and kfp.version < MINIMUM_KFP:
        return problem(f"{found}, expected 2.15 or newer", "upgrade KFP; `make kfp` installs a pinned one")
    if multi_user and settings.namespace == settings.kfp_namespace:
        return problem(
            f"{found}: runs live in the namespaces of profiles, not in KFP's own",
            "set namespace to your profile's (kubectl get profiles)",
        )
    if not multi_user and settings.namespace != settings.kfp_namespace:
        return problem(
            f"{found}: runs live in its namespace {settings.kfp_namespace}, not in {settings.namespace}",
            f"set namespace={settings.kfp_namespace}",
        )
    if not kfp.version:
        return warning(
            f"{found}: it does not say its version, expected 2.15 or newer",
            f"kubectl -n {settings.kfp_namespace} get deployment ml-pipeline -o wide shows its image",
        )
    return ok(found)
