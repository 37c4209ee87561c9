"""`datum doctor`: images, in a registry and on the nodes."""

import base64
import json
import os
import textwrap
from pathlib import Path

import pytest
from kubernetes import client as kubernetes

from components.images import STAGES
from datum import __version__
from tests.cluster.doctor.objects import (
    Doctor,
    a_node,
)
from tests.cluster.kubernetes_api import KubernetesApi, Registry


def test_images_that_are_not_pushed_yet_are_a_warning(examine: Doctor, registry: Registry) -> None:
    registry.manifests.remove(f"team/datum-adaptation/manifests/{__version__}")
    row = examine()["images"]
    assert row.status == "warning"
    assert row.found == f"not in the registry yet: {registry.host}/team/datum-adaptation:{__version__}"
    assert "make images push" in row.remedy


def test_pushed_images_that_the_registry_lost_are_a_problem(
    examine: Doctor, registry: Registry, tmp_path: Path
) -> None:
    digests = {stage: "sha256:" + f"{index}" * 64 for index, stage in enumerate(STAGES)}
    names = {stage: f"{registry.host}/team/datum-{stage}@{digest}" for stage, digest in digests.items()}
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "images.json").write_text(json.dumps(names))
    registry.manifests = {f"team/datum-{stage}/manifests/{digest}" for stage, digest in digests.items()}
    assert examine()["images"].status == "ok"
    registry.manifests.pop()
    row = examine()["images"]
    assert row.status == "problem"
    assert "the registry lost" in row.found
    (tmp_path / "build" / "images.json").write_text("{")
    assert examine()["images"].remedy == "`make images` writes it anew"


def test_images_of_an_earlier_push_are_told_from_those_that_were_built(
    examine: Doctor, registry: Registry, tmp_path: Path
) -> None:
    earlier = "those of an earlier push, since build/images.json names none of them"
    row = examine()["images"]
    assert row.status == "ok" and earlier in row.found
    names = {stage: f"{registry.host}/team/datum-{stage}:{__version__}" for stage in STAGES}
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "images.json").write_text(json.dumps(names))
    assert earlier not in examine()["images"].found


def test_a_private_registry_is_asked_with_the_credentials_of_docker(
    examine: Doctor, registry: Registry, tmp_path: Path
) -> None:
    registry.user = ("alice", "opensesame")
    row = examine()["images"]
    assert row.status == "problem"
    assert "refuses anonymous pulls: 401" in row.found
    assert f"docker login {registry.host}" in row.remedy
    (tmp_path / "docker").mkdir()
    auth = base64.b64encode(b"alice:opensesame").decode()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
    row = examine()["images"]
    assert row.status == "ok"
    assert "with your credentials" in row.found


def test_docker_credential_helpers_are_asked(
    examine: Doctor, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.user = ("alice", "opensesame")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"credHelpers": {registry.host: "tests"}}))
    assert examine()["images"].status == "problem", "a helper that is not installed has nothing"
    helper = tmp_path / "docker-credential-tests"
    helper.write_text(
        textwrap.dedent(f"""\
        #!/bin/sh
        test "$1 $(cat)" = "get {registry.host}" && echo '{{"Username": "alice", "Secret": "opensesame"}}'
        """)
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert examine()["images"].status == "ok"


@pytest.mark.parametrize("status", [403, 500])
def test_a_registry_that_refuses_or_fails_is_a_problem(
    examine: Doctor, registry: Registry, status: int
) -> None:
    registry.status = status
    row = examine()["images"]
    assert row.status == "problem"
    assert str(status) in row.found
    assert row.found.startswith("5 of 5 images")


def test_a_registry_out_of_reach_is_a_problem(examine: Doctor) -> None:
    row = examine(registry="127.0.0.1:1/team")["images"]
    assert row.status == "problem"
    assert "does not answer" in row.found


def test_without_a_registry_the_nodes_must_hold_the_images(examine: Doctor, cluster: KubernetesApi) -> None:
    row = examine(registry="")["images"]
    assert row.status == "warning"
    assert all(f"datum-{stage}:{__version__}" in row.found for stage in STAGES)
    node = a_node("kind-control-plane", 0)
    node.status.images = [
        kubernetes.V1ContainerImage(names=[f"docker.io/library/datum-{stage}:{__version__}"])
        for stage in STAGES
    ]
    cluster.put(node)
    assert examine(registry="")["images"].found == "all 5 are on the nodes"
