"""The parts of requirements.lock: each image's, with its stage's packages alone, and `make deploy`'s."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.images import STAGES

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted([*(ROOT / "images").rglob("*.lock"), ROOT / "manifests" / "requirements.lock"])


def entries(text: str) -> set[str]:
    """`name==version` and all its hashes, of each package in a lock file."""
    return set(re.findall(r"^[a-z0-9._-]+==(?:.*\\\n)+.*\n", text, re.MULTILINE))


def test_the_lock_files_are_what_the_script_writes(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "requirements.lock", "images/lock.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    for lock in LOCKS:
        (tmp_path / lock.relative_to(ROOT)).parent.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "images/lock.py"], cwd=tmp_path, check=True)
    written = sorted({*tmp_path.rglob("*.lock")} - {tmp_path / "requirements.lock"})
    assert [file.relative_to(tmp_path) for file in written] == [lock.relative_to(ROOT) for lock in LOCKS]
    for file, lock in zip(written, LOCKS, strict=True):
        assert file.read_text(encoding="utf-8") == lock.read_text(encoding="utf-8"), (
            f"{lock}: run `make lock`"
        )


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_versions_and_hashes_are_those_that_everything_was_tested_with(lock: Path) -> None:
    whole = entries((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    part = entries(lock.read_text(encoding="utf-8"))
    assert part and part <= whole
    assert all("--hash=sha256:" in entry for entry in part)


def test_deploying_needs_no_torch() -> None:
    text = (ROOT / "manifests" / "requirements.lock").read_text(encoding="utf-8")
    names = {entry.partition("==")[0] for entry in entries(text)}
    assert {"kfp", "kubernetes", "rich", "minio"} <= names
    assert not {"torch", "diffusers", "transformers", "onedl-mmsegmentation"} & names


def test_nothing_in_the_recipe_knows_the_stage_before_the_layer_of_torch_is_made() -> None:
    """Otherwise each of four images would have a layer of 6 GB of its own."""
    text = (ROOT / "images" / "Dockerfile").read_text(encoding="utf-8")
    head, _, tail = text.partition("FROM tools AS datum")
    instructions = "".join(line for line in head.splitlines(keepends=True) if not line.startswith("#"))
    assert "torch.lock" in instructions
    assert not re.search(r"STAGE|DESCRIPTION|VERSION|REVISION|SOURCE|COPY", instructions)
    assert "STAGE" in tail and "torch.lock" not in tail


@pytest.mark.parametrize("stage", STAGES)
def test_an_image_begins_with_torch_where_its_stage_needs_it(stage: str) -> None:
    """Its own lock file then holds what comes on top."""
    own, torch = (
        entries((ROOT / "images" / name).read_text(encoding="utf-8"))
        for name in (f"{stage}/requirements.lock", "torch.lock")
    )
    assert bool(own & torch) == (stage == "reporting")
