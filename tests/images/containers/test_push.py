"""`make push` to a real registry, and what pipelines then get: an image by digest that can be pulled."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATION = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: 127.0.0.1:{port}}}
"""
STARTUP_SECONDS = 20


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A registry on loopback, which podman and buildah reach without TLS; yields its host and port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    address = f"127.0.0.1:{port}"
    (tmp_path / "config.yml").write_text(CONFIGURATION.format(folder=tmp_path / "data", port=port))
    (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    server = subprocess.Popen(["docker-registry", "serve", str(tmp_path / "config.yml")])
    try:
        deadline = time.monotonic() + STARTUP_SECONDS
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert server.poll() is None and time.monotonic() < deadline, "the registry did not start"
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


def podman(*words: str) -> str:
    return subprocess.run(["podman", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_what_is_pushed_is_recorded_by_the_digest_that_it_can_be_pulled_by(
    images: dict[str, str], registry: str, tmp_path: Path, engine: str
) -> None:
    name = f"{registry}/team/datum-reporting:1"
    podman("tag", images["reporting"], name)
    output = tmp_path / "images.json"
    words = ["push", "--engine", engine, "--registry", f"{registry}/team", "--tag", "1"]
    command = [sys.executable, "images/build.py", *words, "--stages", "reporting", "--output", str(output)]
    try:
        subprocess.run(command, cwd=ROOT, env=os.environ, check=True)
        pushed = json.loads(output.read_text(encoding="utf-8"))["reporting"]
        assert re.fullmatch(re.escape(f"{registry}/team/datum-reporting@") + r"sha256:[0-9a-f]{64}", pushed)
        podman("untag", images["reporting"], name)
        podman("pull", "--quiet", pushed)
        assert json.loads(podman("image", "inspect", pushed))[0]["Config"]["User"] == "10001:10001"
    finally:
        subprocess.run(["podman", "untag", images["reporting"], name], check=False, capture_output=True)
