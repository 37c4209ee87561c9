"""`manifests/deploy.sh`: what it does in which order, and what it leaves alone."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.images import STAGES
from datum import __version__
from tests.manifests.conftest import RESOURCES
from tests.manifests.deploying import Deploy


def settings_of(overlay: str) -> str:
    return f"--settings manifests/overlays/{overlay}/settings.env"


def change_setting(checkout: Path, overlay: str, key: str, value: str) -> None:
    file = checkout / "manifests/overlays" / overlay / "settings.env"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(f"{key}={value}" if line.startswith(f"{key}=") else line for line in lines))


def steps_of(writes: list[str]) -> list[str]:
    """What was done, in order; a whole overlay and the launcher's ConfigMap are applied in one step."""
    steps = [
        "apply" if write.startswith("PATCH") or write.endswith("/configmaps/kfp-launcher") else write
        for write in writes
    ]
    return [
        step for step, before in zip(steps, ["", *steps], strict=False) if step != "apply" or step != before
    ]


def test_deploy_checks_builds_pushes_applies_uploads_and_schedules(
    deploy: Deploy, checkout: Path, api_server: Any
) -> None:
    change_setting(checkout, "default", "REGISTRY", "registry.example.org/team")
    run = deploy("deploy", "default")
    assert run.returncode == 0, run.stderr
    assert "cluster kind-laptop" in run.stdout
    assert steps_of(api_server.writes) == [
        f"datum doctor {settings_of('default')}",
        "make images push OVERLAY=default",
        "apply",
        f"datum upload {settings_of('default')}",
        f"datum schedule {settings_of('default')} --apply",
    ]


def test_deploy_applies_every_resource_of_the_overlay(
    deploy: Deploy, api_server: Any, render: Any, overlay: str
) -> None:
    assert deploy("deploy", overlay, SKIP_IMAGES="1").returncode == 0
    kept = {
        (item["kind"], item["metadata"]["name"]) for item in api_server.objects.values() if "kind" in item
    }
    assert kept >= {(item["kind"], item["metadata"]["name"]) for item in render(overlay)}


def test_a_value_that_nothing_fills_in_stops_before_anything_is_done(
    deploy: Deploy, checkout: Path, api_server: Any
) -> None:
    file = checkout / "manifests/base/service-account.yaml"
    file.write_text(file.read_text().replace("${SERVICE_ACCOUNT}", "${SERVICE_ACOUNT}"))
    run = deploy("deploy", "default", SKIP_IMAGES="1")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "found ${SERVICE_ACOUNT}; did you mean SERVICE_ACCOUNT?" in run.stderr
    assert api_server.writes == []


OTHERS: dict[str, dict[str, Any]] = {
    "api/v1/namespaces/kubeflow": {
        "kind": "Namespace",
        "metadata": {
            "labels": {
                "pod-security.kubernetes.io/enforce": "baseline",
                "istio-injection": "enabled",
                "app.kubernetes.io/part-of": "kubeflow-profile",
            },
            "managedFields": [{"manager": "kubectl-client-side-apply", "operation": "Update"}],
        },
    },
    "api/v1/namespaces/datum-store": {"kind": "Namespace", "metadata": {"labels": {"team": "storage"}}},
    "api/v1/namespaces/kubeflow/configmaps/kfp-launcher": {
        "kind": "ConfigMap",
        "metadata": {"labels": {"application-crd-id": "kubeflow-pipelines"}},
        "data": {"defaultPipelineRoot": "s3://a/b"},
    },
    "api/v1/namespaces/kubeflow/serviceaccounts/pipeline-runner": {"kind": "ServiceAccount"},
    "apis/networking.k8s.io/v1/namespaces/kubeflow/networkpolicies/theirs": {"kind": "NetworkPolicy"},
}
"""What a cluster holds that is not ours."""


def _put_others(api_server: Any) -> dict[str, Any]:
    for path, content in OTHERS.items():
        version = path.partition("/namespaces")[0].split("/", 1)[1]
        api_server.put(path, copy.deepcopy(content) | {"apiVersion": version})
    return copy.deepcopy(api_server.objects)


def test_what_is_others_stays_as_it_was_but_for_the_key_that_is_ours(
    deploy: Deploy, api_server: Any, overlay: str
) -> None:
    before = _put_others(api_server)
    run = deploy("deploy", overlay, SKIP_IMAGES="1")
    assert run.returncode == 0, run.stderr
    launcher = "api/v1/namespaces/kubeflow/configmaps/kfp-launcher"
    during = copy.deepcopy({path: api_server.objects[path] for path in before})
    assert during[launcher]["data"].pop("providers").startswith("# DATUM set this key")
    assert during == before
    # Nor is anything sent that would make us an owner of its fields.
    assert not [write for write in api_server.writes if write.endswith("/kubeflow")]
    assert deploy("undeploy", overlay).returncode == 0
    assert {path: api_server.objects[path] for path in before} == before


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("api/v1/namespaces/kubeflow/serviceaccounts/datum-runner", "ServiceAccount"),
        ("apis/rbac.authorization.k8s.io/v1/namespaces/kubeflow/roles/datum-runner", "Role"),
    ],
)
def test_what_bears_our_name_and_is_not_ours_stops_before_anything_is_done(
    deploy: Deploy, api_server: Any, path: str, kind: str
) -> None:
    version = path.partition("/namespaces")[0].split("/", 1)[1]
    api_server.put(path, {"kind": kind, "apiVersion": version, "metadata": {"labels": {"app": "theirs"}}})
    run = deploy("deploy", "default", SKIP_IMAGES="1")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert f"the cluster holds {kind} datum-runner in kubeflow without the label" in run.stderr
    assert api_server.writes == []


def test_a_namespace_with_pods_of_others_does_not_become_the_stores(deploy: Deploy, api_server: Any) -> None:
    pods = "api/v1/namespaces/datum-store/pods"
    ours = {"labels": {"app.kubernetes.io/part-of": "datum"}}
    api_server.put(f"{pods}/minio-0", {"kind": "Pod", "apiVersion": "v1", "metadata": ours})
    run = deploy("deploy", "minio", SKIP_IMAGES="1")
    assert run.returncode == 0 and "deploy: waiting for MinIO in datum-store" in run.stdout
    following = "deploy: done; next: datum submit --wait --output out"
    assert run.stdout.splitlines()[-1] == f"{following} {settings_of('minio')}"
    api_server.put(f"{pods}/postgres-0", {"kind": "Pod", "apiVersion": "v1", "metadata": {"labels": {}}})
    before = list(api_server.writes)
    run = deploy("deploy", "minio", SKIP_IMAGES="1")
    assert (run.returncode, run.stderr.count("\n"), api_server.writes) == (2, 1, before)
    assert "deploy: namespace datum-store" in run.stderr
    assert "has pods that are not ours (postgres-0)" in run.stderr


def test_anothers_setting_of_stores_is_not_replaced(deploy: Deploy, api_server: Any) -> None:
    path = "api/v1/namespaces/kubeflow/configmaps/kfp-launcher"
    theirs = {"kind": "ConfigMap", "apiVersion": "v1", "data": {"providers": "s3: {}"}}
    api_server.put(path, theirs)
    run = deploy("deploy", "minio", SKIP_IMAGES="1")
    assert run.returncode == 2
    assert "kfp-launcher in kubeflow has a key `providers` that is not ours" in run.stderr
    assert api_server.writes == []
    assert deploy("undeploy", "minio").returncode == 0
    assert api_server.objects[path]["data"] == {"providers": "s3: {}"}


def test_where_the_artifacts_stay_in_kfps_store_anothers_setting_of_stores_stays_too(
    deploy: Deploy, api_server: Any
) -> None:
    path = "api/v1/namespaces/kubeflow/configmaps/kfp-launcher"
    theirs = {"kind": "ConfigMap", "apiVersion": "v1", "data": {"providers": "s3: {}"}}
    api_server.put(path, theirs)
    run = deploy("deploy", "default", SKIP_IMAGES="1")
    assert run.returncode == 0, run.stderr
    assert "has a key `providers` of its owner and keeps it; with maxRetries: 100 in it" in run.stdout
    assert deploy("undeploy", "default").returncode == 0
    assert api_server.objects[path]["data"] == {"providers": "s3: {}"}


def test_a_secret_that_lacks_a_key_is_told_and_left_alone(deploy: Deploy, api_server: Any) -> None:
    secret = {"kind": "Secret", "apiVersion": "v1", "data": {"accesskey": "YQ=="}}
    api_server.put("api/v1/namespaces/kubeflow/secrets/datum-store", secret)
    run = deploy("deploy", "minio", SKIP_IMAGES="1")
    assert run.returncode == 2
    assert "secret datum-store in kubeflow lacks accesskey or secretkey" in run.stderr
    assert api_server.writes == []


def test_a_policy_of_an_earlier_deployment_is_removed(deploy: Deploy, api_server: Any) -> None:
    folder = "apis/networking.k8s.io/v1/namespaces/kubeflow/networkpolicies"
    ours = {"labels": {"app.kubernetes.io/part-of": "datum"}}
    policy = {"kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1", "metadata": ours}
    api_server.put(f"{folder}/datum-dn", policy)
    assert deploy("deploy", "default", SKIP_IMAGES="1").returncode == 0
    assert f"{folder}/datum-dn" not in api_server.objects
    assert f"{folder}/datum-dns" in api_server.objects


def test_policies_that_are_turned_off_are_removed(
    deploy: Deploy, checkout: Path, api_server: Any, overlay: str
) -> None:
    file = checkout / "manifests/overlays" / overlay / "settings.env"
    assert deploy("deploy", overlay, SKIP_IMAGES="1").returncode == 0
    file.write_text(f"{file.read_text()}\nNETWORK_POLICIES=off\n")
    assert deploy("deploy", overlay, SKIP_IMAGES="1").returncode == 0
    assert not [path for path in api_server.objects if "networkpolicies" in path]


@pytest.mark.parametrize("end", ["deploy", "undeploy"])
def test_what_watches_goes_when_it_is_turned_off(
    deploy: Deploy, checkout: Path, api_server: Any, overlay: str, end: str
) -> None:
    assert deploy("deploy", overlay, SKIP_IMAGES="1").returncode == 0
    before = set(api_server.objects)
    change_setting(checkout, overlay, "MONITORING", "on")
    assert deploy("deploy", overlay, SKIP_IMAGES="1").returncode == 0
    watching = set(api_server.objects) - before
    assert {api_server.objects[path]["kind"] for path in watching} == {
        *("PodMonitor", "PrometheusRule", "ConfigMap", "Role", "RoleBinding", "NetworkPolicy")
    }
    change_setting(checkout, overlay, "MONITORING", "off")
    run = deploy(end, overlay, SKIP_IMAGES="1")
    assert run.returncode == 0, run.stderr
    assert not watching & set(api_server.objects)


def test_a_cluster_without_the_prometheus_operator_is_deployed_to_and_left(
    deploy: Deploy, api_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(RESOURCES, "apis/monitoring.coreos.com/v1")
    for action in ("deploy", "undeploy"):
        run = deploy(action, "default", SKIP_IMAGES="1")
        assert run.returncode == 0, run.stderr


def test_deploying_again_changes_nothing(deploy: Deploy, api_server: Any, overlay: str) -> None:
    assert deploy("deploy", overlay, SKIP_IMAGES="1").returncode == 0
    before = yaml.safe_dump(api_server.objects)
    run = deploy("deploy", overlay, SKIP_IMAGES="1")
    assert run.returncode == 0, run.stderr
    assert yaml.safe_dump(api_server.objects) == before


def test_a_problem_that_the_doctor_finds_stops_before_anything_is_made(
    deploy: Deploy, api_server: Any
) -> None:
    run = deploy("deploy", "default", SKIP_IMAGES="1", DOCTOR="2")
    assert run.returncode == 2
    assert api_server.writes == [f"datum doctor {settings_of('default')}"]


def test_a_missing_registry_is_told_before_anything_is_done(deploy: Deploy, api_server: Any) -> None:
    run = deploy("deploy", "default")
    assert run.returncode == 2
    assert "settings.env: REGISTRY is empty" in run.stderr and "SKIP_IMAGES=1" in run.stderr
    assert api_server.writes == []


def test_kind_gets_its_images_loaded_and_none_pushed(deploy: Deploy, api_server: Any) -> None:
    run = deploy("deploy", "kind")
    assert run.returncode == 0, run.stderr
    loads = [f"kind load docker-image datum-{stage}:{__version__} --name laptop" for stage in STAGES]
    assert steps_of(api_server.writes)[1:-2] == ["make images OVERLAY=kind", *loads, "apply"]


def test_undeploy_removes_what_deploy_made_and_leaves_data(
    deploy: Deploy, api_server: Any, overlay: str
) -> None:
    api_server.put("api/v1/namespaces/kubeflow/secrets/mlpipeline-minio-artifact", {"kind": "Secret"})
    assert deploy("deploy", overlay, SKIP_IMAGES="1").returncode == 0
    api_server.writes.clear()
    for _ in range(2):
        run = deploy("undeploy", overlay)
        assert run.returncode == 0, run.stderr
    assert api_server.writes[:2] == [
        f"datum schedule {settings_of(overlay)} --remove-all",
        f"datum upload {settings_of(overlay)} --remove",
    ]
    kinds = {item["kind"] for item in api_server.objects.values()}
    assert kinds == {"Namespace", "Secret"}
    assert "api/v1/namespaces/kubeflow/secrets/mlpipeline-minio-artifact" in api_server.objects


@pytest.mark.parametrize("arguments", [("deploy", "nowhere"), ("deploy",), ("undeploy", "nowhere")])
def test_an_unknown_overlay_is_told_with_those_that_there_are(
    deploy: Deploy, api_server: Any, arguments: tuple[str, ...]
) -> None:
    run = deploy(*arguments)
    assert run.returncode == 2
    assert "default kind minio seaweedfs" in run.stderr
    assert api_server.writes == []
