"""The *restricted* profile of the Pod Security Standards holds for every pod of every overlay.

Source of the profile: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (every control of
*baseline* and of *restricted*, for Linux).
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

VOLUME_TYPES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
"""Restricted: volume types."""
SECCOMP_PROFILES = ("RuntimeDefault", "Localhost")
APPARMOR_PROFILES = ("RuntimeDefault", "Localhost", None)
SELINUX_TYPES = ("container_t", "container_init_t", "container_kvm_t", "container_engine_t", "", None)
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
"""Baseline: sysctls that stay within the pod."""
APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


def violations(template: Mapping[str, Any]) -> list[str]:
    """What in a pod template (`metadata`, `spec`) the restricted profile forbids; empty: nothing."""
    return [*_pod(template.get("metadata") or {}, template["spec"]), *_containers(template["spec"])]


def containers(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All containers of a pod: init, ephemeral and ordinary ones."""
    return [
        container
        for key in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(key) or ()
    ]


def _pod(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"pod: {key}"
    for key, profile in (metadata.get("annotations") or {}).items():
        if key.startswith(APPARMOR_ANNOTATION) and not profile.startswith(("runtime/default", "localhost/")):
            yield f"pod: AppArmor profile {profile}"
    for volume in spec.get("volumes") or ():
        # A volume without a type is an emptyDir.
        forbidden = set(volume) - {"name"} - VOLUME_TYPES
        if forbidden:
            yield f"volume {volume['name']}: {', '.join(sorted(forbidden))}"
    context = spec.get("securityContext") or {}
    yield from _shared("pod", context)
    for sysctl in context.get("sysctls") or ():
        if sysctl["name"] not in SYSCTLS:
            yield f"pod: sysctl {sysctl['name']}"


def _containers(spec: Mapping[str, Any]) -> Iterator[str]:
    pod = spec.get("securityContext") or {}
    for container in containers(spec):
        where = f"container {container['name']}"
        context = container.get("securityContext") or {}
        yield from _shared(where, context)
        if context.get("privileged"):
            yield f"{where}: privileged"
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{where}: allowPrivilegeEscalation is not false"
        capabilities = context.get("capabilities") or {}
        if "ALL" not in (capabilities.get("drop") or ()):
            yield f"{where}: capabilities.drop lacks ALL"
        added = set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}
        if added:
            yield f"{where}: adds capabilities {', '.join(sorted(added))}"
        if context.get("procMount", "Default") != "Default":
            yield f"{where}: procMount {context['procMount']}"
        if any(port.get("hostPort") for port in container.get("ports") or ()):
            yield f"{where}: hostPort"
        # What the container leaves open, the pod may set.
        if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            yield f"{where}: runAsNonRoot is not true"
        if not (context.get("seccompProfile") or pod.get("seccompProfile")):
            yield f"{where}: no seccompProfile"
        yield from _handlers(where, container)


def _shared(where: str, context: Mapping[str, Any]) -> Iterator[str]:
    """The controls that hold for a pod's security context as for a container's."""
    if context.get("runAsUser") == 0:
        yield f"{where}: runAsUser 0"
    seccomp = context.get("seccompProfile")
    if seccomp and seccomp.get("type") not in SECCOMP_PROFILES:
        yield f"{where}: seccompProfile {seccomp.get('type')}"
    if (context.get("appArmorProfile") or {}).get("type") not in APPARMOR_PROFILES:
        yield f"{where}: appArmorProfile {context['appArmorProfile']['type']}"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield f"{where}: seLinuxOptions"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{where}: hostProcess"


def _handlers(where: str, container: Mapping[str, Any]) -> Iterator[str]:
    """Baseline, from Kubernetes 1.34 on: probes and lifecycle hooks name no host."""
    handlers = [
        *(container.get(key) for key in ("livenessProbe", "readinessProbe", "startupProbe")),
        *(container.get("lifecycle") or {}).values(),
    ]
    for handler in handlers:
        for kind in ("httpGet", "tcpSocket"):
            if ((handler or {}).get(kind) or {}).get("host"):
                yield f"{where}: a probe or hook names a host"


COMPLIANT: Mapping[str, Any] = {
    "metadata": {},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [
            {
                "name": "first",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                },
            }
        ],
        "containers": [
            {
                "name": "main",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "ports": [{"containerPort": 80}],
                "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
            }
        ],
        "volumes": [
            {"name": "a", "emptyDir": {}},
            {"name": "b", "secret": {"secretName": "b"}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "d"},
        ],
    },
}

POD, MAIN, FIRST = "spec", "spec/containers/0", "spec/initContainers/0"
VIOLATIONS: list[tuple[str, Any]] = [
    (f"{POD}/hostNetwork", True),
    (f"{POD}/hostPID", True),
    (f"{POD}/hostIPC", True),
    (f"{POD}/volumes/0", {"name": "a", "hostPath": {"path": "/"}}),
    (f"{POD}/volumes/0", {"name": "a", "nfs": {"server": "s", "path": "/"}}),
    (f"{POD}/securityContext", None),
    (f"{POD}/securityContext/runAsNonRoot", False),
    (f"{POD}/securityContext/runAsUser", 0),
    (f"{POD}/securityContext/seccompProfile", None),
    (f"{POD}/securityContext/seccompProfile/type", "Unconfined"),
    (f"{POD}/securityContext/sysctls", [{"name": "kernel.msgmax", "value": "65536"}]),
    (f"{POD}/securityContext/seLinuxOptions", {"type": "spc_t"}),
    (f"{POD}/securityContext/seLinuxOptions", {"user": "system_u"}),
    (f"{POD}/securityContext/appArmorProfile", {"type": "Unconfined"}),
    (f"{POD}/securityContext/windowsOptions", {"hostProcess": True}),
    ("metadata/annotations", {f"{APPARMOR_ANNOTATION}main": "unconfined"}),
    (f"{MAIN}/securityContext", None),
    (f"{FIRST}/securityContext", None),
    (f"{MAIN}/securityContext/privileged", True),
    (f"{MAIN}/securityContext/allowPrivilegeEscalation", True),
    (f"{MAIN}/securityContext/allowPrivilegeEscalation", None),
    (f"{MAIN}/securityContext/capabilities", None),
    (f"{MAIN}/securityContext/capabilities/drop", ["NET_RAW"]),
    (f"{MAIN}/securityContext/capabilities/add", ["SYS_ADMIN"]),
    (f"{MAIN}/securityContext/runAsNonRoot", False),
    (f"{MAIN}/securityContext/runAsUser", 0),
    (f"{MAIN}/securityContext/seccompProfile", {"type": "Unconfined"}),
    (f"{MAIN}/securityContext/procMount", "Unmasked"),
    (f"{MAIN}/ports/0/hostPort", 80),
    (f"{MAIN}/livenessProbe/httpGet/host", "10.0.0.1"),
    (f"{MAIN}/lifecycle", {"postStart": {"tcpSocket": {"host": "10.0.0.1", "port": 1}}}),
    (f"{POD}/ephemeralContainers", [{"name": "debug"}]),
]


def _changed(path: str, value: Any) -> dict[str, Any]:
    """The compliant pod with `value` at `path`."""
    template = copy.deepcopy(dict(COMPLIANT))
    *way, last = (int(part) if part.isdigit() else part for part in path.split("/"))
    place: Any = template
    for part in way:
        place = place[part]
    place[last] = value
    return template


def test_the_checker_accepts_a_compliant_pod() -> None:
    assert violations(COMPLIANT) == []


@pytest.mark.parametrize(("path", "value"), VIOLATIONS)
def test_the_checker_finds_each_violation(path: str, value: Any) -> None:
    assert violations(_changed(path, value))


def test_a_container_may_set_what_the_pod_leaves_open() -> None:
    own = {"runAsNonRoot": True, "seccompProfile": {"type": "Localhost"}}
    template = copy.deepcopy(dict(COMPLIANT))
    del template["spec"]["securityContext"]
    for container in containers(template["spec"]):
        container["securityContext"].update(own)  # type: ignore[attr-defined]
    assert violations(template) == []


def test_every_pod_of_an_overlay_is_restricted(resources: list[dict[str, Any]]) -> None:
    assert {name: violations(template) for name, template in _templates(resources).items()} == {
        name: [] for name in _templates(resources)
    }


def test_the_stores_pods_are_among_those_checked(render: Any) -> None:
    assert set(_templates(render("minio"))) == {"StatefulSet minio", "Job datum-bucket"}


def test_every_container_is_pinned_bounded_and_read_only(resources: list[dict[str, Any]]) -> None:
    for name, template in _templates(resources).items():
        for container in containers(template["spec"]):
            _, _, tag = container["image"].rpartition(":")
            assert any(digit.isdigit() for digit in tag) and "/" not in tag, (name, container["image"])
            for bound in ("requests", "limits"):
                assert set(container["resources"][bound]) == {"cpu", "memory", "ephemeral-storage"}, name
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            if not name.startswith("Job "):
                assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container), name
        for volume in template["spec"]["volumes"]:
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], (name, volume)


def test_no_pod_of_the_store_holds_a_token_of_the_api(resources: list[dict[str, Any]]) -> None:
    for name, template in _templates(resources).items():
        assert template["spec"]["automountServiceAccountToken"] is False, name


def test_the_stores_namespace_enforces_and_no_other_is_named(render: Any, overlay: str) -> None:
    levels = {
        item["metadata"]["name"]: item["metadata"]["labels"]
        for item in render(overlay)
        if item["kind"] == "Namespace"
    }
    own = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    assert levels == ({"datum-store": own} if overlay == "minio" else {})


HARDENED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What KFP (2.16 and newer, argocompiler/security_context.go) gives every container of a run. Its own and
Argo's get runAsNonRoot besides; a task's gets what its author sets."""
FORMS_OF_VOLUMES = {"emptyDirMounts", "pvcMount"}
"""The ways of kfp-kubernetes to mount what the profile allows."""


def _task_pod(executor: Mapping[str, Any]) -> dict[str, Any]:
    """The pod that KFP makes of a task of a compiled pipeline, as far as the profile looks at it."""
    own = HARDENED | executor.get("securityContext", {})
    theirs = HARDENED | {"runAsNonRoot": True}
    return {
        "spec": {
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [
                {"name": name, "securityContext": theirs} for name in ("init", "kfp-launcher")
            ],
            "containers": [
                {"name": "main", "securityContext": own},
                {"name": "wait", "securityContext": theirs},
            ],
        }
    }


@pytest.mark.parametrize("pipeline", ["reproduction", "training", "ingest", "ablation", "cells", "baselines"])
def test_every_task_of_a_compiled_pipeline_is_restricted(pipeline: str) -> None:
    file = Path(__file__).parents[1] / "pipelines/golden" / f"{pipeline}.yaml"
    _, platform = yaml.safe_load_all(file.read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors
    for name, executor in executors.items():
        assert violations(_task_pod(executor)) == [], name
        mounts = {key for key in executor if "Mount" in key or "Volume" in key or "hostPath" in key}
        assert mounts <= FORMS_OF_VOLUMES, name


def test_a_task_whose_author_sets_nothing_is_not_restricted() -> None:
    assert violations(_task_pod({})) == ["container main: runAsNonRoot is not true"]


def _templates(resources: list[dict[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Every pod and pod template, at whatever depth of a resource, by kind and name."""
    return {
        f"{item['kind']} {item['metadata']['name']}": template
        for item in resources
        for template in _with_containers(item)
    }


def _with_containers(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _with_containers(item)
    elif isinstance(value, dict):
        if "containers" in (value.get("spec") or {}):
            yield value
        for item in value.values():
            yield from _with_containers(item)
