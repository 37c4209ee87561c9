"""Each image by itself: what it holds, what it does not, and who it runs as."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.images import STAGES

ROOT = Path(__file__).resolve().parents[3]
DIFFUSION = {"diffusers", "transformers", "tokenizers"}
SEGMENTATION = {"onedl-mmsegmentation", "onedl-mmcv", "onedl-mmengine", "timm", "scipy", "matplotlib"}
FOREIGN: dict[str, set[str]] = {
    "personalization": SEGMENTATION,
    "generation": set(),  # draws, and judges what it drew by a segmentation network
    "adaptation": DIFFUSION,
    "evaluation": DIFFUSION,
    "reporting": DIFFUSION
    | SEGMENTATION
    | {"accelerate", "torch", "torchvision", "triton", "nvidia-cudnn-cu13"},
}
"""Packages that another stage brings and this one has no use for."""
NOWHERE = {"kubernetes", "google-cloud-storage", "pip", "pytest", "mypy"}
"""Packages that no image holds."""
LIST = "import importlib.metadata as m; print(*(d.metadata['Name'] for d in m.distributions()))"


def run_in(image: str, *command: str) -> subprocess.CompletedProcess[str]:
    """`command`, ended, in a container as restricted as a cluster's."""
    return subprocess.run(
        ["podman", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", image, *command],
        capture_output=True,
        text=True,
        check=False,
    )


def find_in(image: str, *words: str) -> list[str]:
    """What `find` finds in `image`, as root, who may look into every folder."""
    command = ["podman", "run", "--rm", "--network", "none", "--user", "0", image, "find", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def inspect(image: str) -> dict[str, Any]:
    found = subprocess.run(["podman", "image", "inspect", image], capture_output=True, check=True)
    return json.loads(found.stdout)[0]


def locked(*files: str) -> set[str]:
    lines = "".join((ROOT / "images" / file).read_text(encoding="utf-8") for file in files)
    return set(re.findall(r"^([a-z0-9._-]+)==", lines, re.MULTILINE))


@pytest.mark.parametrize("stage", STAGES)
def test_an_image_runs_as_a_user_without_rights_and_says_what_it_is(
    images: dict[str, str], stage: str
) -> None:
    found = inspect(images[stage])
    labels = found["Config"]["Labels"]
    assert found["Config"]["User"] == "10001:10001"
    assert labels["org.opencontainers.image.title"] == f"datum-{stage}"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert re.fullmatch(r"\d+\.\d+\.\d+", labels["org.opencontainers.image.version"])
    assert re.fullmatch(r"[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
    assert "org.opencontainers.image.source" in labels
    description = (ROOT / "images" / stage / "description.txt").read_text(encoding="utf-8")
    assert labels["org.opencontainers.image.description"] == description.strip()


@pytest.mark.parametrize("stage", STAGES)
def test_an_image_holds_what_its_lock_file_names_and_nothing_of_another_stage(
    images: dict[str, str], stage: str
) -> None:
    listed = run_in(images[stage], "python3", "-c", LIST)
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in listed.stdout.split()}
    shared = [] if stage == "reporting" else ["torch.lock"]
    assert names == locked(f"{stage}/requirements.lock", *shared) | {"datum"}, listed.stderr
    assert not names & (FOREIGN[stage] | NOWHERE)


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_in_an_image_may_be_changed_by_its_user_and_nothing_installs_into_it(
    images: dict[str, str], stage: str
) -> None:
    assert "No module named pip" in run_in(images[stage], "python3", "-m", "pip", "--version").stderr
    owned = ["-perm", "-0002", "-o", "-user", "10001", "-o", "-group", "10001"]
    writable = find_in(images[stage], "/opt", "/usr", "/etc", "!", "-type", "l", "(", *owned, ")")
    assert writable == []


@pytest.mark.parametrize("stage", STAGES)
def test_no_secret_and_no_setting_of_the_building_machine_is_left_in_an_image(
    images: dict[str, str], stage: str
) -> None:
    environment = inspect(images[stage])["Config"]["Env"]
    assert not [
        text for text in environment if re.search(r"TOKEN|PASSWORD|SECRET|_KEY|PIP_|PROXY", text, re.I)
    ]
    names = " -o ".join(f"-name {name}" for name in (".git", ".env", ".netrc", "pip.conf", "id_*", ".docker"))
    assert (
        find_in(images[stage], "/", "-path", "/proc", "-prune", "-o", "(", *names.split(), ")", "-print")
        == []
    )


@pytest.mark.parametrize("stage", STAGES)
def test_an_image_is_not_larger_than_it_should_be(
    images: dict[str, str], stage: str, table: list[str]
) -> None:
    size = inspect(images[stage])["Size"] / 1e9
    history = subprocess.run(
        ["podman", "history", "--format", "json", images[stage]], capture_output=True, check=True
    )
    layers = [entry["size"] / 1e6 for entry in json.loads(history.stdout) if entry["size"] > 1e6]
    table.append(f"{stage:16} {size:6.2f} GB   layers, MB: {', '.join(f'{layer:.0f}' for layer in layers)}")
    # torch and CUDA take 6 GB; the base of the tests, a whole Debian, 0.3.
    assert size < (1 if stage == "reporting" else 7.5)


def test_the_images_with_torch_share_its_layer(images: dict[str, str]) -> None:
    layers = [set(inspect(images[stage])["RootFS"]["Layers"]) for stage in STAGES]
    # The base, the empty environment, torch.
    assert len(set.intersection(*layers[:4])) == 3
    assert len(set.intersection(*layers)) == 2


def test_an_sbom_lists_every_package_of_an_image(images: dict[str, str]) -> None:
    registry, _, tag = images["reporting"].partition("/datum-reporting:")
    command = [sys.executable, "images/build.py", "sbom", "--engine", "podman", "--stages", "reporting"]
    subprocess.run([*command, "--registry", registry, "--tag", tag], cwd=ROOT, check=True)
    sbom = json.loads((ROOT / "build" / "sbom" / "reporting.cdx.json").read_text(encoding="utf-8"))
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    packages = {component["purl"].partition("@")[0] for component in sbom["components"]}
    assert {f"pkg:pypi/{name}" for name in locked("reporting/requirements.lock")} <= packages
    assert "pkg:deb/debian/libc6" in packages
