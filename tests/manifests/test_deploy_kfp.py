"""`manifests/deploy.sh kfp`: KFP where there is none."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.deploying import Deploy, keys_of


def put_class(api_server: Any, name: str, default: str = "false") -> None:
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
        put_class(api_server, name)
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

    put_class(api_server, "slow")
    put_class(api_server, "standard", default="true")

    run = deploy("kfp")

    assert run.returncode == 0, run.stderr
    assert set(keys_of(api_server, "kubeflow", "mlpipeline-minio-artifact")) == {"accesskey", "secretkey"}
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
