"""`manifests/deploy.sh`: kubectl itself talks to a server, and `datum` writes the manifests; its other
commands, make and kind only tell that they ran."""

import base64
import copy
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from minio import Minio
from minio.error import S3Error

from components.images import STAGES
from datum import __version__
from tests.conftest import ACCESS_KEY, SECRET_KEY, SeaweedFS, restarting_seaweedfs
from tests.manifests.conftest import RESOURCES

ROOT = Path(__file__).parents[2]
RECORDER = """#!{python}
import os, pathlib, sys, urllib.request
words = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]
if "manifests" in words:
    from datum.cli import main
    sys.exit(main())
urllib.request.urlopen("{url}/record", data=" ".join(words).encode())
sys.exit(int(os.environ.get("DOCTOR", 0)) if "doctor" in words else 0)
"""
KUBECTL = """#!{python}
import os, sys
os.execv(*({shell} if "exec" in sys.argv else ("{kubectl}", ["kubectl", *sys.argv[1:]])))
"""
"""kubectl, but for what it would run in a pod of KFP's store, which a server of the same kind answers."""
Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the script reads, whose settings a test may change; as if images had been built."""
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    (tmp_path / "build").mkdir()
    images = {stage: f"datum-{stage}:{__version__}" for stage in STAGES}
    (tmp_path / "build/images.json").write_text(json.dumps(images, indent=2))
    return tmp_path


@pytest.fixture(scope="module")
def kfp_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A SeaweedFS as KFP has one."""
    with restarting_seaweedfs(tmp_path_factory.mktemp("kfp-store")) as server:
        yield server


def _lead_to(store: SeaweedFS, tool: Path) -> None:
    """Has the script's kubectl, `tool`, run an administrator's commands in `store`."""
    shell, real = store.shell, Path(sys.executable).with_name("kubectl")
    tool.write_text(KUBECTL.format(python=sys.executable, shell=(shell[0], shell), kubectl=real))
    tool.chmod(0o755)


@pytest.fixture
def deploy(checkout: Path, api_server: Any, kfp_store: SeaweedFS) -> Deploy:
    """Function: runs the script with the given arguments and environment in the copy."""
    url = f"http://127.0.0.1:{api_server.server_address[1]}"
    tools = checkout / "tools"
    tools.mkdir()
    for name in ("datum", "make", "kind"):
        (tools / name).write_text(RECORDER.format(python=sys.executable, url=url))
        (tools / name).chmod(0o755)
    _lead_to(kfp_store, tools / "kubectl")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "laptop", "cluster": {"server": url}}],
        "contexts": [{"name": "kind-laptop", "context": {"cluster": "laptop", "user": "me"}}],
        "users": [{"name": "me", "user": {}}],
        "current-context": "kind-laptop",
    }
    (checkout / "kubeconfig").write_text(yaml.safe_dump(config))
    environment = {
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(checkout),
        "KUBECONFIG": str(checkout / "kubeconfig"),
        "DATUM": "datum",
        "PYTHONPATH": str(ROOT),
    }

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [checkout / "manifests/deploy.sh", *arguments],
            env=environment | changes,
            capture_output=True,
            text=True,
        )

    return run


def _settings(overlay: str) -> str:
    return f"--settings manifests/overlays/{overlay}/settings.env"


def _set(checkout: Path, overlay: str, key: str, value: str) -> None:
    file = checkout / "manifests/overlays" / overlay / "settings.env"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(f"{key}={value}" if line.startswith(f"{key}=") else line for line in lines))


def _steps(writes: list[str]) -> list[str]:
    """What was done, in order; a whole overlay and the launcher's ConfigMap are applied in one step."""
    steps = [
        "apply" if write.startswith("PATCH") or write.endswith("/configmaps/kfp-launcher") else write
        for write in writes
    ]
    return [
        step for step, before in zip(steps, ["", *steps], strict=False) if step != "apply" or step != before
    ]


def _keys(api_server: Any, namespace: str, name: str) -> Mapping[str, str]:
    data = api_server.objects[f"api/v1/namespaces/{namespace}/secrets/{name}"]["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_deploy_checks_builds_pushes_applies_uploads_and_schedules(
    deploy: Deploy, checkout: Path, api_server: Any
) -> None:
    _set(checkout, "default", "REGISTRY", "registry.example.org/team")
    run = deploy("deploy", "default")
    assert run.returncode == 0, run.stderr
    assert "cluster kind-laptop" in run.stdout
    assert _steps(api_server.writes) == [
        f"datum doctor {_settings('default')}",
        "make images push OVERLAY=default",
        "apply",
        f"datum upload {_settings('default')}",
        f"datum schedule {_settings('default')} --apply",
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
    assert run.stdout.splitlines()[-1] == f"{following} {_settings('minio')}"
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
    _set(checkout, overlay, "MONITORING", "on")
    assert deploy("deploy", overlay, SKIP_IMAGES="1").returncode == 0
    watching = set(api_server.objects) - before
    assert {api_server.objects[path]["kind"] for path in watching} == {
        *("PodMonitor", "PrometheusRule", "ConfigMap", "Role", "RoleBinding", "NetworkPolicy")
    }
    _set(checkout, overlay, "MONITORING", "off")
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
    assert api_server.writes == [f"datum doctor {_settings('default')}"]


def test_a_missing_registry_is_told_before_anything_is_done(deploy: Deploy, api_server: Any) -> None:
    run = deploy("deploy", "default")
    assert run.returncode == 2
    assert "settings.env: REGISTRY is empty" in run.stderr and "SKIP_IMAGES=1" in run.stderr
    assert api_server.writes == []


def test_kind_gets_its_images_loaded_and_none_pushed(deploy: Deploy, api_server: Any) -> None:
    run = deploy("deploy", "kind")
    assert run.returncode == 0, run.stderr
    loads = [f"kind load docker-image datum-{stage}:{__version__} --name laptop" for stage in STAGES]
    assert _steps(api_server.writes)[1:-2] == ["make images OVERLAY=kind", *loads, "apply"]


def test_the_own_store_gets_random_keys_that_it_shares_with_the_tasks(
    deploy: Deploy, api_server: Any
) -> None:
    run = deploy("deploy", "minio", SKIP_IMAGES="1")
    assert run.returncode == 0, run.stderr
    keys = _keys(api_server, "kubeflow", "datum-store")
    assert keys == _keys(api_server, "datum-store", "datum-store")
    assert (len(keys["accesskey"]), len(keys["secretkey"])) == (20, 40)
    assert not any(value in run.stdout + run.stderr for value in keys.values())
    root = _keys(api_server, "datum-store", "datum-store-root")
    assert not set(root.values()) & set(keys.values())
    assert "api/v1/namespaces/kubeflow/secrets/datum-store-root" not in api_server.objects

    for path in [path for path in api_server.objects if path.endswith("/secrets/datum-store")]:
        del api_server.objects[path]
    assert deploy("deploy", "minio", SKIP_IMAGES="1").returncode == 0
    others = _keys(api_server, "kubeflow", "datum-store")
    assert not set(others.values()) & set(keys.values())


def test_a_store_that_has_no_volume_for_another_bucket_is_refused(
    deploy: Deploy, checkout: Path, api_server: Any, tmp_path: Path
) -> None:
    with restarting_seaweedfs(tmp_path, "-volume.max=1") as full:
        admin = Minio(full.endpoint.removeprefix("http://"), ACCESS_KEY, SECRET_KEY, secure=False)
        admin.make_bucket("mlpipeline")
        admin.put_object("mlpipeline", "artifact", io.BytesIO(b"a"), 1)
        _lead_to(full, checkout / "tools" / "kubectl")
        run = deploy("deploy", "seaweedfs", SKIP_IMAGES="1")
    assert run.returncode == 2
    assert "KFP's store has no volume left for bucket datum" in run.stderr
    assert "-volume.max=100 (args of deployment seaweedfs in kubeflow)" in run.stderr
    assert not any("resources" in write or "doctor" in write for write in api_server.writes)


def test_tasks_get_a_user_of_kfps_store_who_reaches_one_bucket_alone(
    deploy: Deploy, api_server: Any, kfp_store: SeaweedFS
) -> None:
    host = kfp_store.endpoint.removeprefix("http://")
    admin = Minio(host, ACCESS_KEY, SECRET_KEY, secure=False)
    if not admin.bucket_exists("mlpipeline"):
        admin.make_bucket("mlpipeline")
    for _ in range(2):
        run = deploy("deploy", "seaweedfs", SKIP_IMAGES="1")
        assert run.returncode == 0, run.stderr
    keys = _keys(api_server, "kubeflow", "datum-store")
    assert not any(value in run.stdout + run.stderr for value in keys.values())
    tasks = Minio(host, keys["accesskey"], keys["secretkey"], secure=False)
    tasks.put_object("datum", "state/a", io.BytesIO(b"a"), 1)
    assert [item.object_name for item in tasks.list_objects("datum", recursive=True)] == ["state/a"]
    tasks.remove_object("datum", "state/a")
    for forbidden in (
        lambda: list(tasks.list_objects("mlpipeline")),
        lambda: tasks.put_object("mlpipeline", "a", io.BytesIO(b"a"), 1),
        lambda: tasks.make_bucket("another"),
    ):
        with pytest.raises(S3Error, match="AccessDenied"):
            forbidden()


def test_keys_that_the_stores_shell_would_misread_are_refused(deploy: Deploy, api_server: Any) -> None:
    encoded = {"accesskey": "YQ==", "secretkey": base64.b64encode(b"b -actions Admin").decode()}
    secret = {"kind": "Secret", "apiVersion": "v1", "data": encoded}
    api_server.put("api/v1/namespaces/kubeflow/secrets/datum-store", secret)
    run = deploy("deploy", "seaweedfs", SKIP_IMAGES="1")
    assert run.returncode == 2
    assert "the keys in secret datum-store of kubeflow hold more than letters" in run.stderr
    assert api_server.writes == []


@pytest.mark.parametrize("namespace", ["kubeflow", "datum-store"])
def test_keys_that_are_there_already_are_kept(deploy: Deploy, api_server: Any, namespace: str) -> None:
    keys = {"accesskey": "somebody", "secretkey": 'chosen "by" {somebody}'}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
    secret = {"kind": "Secret", "apiVersion": "v1", "data": encoded}
    api_server.put(f"api/v1/namespaces/{namespace}/secrets/datum-store", secret)
    assert deploy("deploy", "minio", SKIP_IMAGES="1").returncode == 0
    for place in ("kubeflow", "datum-store"):
        assert _keys(api_server, place, "datum-store") == keys


def test_kfps_settings_of_artifacts_gain_one_key_and_lose_it_again(deploy: Deploy, api_server: Any) -> None:
    path = "api/v1/namespaces/kubeflow/configmaps/kfp-launcher"
    api_server.put(
        path, {"kind": "ConfigMap", "apiVersion": "v1", "data": {"defaultPipelineRoot": "s3://a/b"}}
    )
    assert deploy("deploy", "minio", SKIP_IMAGES="1").returncode == 0
    assert set(api_server.objects[path]["data"]) == {"defaultPipelineRoot", "providers"}
    assert deploy("undeploy", "minio").returncode == 0
    assert api_server.objects[path]["data"] == {"defaultPipelineRoot": "s3://a/b"}


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
        f"datum schedule {_settings(overlay)} --remove-all",
        f"datum upload {_settings(overlay)} --remove",
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


def _put_class(api_server: Any, name: str, default: str = "false") -> None:
    annotations = {"storageclass.kubernetes.io/is-default-class": default}
    content: dict[str, Any] = {"kind": "StorageClass", "apiVersion": "storage.k8s.io/v1"}
    content["metadata"] = {"annotations": annotations} if name != "slow" else {}
    api_server.put(f"apis/storage.k8s.io/v1/storageclasses/{name}", content)


@pytest.mark.parametrize(
    ("names", "found", "remedy"),
    [
        ([], "the cluster has no StorageClass", "install a volume provisioner"),
        (["fast", "slow"], "none of the StorageClasses (fast, slow) is the default", "storageclass fast "),
    ],
)
def test_without_a_default_storage_class_kfp_is_not_begun(
    deploy: Deploy, api_server: Any, names: list[str], found: str, remedy: str
) -> None:
    for name in names:
        _put_class(api_server, name)
    run = deploy("kfp")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert found in run.stderr and remedy in run.stderr
    assert api_server.writes == []


def test_kfp_is_installed_once_with_random_keys_of_its_store(
    deploy: Deploy, checkout: Path, api_server: Any
) -> None:
    """In place of KFP's manifests, which are fetched, a few resources of the same kinds and names."""
    folder = checkout / "manifests/kfp"
    crds = [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
        }
        for name in ("workflows.argoproj.io", "scheduledworkflows.kubeflow.org")
    ]
    server = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "ml-pipeline", "namespace": "kubeflow"},
        "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "kfp-api-server:2.17.0"}]}}},
    }
    for place, content in ((folder / "cluster-scoped", crds), (folder, [server])):
        (place / "resources.yaml").write_text(yaml.safe_dump_all(content))
        (place / "kustomization.yaml").write_text("resources: [resources.yaml]")

    _put_class(api_server, "slow")
    _put_class(api_server, "standard", default="true")

    run = deploy("kfp")

    assert run.returncode == 0, run.stderr
    assert set(_keys(api_server, "kubeflow", "mlpipeline-minio-artifact")) == {"accesskey", "secretkey"}
    before = list(api_server.writes)
    again = deploy("kfp")
    assert again.returncode == 0
    assert "KFP is there already" in again.stdout and "kubeflow: kfp-api-server:2.17.0" in again.stdout
    assert api_server.writes == before


def test_kfp_that_is_not_up_yet_is_waited_for(deploy: Deploy, api_server: Any) -> None:
    server = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {},
        "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "kfp-api-server:2.17.0"}]}}},
    }
    api_server.put("apis/apps/v1/namespaces/kubeflow/deployments/ml-pipeline", server)
    assert deploy("kfp").returncode == 0
    del server["status"]
    run = deploy("kfp", KFP_TIMEOUT="1s")
    assert run.returncode == 75
    assert "KFP is there already" in run.stdout
    assert "kfp: KFP is not up yet" in run.stderr and "`make kfp` waits on" in run.stderr
