"""`images/build.py`: what it refuses, and how it asks a registry for a digest."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.images import STAGES
from datum import __version__
from tests.stand_in_server import QuietHandler, StandInServer

ROOT = Path(__file__).resolve().parents[2]
DIGEST = "sha256:" + "5e" * 32


def run(*words: str, root: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    # Without anything that is installed.
    command = [sys.executable, "-I", "-S", str(root / "images" / "build.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


class Registry(QuietHandler):
    """Answers as the distribution specification says, to who has a token."""

    def do_GET(self) -> None:
        self._answer(200, {}, b'{"token": "of-a-reader"}')

    def do_HEAD(self) -> None:
        if self.headers["Authorization"] != "Bearer of-a-reader":
            realm = f"http://{self.headers['Host']}/token"
            challenge = f'Bearer realm="{realm}",service="tests",scope="repository:team/python:pull"'
            self._answer(401, {"WWW-Authenticate": challenge})
        elif self.path == "/v2/team/python/manifests/3.11-slim" and "image.index" in self.headers["Accept"]:
            self._answer(200, {"Docker-Content-Digest": DIGEST})
        else:
            self._answer(404, {})

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def registry() -> Iterator[str]:
    with StandInServer(Registry) as server:
        yield server.url.removeprefix("http://")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A repository of our own, whose Dockerfile may be changed."""
    for folder in ("components", "datum", "images"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
        )
    return tmp_path


def dockerfile(root: Path) -> str:
    return (root / "images" / "Dockerfile").read_text(encoding="utf-8")


def test_the_base_is_pinned_to_the_digest_that_its_registry_gives(copy: Path, registry: str) -> None:
    base = f"{registry}/team/python:3.11-slim"
    for _ in range(2):  # What is pinned is pinned anew.
        ended = run("pin-bases", "--base", base, root=copy)
        assert ended.returncode == 0, ended.stderr
    assert dockerfile(copy).count(f"\nARG PYTHON_BASE={base}@{DIGEST}\n") == 1


@pytest.mark.parametrize("base", ["{registry}/team/python:no-such-tag", "127.0.0.1:9/python:3.11-slim"])
def test_no_digest_is_written_where_the_registry_gives_none(copy: Path, registry: str, base: str) -> None:
    before = dockerfile(copy)
    ended = run("pin-bases", "--base", base.format(registry=registry), root=copy)
    assert ended.returncode == 2
    assert "nothing was pinned" in ended.stderr and len(ended.stderr.splitlines()) == 1
    assert dockerfile(copy) == before


@pytest.mark.parametrize("stage", STAGES)
def test_an_image_is_built_from_the_one_recipe_as_its_stage_says(tmp_path: Path, stage: str) -> None:
    """In place of the engine, a script that tells what it was called with."""
    engine = tmp_path / "docker"
    engine.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\n')
    engine.chmod(0o755)
    output = tmp_path / "images.json"
    words = ["build", "--engine", "docker", "--registry", "r.example.org/team/", "--stages", stage]
    ended = run(*words, "--output", str(output), PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert ended.returncode == 0, ended.stderr
    name = f"r.example.org/team/datum-{stage}:{__version__}"
    assert json.loads(output.read_text(encoding="utf-8")) == {stage: name}
    given = (tmp_path / "words").read_text(encoding="utf-8").splitlines()
    values = dict(word.removeprefix("--build-arg=").split("=", 1) for word in given if "--build-arg=" in word)
    assert (values["STAGE"], values["VERSION"]) == (stage, __version__)
    assert values["DESCRIPTION"].startswith("DATUM: ") and values["DESCRIPTION"].endswith(".")
    assert values["PARENT"] == ("without-torch" if stage == "reporting" else "with-torch")
    assert given[-5:] == ["--file", str(ROOT / "images" / "Dockerfile"), "--tag", name, str(ROOT)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "--engine", "kaniko"], "ENGINE=kaniko: not found on this machine"),
        (["push", "--registry", ""], "REGISTRY: not given"),
        (["push", "--registry", "r.example.org", "--stages", "adaption"], "STAGES: found adaption"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(words: list[str], message: str) -> None:
    ended = run(*words)
    assert ended.returncode == 2
    assert message in ended.stderr and len(ended.stderr.splitlines()) == 1


def written(folder: Path, names: dict[str, str]) -> str:
    """`--output` of what `make push` wrote."""
    (folder / "images.json").write_text(json.dumps(names), encoding="utf-8")
    return f"--output={folder / 'images.json'}"


def put_tool(folder: Path, name: str, status: int = 0) -> str:
    """A path with a script in place of the program, which tells what it was called with."""
    tool = folder / name
    tool.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\nexit {status}\n')
    tool.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


PUSHED = {stage: f"r.example.org/team/datum-{stage}@{DIGEST}" for stage in STAGES}


@pytest.mark.parametrize("key", ["", "cosign.key"])
def test_what_was_pushed_is_signed_by_its_digest(tmp_path: Path, key: str) -> None:
    path = put_tool(tmp_path, "cosign")
    ended = run("sign", "--key", key, written(tmp_path, PUSHED), PATH=path)
    assert ended.returncode == 0, ended.stderr
    how = "sign --yes --key cosign.key" if key else "sign --yes"
    assert (tmp_path / "calls").read_text().splitlines() == [f"{how} {name}" for name in PUSHED.values()]


@pytest.mark.parametrize(("status", "count"), [(0, "0 of 5"), (1, "5 of 5")])
def test_all_images_are_scanned_whatever_the_first_one_holds(tmp_path: Path, status: int, count: str) -> None:
    path = put_tool(tmp_path, "trivy", status)
    ended = run("scan", written(tmp_path, PUSHED), PATH=path)
    assert (ended.returncode, ended.stderr) == (status, "")
    assert ended.stdout.startswith(f"{count} images have grave vulnerabilities")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[-1] for call in calls] == list(PUSHED.values())


@pytest.mark.parametrize(("command", "tool"), [("sign", "cosign"), ("scan", "trivy")])
def test_a_missing_tool_and_an_image_without_a_digest_are_said_in_one_line(
    tmp_path: Path, command: str, tool: str
) -> None:
    ended = run(command, written(tmp_path, PUSHED), PATH=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"images: {tool}: not found on the path; install it as https://")
    path = put_tool(tmp_path, tool)
    ended = run(command, written(tmp_path, {**PUSHED, "evaluation": "datum-evaluation:1"}), PATH=path)
    assert ended.returncode == 2
    assert "found datum-evaluation:1 for evaluation, expected one with its digest" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "calls").exists()


def test_no_recipe_and_no_manifest_names_an_image_by_its_tag_alone() -> None:
    named = re.findall(r"^ARG PYTHON_BASE=(.*)$", dockerfile(ROOT), re.MULTILINE)
    froms = re.findall(r"^FROM (\S+)", dockerfile(ROOT), re.MULTILINE)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile(ROOT), re.MULTILINE))
    assert {name for name in froms if name not in stages} == {"${PYTHON_BASE}", "${PARENT}"}
    for file in (ROOT / "manifests").rglob("*.yaml"):
        named += re.findall(r"^\s*(?:- )?image: *(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    named.remove("IMAGE")  # of manifests/run-ended.yaml: ours, whose digest its reader writes there
    assert len(named) == 3
    for name in named:
        assert re.search(r":[^@/]+@sha256:[0-9a-f]{64}$", name), name
