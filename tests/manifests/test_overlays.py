"""Every overlay renders, is valid Kubernetes, and takes its names from its settings.env alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from datum.cluster.manifests import render_manifests, write_manifests
from datum.cluster.settings import ClusterSettings, in_cluster_service, load_cluster_settings
from datum.errors import InputError

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
TOOLS = Path(sys.executable).parent
OWN_BUCKET = ("minio", "seaweedfs")
"""Overlays that keep artifacts with keys of their own."""


@pytest.mark.parametrize("version", ["1.30", "1.36"])
def test_every_resource_is_valid(resources: list[dict[str, Any]], version: str) -> None:
    assert resources
    for resource in resources:
        # Raises also for a kind that it has no schema of.
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize(
    "resource",
    [
        {"apiVersion": "example.org/v1", "kind": "Unknown", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}, "sepc": {}},
    ],
    ids=["unknown kind", "unknown field"],
)
def test_what_is_no_kubernetes_is_not_taken_for_valid(resource: dict[str, Any]) -> None:
    with pytest.raises((kubernetes_validate.SchemaNotFoundError, kubernetes_validate.ValidationError)):
        kubernetes_validate.validate(resource, "1.36", strict=True)


def test_the_settings_of_an_overlay_load(overlay: str) -> None:
    settings = load_cluster_settings(_settings_file(MANIFESTS, overlay))
    assert settings.overlay == overlay


def test_kind_runs_the_demo_profile_on_processors_with_images_of_no_registry() -> None:
    settings = load_cluster_settings(_settings_file(MANIFESTS, "kind"))
    assert (settings.profile, settings.gpu_count, settings.registry) == ("demo", 0, "")


def test_names_are_those_of_the_settings(resources: list[dict[str, Any]], overlay: str) -> None:
    _assert_named(resources, load_cluster_settings(_settings_file(MANIFESTS, overlay)))


def test_names_follow_a_change_of_the_settings_alone(render: Any, overlay: str, tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    shutil.copytree(MANIFESTS, manifests)
    file = _settings_file(manifests, overlay)
    text = file.read_text()
    changes = {
        "NAMESPACE": "profile-of-ada",
        "KFP_NAMESPACE": "pipelines-server",
        "SERVICE_ACCOUNT": "ada-runner",
        "STORE_SECRET": "ada-store",
        "ARTIFACT_SECRET": "ada-store",
        "STORE_ENDPOINT": "http://minio.ada-objects.svc:9000",
        "PIPELINE_ROOT": "minio://ada-bucket/some/where",
    }
    for key, value in changes.items():
        text = re.sub(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
    file.write_text(text)

    resources = render(overlay, manifests)

    settings = load_cluster_settings(file)
    assert settings.namespace == "profile-of-ada"
    _assert_named(resources, settings)
    words = set(re.findall(r"[\w-]+", yaml.safe_dump(resources)))
    assert not words & {"kubeflow", "datum-store"}


KUBECTLS = [TOOLS / "kubectl", *map(Path, os.environ.get("DATUM_KUBECTLS", "").split())]
"""The kubectl of the lock file, and others that the environment names."""


@pytest.mark.parametrize("kubectl", KUBECTLS, ids=str)
def test_every_kubectl_renders_the_same(
    render: Any, overlay: str, kubectl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubectl").symlink_to(kubectl.resolve(strict=True))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    folder = MANIFESTS / "overlays" / overlay
    settings = load_cluster_settings(folder / "settings.env")
    assert render_manifests(settings, folder) == render(overlay)


def test_kustomize_is_asked_for_nothing_that_its_releases_do_differently() -> None:
    """It puts files, components and ConfigMaps together and patches lists by index; `replacements` passed
    over the keys of labels."""
    known = {"apiVersion", "kind", "resources", "components", "configMapGenerator", "patches"}
    for file in MANIFESTS.rglob("kustomization.yaml"):
        assert set(yaml.safe_load(file.read_text())) <= known, file


def test_a_name_that_nothing_fills_in_is_refused(tmp_path: Path) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"b": "${NAMESPCE}"}}}
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod))
    (tmp_path / "kustomization.yaml").write_text("resources: [pod.yaml]")
    with pytest.raises(InputError, match=r"Pod a, metadata, labels, b: found .*; did you mean NAMESPACE"):
        render_manifests(ClusterSettings(), tmp_path)


def test_an_empty_setting_that_a_resource_needs_is_refused() -> None:
    settings = load_cluster_settings(_settings_file(MANIFESTS, "minio"), ["pipeline_root="])
    with pytest.raises(InputError, match=r"found nothing for \$\{BUCKET\}, expected a value in settings.env"):
        render_manifests(settings, MANIFESTS / "overlays/minio")


@pytest.mark.parametrize("content", ["resources: [absent.yaml]", "resources: {"])
def test_an_overlay_that_kustomize_refuses_is_told_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "kustomization.yaml").write_text(content)
    with pytest.raises(InputError, match="`kubectl kustomize` fails: ") as raised:
        render_manifests(ClusterSettings(), tmp_path)
    assert "\n" not in str(raised.value)


def test_what_is_written_for_gitops_is_what_is_deployed(render: Any, overlay: str, tmp_path: Path) -> None:
    folder = MANIFESTS / "overlays" / overlay
    (tmp_path / "patch.yaml").write_text("of another overlay")
    write_manifests(load_cluster_settings(folder / "settings.env"), folder, tmp_path)
    assert (tmp_path / "patch.yaml").read_text() != "of another overlay"
    command = [str(TOOLS / "kubectl"), "kustomize", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    others = [item for item in render(overlay) if item["metadata"]["name"] == "kfp-launcher"]
    written = list(yaml.safe_load_all(run.stdout)) + others
    assert sorted(map(yaml.safe_dump, written)) == sorted(map(yaml.safe_dump, render(overlay)))


def _assert_named(resources: list[dict[str, Any]], settings: ClusterSettings) -> None:
    """That every name which settings.env gives stands where it belongs, and no placeholder is left."""
    store = settings.store_endpoint.split(".")[1] if settings.overlay == "minio" else settings.namespace
    assert _namespaces(resources) == {settings.namespace, store}
    assert "${" not in yaml.safe_dump(resources)
    runner = _one(resources, "ServiceAccount")
    assert runner["metadata"]["name"] == settings.service_account
    assert runner["metadata"]["namespace"] == settings.namespace
    assert _one(resources, "RoleBinding")["subjects"] == [
        {"kind": "ServiceAccount", "name": settings.service_account, "namespace": settings.namespace}
    ]
    # KFP's own store has a policy that names KFP; another is named besides.
    service = in_cluster_service(settings)
    others = {service.namespace} if service and service.name != "seaweedfs" else set()
    secrets = next(rule for rule in _one(resources, "Role")["rules"] if rule["resources"] == ["secrets"])
    assert secrets["resourceNames"][0] == settings.store_secret
    peers = re.findall(r"kubernetes.io/metadata.name: (\S+)", yaml.safe_dump(resources))
    ours = {settings.namespace, store} if settings.overlay == "minio" else set()
    assert set(peers) == {"kube-system", settings.kfp_namespace} | ours | others
    _assert_launcher_patched(resources, settings)
    if settings.overlay == "minio":
        _assert_store_named(resources, settings)


def _assert_launcher_patched(resources: list[dict[str, Any]], settings: ClusterSettings) -> None:
    launcher = _one(resources, "ConfigMap")
    assert launcher["metadata"] == {"name": "kfp-launcher", "namespace": settings.namespace}
    providers = yaml.safe_load(launcher["data"]["providers"])["minio"]
    assert providers["default"]["endpoint"] == f"http://seaweedfs.{settings.kfp_namespace}.svc:8333"
    stores = [providers["default"], *providers.get("overrides", ())]
    assert [store["maxRetries"] for store in stores] == [100] * len(stores)
    if settings.overlay not in OWN_BUCKET:
        assert list(providers) == ["default"]
        return
    bucket = settings.pipeline_root.split("/")[2]
    (override,) = providers["overrides"]
    assert (override["bucketName"], override["endpoint"]) == (bucket, settings.store_endpoint)
    assert override["credentials"]["secretRef"]["secretName"] == settings.store_secret


def _assert_store_named(resources: list[dict[str, Any]], settings: ClusterSettings) -> None:
    bucket = settings.pipeline_root.split("/")[2]
    (server,) = _one(resources, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    keys = {item["name"]: item["valueFrom"]["secretKeyRef"] for item in server["env"] if "valueFrom" in item}
    assert keys == {
        "MINIO_ROOT_USER": {"name": f"{settings.store_secret}-root", "key": "accesskey"},
        "MINIO_ROOT_PASSWORD": {"name": f"{settings.store_secret}-root", "key": "secretkey"},
    }
    job = _one(resources, "Job")["spec"]["template"]["spec"]
    values = {item["name"]: item["value"] for item in job["containers"][0]["env"]}
    assert (values["STORE_ENDPOINT"], values["BUCKET"]) == (settings.store_endpoint, bucket)
    assert [volume["secret"]["secretName"] for volume in job["volumes"] if "secret" in volume] == [
        settings.store_secret,
        f"{settings.store_secret}-root",
    ]
    policy = (MANIFESTS / "store-policy.json").read_text().replace("BUCKET", bucket)
    assert _statements(values["POLICY"]) == _statements(policy)


def test_the_stores_of_an_overlays_settings_are_one(overlay: str) -> None:
    settings = load_cluster_settings(_settings_file(MANIFESTS, overlay))
    buckets = {uri.split("/")[2] for uri in (settings.datasets, settings.state)}
    root = settings.pipeline_root.split("/")[2] if settings.pipeline_root else "mlpipeline"
    assert buckets == {root}


RUNNER_RULES = [
    {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["kfp-launcher"], "verbs": ["get"]},
    {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]},
]


@pytest.mark.parametrize(
    ("overlay", "secrets"),
    [
        ("default", ["mlpipeline-minio-artifact"]),
        ("kind", ["mlpipeline-minio-artifact"]),
        ("minio", ["datum-store", "mlpipeline-minio-artifact"]),
        ("seaweedfs", ["datum-store"]),
    ],
)
def test_the_runner_may_do_what_kfp_does_with_it_and_no_more(
    render: Any, overlay: str, secrets: list[str]
) -> None:
    role = _one(render(overlay), "Role")
    named = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets, "verbs": ["get"]}
    assert role["rules"] == [RUNNER_RULES[0], named, RUNNER_RULES[1]]
    kinds = {item["kind"] for item in render(overlay)}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}


def test_another_store_leaves_the_launcher_the_secret_of_kfps_own() -> None:
    file = _settings_file(MANIFESTS, "default")
    for changes, secrets in (
        (["store_secret=own"], ["own", "mlpipeline-minio-artifact"]),
        (["store_secret=own", "artifact_secret=ds-pipeline-s3-dspa"], ["own", "ds-pipeline-s3-dspa"]),
        (["store_secret=own", "artifact_secret=own"], ["own"]),
    ):
        role = _one(render_manifests(load_cluster_settings(file, changes), file.parent), "Role")
        assert role["rules"][1]["resourceNames"] == secrets


def test_the_images_are_pulled_with_the_secret_that_the_settings_name(
    resources: list[dict[str, Any]], overlay: str
) -> None:
    assert "imagePullSecrets" not in _one(resources, "ServiceAccount")
    file = _settings_file(MANIFESTS, overlay)
    rendered = render_manifests(load_cluster_settings(file, ["image_pull_secret=pull"]), file.parent)
    assert _one(rendered, "ServiceAccount")["imagePullSecrets"] == [{"name": "pull"}]
    for resource in rendered:
        kubernetes_validate.validate(resource, "1.30", strict=True)


def test_kfps_namespace_keeps_kfps_own_level_of_pod_security() -> None:
    for folder in (MANIFESTS / "kfp", MANIFESTS / "kfp/cluster-scoped"):
        assert "pod-security" not in (folder / "kustomization.yaml").read_text()


def test_an_overlay_holds_no_secret(resources: list[dict[str, Any]]) -> None:
    assert "Secret" not in {item["kind"] for item in resources}
    for name, value in _environment(resources):
        assert not re.search("KEY|PASSWORD|TOKEN|SECRET|USER", name) or value is None, name
    text = yaml.safe_dump(resources)
    assert not re.search("minioadmin|minio123|changeme", text)


def test_undeploying_by_label_leaves_namespaces_and_what_is_kfps(resources: list[dict[str, Any]]) -> None:
    left = {
        (item["kind"], item["metadata"]["name"])
        for item in resources
        if item["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") != "datum"
    }
    assert {kind for kind, _ in left} <= {"Namespace", "ConfigMap"}
    assert {name for kind, name in left if kind == "ConfigMap"} <= {"kfp-launcher"}


def test_the_stores_volume_outlives_the_store(render: Any) -> None:
    store = _one(render("minio"), "StatefulSet")["spec"]
    assert store["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert "PersistentVolumeClaim" not in {item["kind"] for item in render("minio")}


@pytest.mark.parametrize(
    ("tool", "patterns"),
    [("yamllint", ["*.yaml", "*.yml", ".yamllint"]), ("shellcheck", ["*.sh", ".ci/run"])],
)
def test_yaml_and_shell_of_the_repository_are_clean(tool: str, patterns: list[str]) -> None:
    list_files = ["git", "ls-files", *patterns]
    files = subprocess.run(list_files, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert files
    options = ["--strict"] if tool == "yamllint" else []
    command = [str(TOOLS / tool), *options, *files]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_kustomization_refers_to_its_neighbors_by_paths_that_exist() -> None:
    """Also the ones that fetch KFP, which render with a network only."""
    files = list(MANIFESTS.rglob("kustomization.yaml"))
    assert MANIFESTS / "kfp/kustomization.yaml" in files
    for file in files:
        text = yaml.safe_load(file.read_text())
        for resource in text["resources"]:
            if resource.startswith("https://"):
                assert resource.endswith("?ref=2.17.0"), resource
            else:
                assert (file.parent / resource).exists(), (file, resource)


def _settings_file(manifests: Path, overlay: str) -> Path:
    return manifests / "overlays" / overlay / "settings.env"


def _one(resources: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only resource of a kind."""
    (resource,) = (item for item in resources if item["kind"] == kind)
    return resource


def _statements(policy: str) -> list[tuple[str, list[str], list[str]]]:
    return [
        (item["Effect"], item["Resource"], sorted(item["Action"])) for item in json.loads(policy)["Statement"]
    ]


def _namespaces(resources: list[dict[str, Any]]) -> set[str]:
    return {
        item["metadata"]["name"] if item["kind"] == "Namespace" else item["metadata"]["namespace"]
        for item in resources
    }


def _environment(value: Any) -> list[tuple[str, Any]]:
    """Every environment variable with its literal value, or None where it has none."""
    if isinstance(value, list):
        return [pair for item in value for pair in _environment(item)]
    if not isinstance(value, dict):
        return []
    own = [(item["name"], item.get("value")) for item in value.get("env") or ()]
    return own + [pair for item in value.values() for pair in _environment(item)]
