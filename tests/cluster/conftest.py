"""Commands of a cluster, run against a server that speaks KFP's API."""

import contextlib
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.images import STAGES
from datum import cli
from datum.cluster import client, task_logs, watch
from datum.cluster.commands import DEFAULT_SETTINGS
from tests.cluster.kfp_api import KfpApi
from tests.cluster.kfp_server import serving
from tests.cluster.workloads import Workloads


@dataclasses.dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


@dataclasses.dataclass
class Cluster:
    """A KFP server, and the `datum` command pointed at it."""

    api: KfpApi
    url: str
    capsys: pytest.CaptureFixture[str]

    def datum(self, *arguments: str) -> Ended:
        """Runs a command in this process."""
        status = 0
        self.capsys.readouterr()
        try:
            cli.main([*arguments, *self.host])
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = self.capsys.readouterr()
        return Ended(status, out, err)

    @property
    def host(self) -> tuple[str, ...]:
        """Arguments that point a command at the server, of an installation that can train."""
        return "--set", f"kfp_host={self.url}", "--set", "encoder_weights=random"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Waits are short, and nothing of this machine's installation is found: the settings are empty."""
    monkeypatch.setattr(client, "DELAYS", (0.01, 0.02, 0.05, 0.1))
    # On a machine that is busy an answer may take a second.
    monkeypatch.setattr(client, "TIMEOUT", (5.0, 3.0))
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(task_logs, "FOLLOW_SECONDS", 0.01)
    (tmp_path / DEFAULT_SETTINGS).parent.mkdir(parents=True)
    (tmp_path / DEFAULT_SETTINGS).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
    for name in (client.TOKEN_PATH, "S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, fast: None) -> None:
    """For servers that stall for most of a second."""
    monkeypatch.setattr(client, "TIMEOUT", (1.0, 0.5))


@pytest.fixture
def cluster(capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    """An empty KFP."""
    api = KfpApi()
    with serving(api) as url:
        yield Cluster(api, url, capsys)


@pytest.fixture(scope="session")
def images_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make push` writes, where it writes it in a checkout."""
    return write_images(tmp_path_factory.mktemp("checkout") / "build" / "images.json", "first")


@pytest.fixture
def workloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workloads]:
    """The cluster of the current kube context."""
    api = Workloads()
    with api:
        api.write_kubeconfig(tmp_path / "kubeconfig")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield api


def write_images(file: Path, content: str) -> Path:
    """A file of images by digest, which is that of `content`."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({stage: f"example.org/datum-{stage}@sha256:{digest}" for stage in STAGES}))
    return file


@pytest.fixture(scope="session")
def first_upload(images_file: Path) -> tuple[KfpApi, str]:
    """A KFP that the pipelines were uploaded to from a checkout, and what the command printed."""
    api, out = KfpApi(), io.StringIO()
    with serving(api) as url, contextlib.chdir(images_file.parents[1]), contextlib.redirect_stdout(out):
        settings = images_file.parents[1] / "settings.env"
        settings.touch()
        host = ["--set", f"kfp_host={url}", "--set", "encoder_weights=random"]
        cli.main(["upload", "--settings", str(settings), *host])
    return api, out.getvalue()


@pytest.fixture
def uploaded(cluster: Cluster, first_upload: tuple[KfpApi, str]) -> Cluster:
    """A KFP that has the pipelines, and nothing else."""
    cluster.api.pipelines = dict(first_upload[0].pipelines)
    cluster.api.versions = dict(first_upload[0].versions)
    return cluster
