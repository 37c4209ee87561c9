"""`manifests/deploy.sh` and the store: its keys, its buckets, and what KFP is told of it."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.error import S3Error

from tests.conftest import ACCESS_KEY, SECRET_KEY, SeaweedFS, restarting_seaweedfs
from tests.manifests.deploying import Deploy, keys_of, lead_to


def test_the_own_store_gets_random_keys_that_it_shares_with_the_tasks(
    deploy: Deploy, api_server: Any
) -> None:
    run = deploy("deploy", "minio", SKIP_IMAGES="1")
    assert run.returncode == 0, run.stderr
    keys = keys_of(api_server, "kubeflow", "datum-store")
    assert keys == keys_of(api_server, "datum-store", "datum-store")
    assert (len(keys["accesskey"]), len(keys["secretkey"])) == (20, 40)
    assert not any(value in run.stdout + run.stderr for value in keys.values())
    root = keys_of(api_server, "datum-store", "datum-store-root")
    assert not set(root.values()) & set(keys.values())
    assert "api/v1/namespaces/kubeflow/secrets/datum-store-root" not in api_server.objects

    for path in [path for path in api_server.objects if path.endswith("/secrets/datum-store")]:
        del api_server.objects[path]
    assert deploy("deploy", "minio", SKIP_IMAGES="1").returncode == 0
    others = keys_of(api_server, "kubeflow", "datum-store")
    assert not set(others.values()) & set(keys.values())


def test_a_store_that_has_no_volume_for_another_bucket_is_refused(
    deploy: Deploy, checkout: Path, api_server: Any, tmp_path: Path
) -> None:
    with restarting_seaweedfs(tmp_path, "-volume.max=1") as full:
        admin = Minio(full.endpoint.removeprefix("http://"), ACCESS_KEY, SECRET_KEY, secure=False)
        admin.make_bucket("mlpipeline")
        admin.put_object("mlpipeline", "artifact", io.BytesIO(b"a"), 1)
        lead_to(full, checkout / "tools" / "kubectl")
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
    keys = keys_of(api_server, "kubeflow", "datum-store")
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
        assert keys_of(api_server, place, "datum-store") == keys


def test_kfps_settings_of_artifacts_gain_one_key_and_lose_it_again(deploy: Deploy, api_server: Any) -> None:
    path = "api/v1/namespaces/kubeflow/configmaps/kfp-launcher"
    api_server.put(
        path, {"kind": "ConfigMap", "apiVersion": "v1", "data": {"defaultPipelineRoot": "s3://a/b"}}
    )
    assert deploy("deploy", "minio", SKIP_IMAGES="1").returncode == 0
    assert set(api_server.objects[path]["data"]) == {"defaultPipelineRoot", "providers"}
    assert deploy("undeploy", "minio").returncode == 0
    assert api_server.objects[path]["data"] == {"defaultPipelineRoot": "s3://a/b"}
