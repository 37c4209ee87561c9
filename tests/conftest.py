"""What tests of several rooms share: a real S3 server, and few threads."""

import functools
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Tests run in parallel processes: one thread each is faster than all of them fighting for two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# kfp asks for its caller's name at every setting of a task. Below pytest the call stack is deep, and reading
# the source of every frame, which nobody looks at, takes more than half of the time of compiling.
inspect.stack = functools.partial(inspect.stack, 0)
# A shell's background jobs ignore Ctrl-C, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

ACCESS_KEY, SECRET_KEY = "tests", "not-a-secret"
STARTUP_SECONDS = 30
SHUTDOWN_SECONDS = 8


def _free_port() -> int:
    """A free port whose gRPC twin (10000 higher) is a valid port too."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        if port < 55_000:
            return port


class SeaweedFS:
    """A SeaweedFS server with one user, on loopback, that keeps its data in `folder`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._options = options
        user = {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [user]}))
        self._folder, self._ports = folder, [_free_port() for _ in range(4)]
        self.endpoint = f"http://127.0.0.1:{self._ports[0]}"
        self._process = self._start()

    @property
    def shell(self) -> list[str]:
        """The command of an administrator's shell, which reads its standard input."""
        _, master, filer, _ = self._ports
        weed = str(Path(sys.executable).with_name("weed"))
        return [weed, "shell", f"-master=127.0.0.1:{master}", f"-filer=127.0.0.1:{filer}"]

    def _start(self) -> subprocess.Popen[bytes]:
        s3, master, filer, volume = self._ports
        with (self._folder / "log").open("w") as log:
            process = subprocess.Popen(
                [
                    Path(sys.executable).with_name("weed"),
                    "-logtostderr",
                    "mini",
                    f"-dir={self._folder}",
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    f"-s3.port={s3}",
                    f"-s3.config={self._folder / 's3.json'}",
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                    "-webdav=false",
                    "-admin.ui=false",
                    f"-master.port={master}",
                    f"-filer.port={filer}",
                    f"-volume.port={volume}",
                    *self._options,
                ],
                stdout=log,
                stderr=log,
            )
        _wait_until_up(process, f"{self.endpoint}/healthz", self._folder / "log")
        return process

    def kill_and_start(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process = self._start()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            # Now and then it gives its volumes half a minute to stop.
            self._process.kill()
            self._process.wait()


@contextmanager
def restarting_seaweedfs(folder: Path, *options: str) -> Iterator[SeaweedFS]:
    """A server, with further `options` of its command, that can be killed and started again."""
    server = SeaweedFS(folder, *options)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """The endpoint of a server that keeps its data in `folder`."""
    with restarting_seaweedfs(folder) as server:
        yield server.endpoint


def _wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1)
        except OSError:
            continue
        return
    raise RuntimeError(f"SeaweedFS did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What was read of files is kept in the user's cache folder, and finished runs in the user's history,
    which no test touches."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["DATUM_HISTORY"] = str(tmp_path_factory.mktemp("history"))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults that pass are waited out for as long as it takes, with short pauses."""
    monkeypatch.setenv("DATUM_PATIENCE", "1e9")
    monkeypatch.setattr("datum.patience.LONGEST_PAUSE", 0.05)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first fault that may pass ends what meets it."""
    monkeypatch.setenv("DATUM_PATIENCE", "0")


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The S3 endpoint of a SeaweedFS server that all tests of a process share."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as endpoint:
        yield endpoint


@pytest.fixture
def s3_environment(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment that `datum.store` reads, set to the test server; returns the endpoint."""
    monkeypatch.setenv("S3_ENDPOINT", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return s3_endpoint


@pytest.fixture
def s3_bucket(s3_environment: str) -> Iterator[str]:
    """The name of a fresh bucket on the test server, removed after the test with all that it holds: the
    server runs out of volumes after some dozens of buckets."""
    from minio import Minio

    client = Minio(
        s3_environment.removeprefix("http://"), access_key=ACCESS_KEY, secret_key=SECRET_KEY, secure=False
    )
    name = f"bucket-{time.monotonic_ns()}"
    client.make_bucket(name)
    yield name
    client.remove_bucket(name)
