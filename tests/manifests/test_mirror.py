"""`manifests/mirror.sh`: which images an installation pulls, and how they are copied to another registry."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COPIER = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >>"$COPIES"
"""
CONTROLLER = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "workflow-controller", "namespace": "kubeflow"},
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "a",
                        "image": "quay.io/argoproj/workflow-controller:v4.0.5",
                        "args": ["--executor-image", "quay.io/argoproj/argoexec:v4.0.5"],
                        "env": [{"name": "V2_DRIVER_IMAGE", "value": "ghcr.io/kubeflow/kfp-driver:2.17.0"}],
                    },
                    {"name": "b", "image": "mysql:8.4"},
                    {"name": "c", "image": "docker.io/alpine:3.23"},
                ]
            }
        }
    },
}
"""Stands for KFP's manifests, which are fetched: the forms in which they name images."""
KFP_IMAGES = [
    "docker.io/alpine:3.23",
    "ghcr.io/kubeflow/kfp-driver:2.17.0",
    "mysql:8.4",
    "quay.io/argoproj/argoexec:v4.0.5",
    "quay.io/argoproj/workflow-controller:v4.0.5",
]
MINIO_IMAGES = sorted(
    name
    for file in (ROOT / "manifests/overlays/minio").glob("*.yaml")
    for name in re.findall(r"image: (\S+)", file.read_text(encoding="utf-8"))
)
DIGEST = f"@sha256:{'a' * 64}"


Mirror = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    """Function: runs the script in a copy of the manifests, with pushed images and one tool to copy with."""
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    folder = tmp_path / "manifests/kfp"
    (folder / "resources.yaml").write_text(yaml.safe_dump(CONTROLLER))
    (folder / "kustomization.yaml").write_text("resources: [resources.yaml]")
    (tmp_path / "build").mkdir()
    images = {"adaptation": f"registry.example.org:5000/team/datum-adaptation{DIGEST}"}
    (tmp_path / "build/images.json").write_text(json.dumps(images, indent=2))
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "basename", "cat", "dirname", "env", "grep", "mkdir", "paste", "sed", "sort"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "kubectl").symlink_to(Path(sys.executable).with_name("kubectl"))
    environment = {
        "PATH": str(tools),
        "DATUM": str(tools / "datum"),
        "PYTHONPATH": str(ROOT),
        "COPIES": str(tmp_path / "copies"),
    }
    (tools / "datum").write_text(f"#!{sys.executable}\nfrom datum.cli import main\nmain()\n")
    (tools / "datum").chmod(0o755)

    def run(*words: str, copier: str = "") -> subprocess.CompletedProcess[str]:
        if copier:
            (tools / copier).write_text(COPIER)
            (tools / copier).chmod(0o755)
        command = [str(tmp_path / "manifests/mirror.sh"), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


def test_every_image_is_listed_however_it_is_named(mirror: Mirror) -> None:
    run = mirror("minio")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == sorted(
        [
            *KFP_IMAGES,
            *MINIO_IMAGES,
            f"registry.example.org:5000/team/datum-adaptation{DIGEST}",
        ]
    )


@pytest.mark.parametrize("copier", ["skopeo", "crane"])
def test_every_image_is_copied_below_the_path_that_it_has_at_home(
    mirror: Mirror, tmp_path: Path, copier: str
) -> None:
    run = mirror("default", "mirror.lab:5000/all", copier=copier)
    assert run.returncode == 0, run.stderr
    copied = [line.split()[-1].removeprefix("docker://") for line in (tmp_path / "copies").open()]
    assert copied == [
        "mirror.lab:5000/all/library/alpine:3.23",
        "mirror.lab:5000/all/kubeflow/kfp-driver:2.17.0",
        "mirror.lab:5000/all/library/mysql:8.4",
        "mirror.lab:5000/all/argoproj/argoexec:v4.0.5",
        "mirror.lab:5000/all/argoproj/workflow-controller:v4.0.5",
        "mirror.lab:5000/all/team/datum-adaptation",
    ]


@pytest.mark.parametrize("copier", ["skopeo", "crane"])
def test_an_image_with_tag_and_digest_is_copied_by_its_digest_to_its_tag(
    mirror: Mirror, tmp_path: Path, copier: str
) -> None:
    run = mirror("minio", "mirror.lab:5000/all", copier=copier)
    assert run.returncode == 0, run.stderr
    words = [line.split() for line in (tmp_path / "copies").open()]
    copied = {line[-1].removeprefix("docker://"): line[-2].removeprefix("docker://") for line in words}
    for name in MINIO_IMAGES:
        tagged, digest = name.split("@")
        source = f"{tagged.rpartition(':')[0]}@{digest}" if copier == "skopeo" else name
        assert copied[tagged.replace("quay.io", "mirror.lab:5000/all")] == source
    pushed = f"registry.example.org:5000/team/datum-adaptation{DIGEST}"
    assert copied["mirror.lab:5000/all/team/datum-adaptation"] == pushed


def test_without_a_tool_to_copy_with_nothing_is_pretended(mirror: Mirror) -> None:
    run = mirror("default", "mirror.lab:5000")
    assert run.returncode == 2
    assert "neither skopeo nor crane is installed" in run.stderr


def test_an_overlay_that_is_not_there_is_told(mirror: Mirror) -> None:
    run = mirror("nowhere")
    assert (run.returncode, run.stdout) == (2, "")
    assert "default kind minio seaweedfs" in run.stderr
