"""What a person sees where KFP refuses, fails or is not there; how a command logs in."""

from pathlib import Path

import pytest
import yaml

from tests.cluster.conftest import Cluster, Ended
from tests.cluster.kfp_api import KfpApi
from tests.cluster.kfp_server import serving
from tests.cluster.workloads import Workloads


def one_line(ended: Ended) -> str:
    (line,) = ended.err.splitlines()
    assert line.startswith("datum: ") and ended.out == ""
    return line


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "kind, status, said",
    [
        (400, 2, "refused the request (400): injected 400"),
        (401, 2, "kubectl create token"),
        (302, 2, "kubectl create token"),
        (403, 2, "forbids it in namespace kubeflow (403: injected 403)"),
        ("page", 2, "found text/html, expected JSON of the KFP API"),
        (500, 75, "500 injected 500; check `datum doctor`"),
        (503, 75, "503 injected 503"),
        (504, 75, "504 injected 504"),
        ("lose", 75, "gave no answer"),
        ("stall", 75, "gave no answer (Read timed out"),
    ],
)
def test_a_failure_that_stays_ends_with_one_line_and_its_status(
    cluster: Cluster, kind: int | str, status: int, said: str
) -> None:
    cluster.api.fail(".", kind, times=99, seconds=1.0)
    ended = cluster.datum("runs")
    assert ended.status == status
    assert said in one_line(ended) and cluster.url in ended.err


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", [429, 500, 502, 503, 504, "lose", "drop", "stall"])
def test_reading_survives_a_failure_that_passes(cluster: Cluster, kind: int | str) -> None:
    cluster.api.fail("GET", kind, times=2, seconds=0.7)
    ended = cluster.datum("runs")
    assert (ended.status, ended.err) == (0, "no runs; `datum submit` starts one\n")


@pytest.mark.parametrize("kind", [401, 403])
def test_a_refusal_is_not_repeated(cluster: Cluster, kind: int) -> None:
    cluster.api.fail(".", kind, times=99)
    cluster.datum("runs")
    assert len(cluster.api.requests) == 1


def test_a_server_that_is_not_there_is_a_fault_that_may_pass(cluster: Cluster) -> None:
    closed = "http://127.0.0.1:1"
    cluster.url = closed
    ended = cluster.datum("runs")
    assert ended.status == 75
    assert f"KFP at {closed} is out of reach" in one_line(ended) and "Connection refused" in ended.err


def test_another_server_is_told_from_a_missing_object(cluster: Cluster) -> None:
    cluster.url += "/elsewhere"
    ended = cluster.datum("runs")
    assert ended.status == 2 and "found no KFP API there (404); set kfp_host" in one_line(ended)


def test_a_host_without_a_scheme_is_refused(cluster: Cluster) -> None:
    cluster.url = "localhost:8888"
    ended = cluster.datum("runs")
    assert ended.status == 2 and "kfp_host: found 'localhost:8888', expected a URL" in one_line(ended)


def test_the_token_of_a_file_logs_in(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.api.token = "a-token"
    assert cluster.datum("runs").status == 2
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    assert "no such file" in one_line(cluster.datum("runs"))
    (tmp_path / "token").write_text("a-token\n")
    assert cluster.datum("runs").status == 0


def test_without_a_host_kfp_is_reached_through_the_kubernetes_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = "/api/v1/namespaces/kfp-system/services/ml-pipeline:http/proxy"
    api = KfpApi(token="kube-token", prefix=prefix)
    with serving(api) as url:
        config = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me"}}],
            "clusters": [{"name": "one", "cluster": {"server": url}}],
            "users": [{"name": "me", "user": {"token": "kube-token"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        cluster = Cluster(api, "", capsys)
        ended = cluster.datum("runs", "--set", "kfp_namespace=kfp-system")
    assert (ended.status, ended.err) == (0, "no runs; `datum submit` starts one\n")
    assert all(line.startswith(f"GET {prefix}/apis/v2beta1/") for line in api.requests)


def test_neither_host_nor_kubeconfig_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cluster: Cluster
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    cluster.url = ""
    ended = cluster.datum("runs")
    assert ended.status == 2 and "set kfp_host or KUBECONFIG" in one_line(ended)


def test_the_namespace_goes_with_requests_where_kfp_is_multi_user(cluster: Cluster) -> None:
    cluster.api.multi_user = True
    ended = cluster.datum("runs", "--set", "namespace=team")
    assert ended.status == 0


def test_a_token_reaches_a_multi_user_kfp_without_a_host_of_its_own(
    uploaded: Cluster, workloads: Workloads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Kubernetes API's proxy strips the token; a port-forward does not."""
    uploaded.api.multi_user, uploaded.api.token = True, "a-token-of-alice"
    workloads.kfp_url = uploaded.url
    workloads.serve("ml-pipeline", 8888, int(uploaded.url.rpartition(":")[2]))
    uploaded.url = ""
    refused = uploaded.datum("runs", "--set", "namespace=alice")
    assert refused.status == 2 and "kubectl create token default-editor --namespace alice" in refused.err
    (tmp_path / "token").write_text("a-token-of-alice\n")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    assert uploaded.datum("submit", "--name", "mine", "--set", "namespace=alice").status == 0
    ended = uploaded.datum("runs", "--set", "namespace=alice")
    assert ended.status == 0 and ended.out.splitlines()[1].startswith("mine ")
    assert all(experiment.namespace == "alice" for experiment in uploaded.api.experiments.values())
    (tmp_path / "token").write_text("another-token")
    wrong = uploaded.datum("runs", "--set", "namespace=alice")
    assert wrong.status == 2 and "another-token" not in wrong.err + wrong.out
    workloads.may_forward = False
    forbidden = uploaded.datum("runs", "--set", "namespace=alice")
    assert forbidden.status == 2 and "it takes the right to create" in one_line(forbidden)
