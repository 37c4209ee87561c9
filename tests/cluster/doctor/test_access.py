"""`datum doctor`: access to the cluster, permissions, and how the table is shown."""

import os
from pathlib import Path

import pytest

from datum.cluster.doctor import access
from datum.cluster.manifests import render_manifests
from datum.cluster.settings import load_cluster_settings
from datum.store import open_store
from tests.cluster.doctor.objects import (
    CLOSED,
    REPOSITORY,
    Doctor,
    a_namespace,
    a_node,
    a_secret,
    a_taint,
    assert_no_secret,
    problems,
    run_command,
    shown,
)
from tests.cluster.kubernetes_api import KubernetesApi, Registry


def test_a_fit_cluster_has_neither_problem_nor_warning(examine: Doctor) -> None:
    rows = examine()
    assert {check.status for check in rows.values()} == {"ok"}, rows
    assert list(rows) == [
        "kube context",
        "Kubernetes API",
        "namespace",
        "Pod Security",
        "your permissions",
        "service account",
        "task permissions",
        "KFP",
        "retries",
        "network policies",
        "GPU nodes",
        "StorageClass",
        "data volume",
        "data cache",
        "store secret",
        "artifact secret",
        "store",
        "store room",
        "source",
        "target",
        "encoder weights",
        "images",
        "hub token",
    ]
    assert rows["kube context"].found.startswith("tests, http://127.0.0.1:")
    assert rows["Kubernetes API"].found == "Kubernetes v1.34.2"
    assert rows["KFP"].found == "KFP 2.17.0, single-user"
    assert rows["GPU nodes"].found == "4 x NVIDIA-A100-SXM4-80GB on 1 of 1 GPU nodes"


def test_nothing_is_left_in_the_store(examine: Doctor, place: str) -> None:
    assert examine()["store"].status == "ok"
    assert open_store(place).list() == []


def test_credentials_that_the_api_server_refuses_are_one_problem(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.write_kubeconfig(Path(os.environ["KUBECONFIG"]), token="expired")
    rows = examine()
    assert problems(rows) == ["Kubernetes API"]
    assert "401" in rows["Kubernetes API"].found
    assert "log in" in rows["Kubernetes API"].remedy
    unchecked = [
        name for name, check in rows.items() if check.found.startswith("not checked: Kubernetes API comes")
    ]
    assert {"namespace", "KFP", "GPU nodes", "store secret", "store"} <= set(unchecked)
    assert rows["images"].status == "ok", "what needs no cluster is checked all the same"


def test_a_forbidden_look_is_a_warning_and_the_rest_is_checked(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.faults["/api/v1/nodes"] = 403
    cluster.faults["/api/v1/namespaces/kubeflow/secrets"] = 403
    rows = examine()
    assert problems(rows) == []
    assert rows["GPU nodes"].found.startswith("not checked: you may not look: 403 nodes is forbidden")
    assert "administrator" in rows["GPU nodes"].remedy
    assert rows["store secret"].status == rows["store"].status == rows["hub token"].status == "warning"
    assert rows["store"].found == "not checked: its secret could not be read"


def test_a_user_who_may_do_nothing_has_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.faults["/api"] = 403
    rows = examine()
    assert problems(rows) == ["your permissions", "KFP"]
    assert "system:basic-user" in rows["your permissions"].remedy


def test_a_missing_namespace_is_named(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.remove("Namespace", "kubeflow")
    rows = examine()
    assert rows["namespace"].found == "there is no namespace kubeflow"
    assert "make kfp" in rows["namespace"].remedy
    assert rows["store"].found == "not checked: namespace comes first"
    assert rows["GPU nodes"].status == "ok"


def test_a_namespace_about_to_go_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_namespace({}, phase="Terminating"))
    assert examine()["namespace"].found == "kubeflow is Terminating"


def test_a_namespace_without_pod_security_is_a_warning(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_namespace({"pod-security.kubernetes.io/warn": "restricted"}))
    row = examine()["Pod Security"]
    assert row.status == "warning"
    assert "kubectl label namespace kubeflow pod-security.kubernetes.io/enforce=baseline" in row.remedy


@pytest.mark.parametrize(("status", "remedy"), [(500, "readyz"), (409, "again"), (503, "readyz")])
def test_a_failing_api_server_is_a_problem_in_the_row_it_failed_in(
    examine: Doctor, cluster: KubernetesApi, status: int, remedy: str
) -> None:
    cluster.faults["/api/v1/nodes"] = status
    rows = examine()
    assert problems(rows) == ["GPU nodes"]
    assert str(status) in rows["GPU nodes"].found
    assert remedy in rows["GPU nodes"].remedy


def test_an_api_server_that_does_not_answer_is_waited_for_once(
    examine: Doctor, cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datum.cluster.doctor.kubernetes_client.TIMEOUT", (5.0, 0.3))
    cluster.faults["/version"] = 0
    rows = examine()
    assert problems(rows) == ["Kubernetes API"]
    assert "timed out" in rows["Kubernetes API"].found
    assert cluster.requests == ["/version/"]
    assert "kubectl config view" in rows["Kubernetes API"].remedy


def test_one_slow_answer_is_a_problem_of_its_own_row(
    examine: Doctor, cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datum.cluster.doctor.kubernetes_client.TIMEOUT", (5.0, 0.5))
    cluster.faults["/api/v1/nodes"] = 0
    assert problems(examine()) == ["GPU nodes"]


def test_an_api_server_that_is_not_there_is_a_problem(
    examine: Doctor, cluster: KubernetesApi, tmp_path: Path
) -> None:
    config = (tmp_path / "kubeconfig").read_text().replace(cluster.url, CLOSED)
    (tmp_path / "kubeconfig").write_text(config)
    row = examine()["Kubernetes API"]
    assert row.status == "problem"
    assert "Connection refused" in row.found


def test_a_page_instead_of_the_api_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.page = b"<html>Please log in</html>"
    row = examine()["Kubernetes API"]
    assert row.status == "problem"
    assert "no usable answer" in row.found


@pytest.mark.parametrize("content", [None, "", "{[", "apiVersion: v1\nkind: Config\ncontexts: []\n"])
def test_a_kubeconfig_that_cannot_be_used_is_a_problem(
    examine: Doctor, tmp_path: Path, content: str | None
) -> None:
    (tmp_path / "kubeconfig").unlink()
    if content is not None:
        (tmp_path / "kubeconfig").write_text(content)
    rows = examine()
    assert problems(rows) == ["kube context"]
    assert str(tmp_path / "kubeconfig") in rows["kube context"].found
    assert "use-context" in rows["kube context"].remedy


def test_an_old_kubernetes_is_a_problem(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.version = ("1", "29+", "v1.29.9-eks-1")
    row = examine()["Kubernetes API"]
    assert (row.status, row.found) == ("problem", "Kubernetes v1.29.9-eks-1, expected 1.30 or newer")


def test_a_denied_permission_is_named(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.denied = {("create", "roles"), ("patch", "roles"), ("create", "services/proxy")}
    row = examine()["your permissions"]
    assert row.status == "problem"
    assert "create/patch roles in kubeflow" in row.found
    assert "create services/proxy ml-pipeline:http in kubeflow" in row.found
    assert "--clusterrole=admin" in row.remedy


@pytest.mark.parametrize("overlay", ["default", "seaweedfs", "minio"])
def test_every_resource_of_the_manifests_is_asked_for(overlay: str) -> None:
    folder = REPOSITORY / "manifests" / "overlays" / overlay
    settings = load_cluster_settings(folder / "settings.env")
    asked = {(right.resource, right.namespace) for right in access.deploy_rights(settings)}
    for manifest in render_manifests(settings, folder):
        kind = manifest["kind"].lower()
        plural = kind.removesuffix("y") + "ies" if kind.endswith("y") else kind + "s"
        assert (plural, manifest["metadata"].get("namespace", "")) in asked, manifest


def test_the_secret_that_images_are_pulled_with_is_there_and_of_its_type(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    row = examine(image_pull_secret="pull")["service account"]
    assert row.status == "problem"
    assert "there is no secret pull in kubeflow, which image_pull_secret names" in row.found
    secret = a_secret("pull", password="x")
    secret.type = "Opaque"
    cluster.put(secret)
    assert "of type Opaque, not kubernetes.io/dockerconfigjson" in (
        examine(image_pull_secret="pull")["service account"].found
    )
    secret.type = "kubernetes.io/dockerconfigjson"
    assert examine(image_pull_secret="pull")["service account"].status == "ok"


def test_a_service_account_that_deploy_makes_is_a_warning(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.remove("ServiceAccount", "datum-runner", "kubeflow")
    cluster.denied_runner = {("create", "workflowtaskresults")}
    rows = examine()
    assert problems(rows) == []
    assert rows["service account"].status == rows["task permissions"].status == "warning"
    assert rows["task permissions"].found == "datum-runner may not create workflowtaskresults in kubeflow"
    assert "make deploy" in rows["task permissions"].remedy


def test_who_may_not_ask_about_others_is_told_how_an_administrator_can(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    cluster.faults["/apis/authorization.k8s.io/v1/subjectaccessreviews"] = 403
    row = examine()["task permissions"]
    assert row.status == "warning"
    assert "kubectl auth can-i --list --as=system:serviceaccount:kubeflow:datum-runner" in row.remedy


def test_the_hub_token_is_optional_but_whole(examine: Doctor, cluster: KubernetesApi) -> None:
    assert "it is optional" in examine()["hub token"].found
    cluster.put(a_secret("datum-hub", tokn="hf_x"))
    row = examine()["hub token"]
    assert (row.status, row.found) == ("problem", "secret datum-hub has no key token")
    cluster.put(a_secret("datum-hub", token="hf_x"))
    assert examine()["hub token"].found == "secret datum-hub has a token"


def test_the_secret_of_a_webhook_is_looked_at_where_one_is_named(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    assert "webhook" not in examine()
    row = examine(webhook_secret="chat")["webhook"]
    assert (row.status, row.found) == ("problem", "there is no secret chat, which webhook_secret names")
    cluster.put(a_secret("chat", link="https://chat.example.org/key"))
    row = examine(webhook_secret="chat")["webhook"]
    assert (row.status, row.found) == ("problem", "secret chat has no key url")
    assert "create secret generic chat --from-file=url=FILE" in row.remedy
    cluster.put(a_secret("chat", url="https://chat.example.org/key"))
    assert examine(webhook_secret="chat")["webhook"].found == "secret chat has a URL"


def test_a_narrow_terminal_loses_no_word_of_a_remedy(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_node("gpu-1", 4, taints=(a_taint(),)))
    rows = examine()
    text = "".join(shown(rows, 40).split())
    for check in rows.values():
        # Every line of a row continues in the last column, so its words follow one another.
        assert "".join(check.remedy.split()) in text.replace("→", "")
    assert "1problem,nowarningsin23checks" in text


def test_the_command_ends_with_2_where_there_is_a_problem(
    cluster: KubernetesApi, registry: Registry, s3_endpoint: str, place: str
) -> None:
    settings = [
        f"--set={setting}"
        for setting in (
            f"store_endpoint={s3_endpoint}",
            f"datasets={place}/datasets",
            f"state={place}/state",
            f"registry={registry.host}/team",
            "encoder_weights=random",
        )
    ]
    done = run_command(*settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no problems, no warnings in 23 checks" in done.stdout
    cluster.remove("Node", "gpu-1")
    done = run_command(*settings)
    assert (done.returncode, done.stderr) == (2, "")
    assert "1 problem, no warnings in 23 checks" in done.stdout
    assert_no_secret(done.stdout)
