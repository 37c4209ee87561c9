"""The reproduction, each task in its own image, as a cluster would run it: artifacts by files, then by S3."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler

from components.installation import on_one_machine
from pipelines.form_defaults import FormDefaults
from pipelines.reproduction import reproduction
from pipelines.resources import Cluster as Placement
from tests.images.containers.cluster import LOGGED, Cluster, FolderArtifacts, StoredArtifacts, Task

SMALL = {
    "datasets.source_scenes": 8,
    "datasets.target_train_scenes": 3,
    "datasets.target_val_scenes": 4,
    "personalization.steps": 4,
    "personalization.checkpoint_every": 2,
    "generation.checkpoint_step": 2,
    "generation.count": 4,
    "generation.inference_steps": 2,
    "adaptation.iterations": 10,
    "adaptation.validate_every": 10,
    "adaptation.save_every": 5,
    "adaptation.workers": 1,
}
"""The demo profile with fewer of everything, for the passes that need not be a real run."""
SECRETS = {"mlpipeline-minio-artifact": {"accesskey": "tests", "secretkey": "not-a-secret"}}


@pytest.fixture(scope="session")
def pinned(images: dict[str, str]) -> dict[str, str]:
    """The same images by digest, as `make push` records them."""
    inspect = ["podman", "image", "inspect", "--format", "{{.Digest}}"]
    digests = {
        stage: subprocess.run([*inspect, image], check=True, capture_output=True, text=True).stdout.strip()
        for stage, image in images.items()
    }
    return {stage: f"{image.rpartition(':')[0]}@{digests[stage]}" for stage, image in images.items()}


def compiled(images: Mapping[str, str], folder: Path) -> Path:
    """The compiled reproduction over one seed in two shards, with `images` as defaults."""
    placement = Placement(images=images, form=FormDefaults(profile="demo", gpu_count=0))
    pipeline = reproduction(seeds=(1,), shards=2, cluster=placement)
    compiler.Compiler().compile(pipeline, str(folder / "reproduction.yaml"))
    return folder / "reproduction.yaml"


def arguments(data: str, *, store_endpoint: str, small: bool = True) -> dict[str, Any]:
    overrides = [f"{name}={value}" for name, value in SMALL.items()] if small else []
    places = {name: f"{data}/{name}" for name in ("datasets", "state", "reports")}
    installation = {**on_one_machine("demo"), "store_endpoint": store_endpoint, **places}
    return {"run_overrides": overrides, "run_installation": installation}


def note(table: list[str], how: str, tasks: Mapping[str, Task]) -> None:
    table.append(f"{how}: {sum(task.seconds for task in tasks.values()):.0f} s")
    table.extend(f"  {name:32} {task.seconds:6.1f} s  {task.image}" for name, task in tasks.items())


def check(tasks: Mapping[str, Task], images: Mapping[str, str], root: Path) -> None:
    """Every image was used, and the report that came out is whole."""
    assert {task.image for task in tasks.values()} == set(images.values())
    outputs = {
        name: root / artifact["artifacts"][0]["uri"].removeprefix("minio://")
        for name, artifact in tasks["report"].artifacts.items()
    }
    summary = json.loads(outputs["summary"].read_text(encoding="utf-8"))
    assert [method["median_seed"] for method in summary["methods"]] == [1]
    assert "<html" in outputs["page"].read_text(encoding="utf-8")
    assert next(outputs["median_checkpoint"].glob("*.safetensors")).stat().st_size > 100_000


def test_the_reproduction_runs_in_its_images_with_artifacts_passed_by_files(
    images: dict[str, str], tmp_path: Path, table: list[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    artifacts = FolderArtifacts(tmp_path / "minio")
    cluster = Cluster(artifacts=artifacts, folder=tmp_path / "pods", secrets=SECRETS, volumes={"/data": data})
    # No endpoint: no task has a network.
    tasks = cluster.run(compiled(images, tmp_path), arguments("file:///data", store_endpoint=""))
    note(table, "artifacts by files", tasks)
    check(tasks, images, artifacts.folder)


def test_the_reproduction_runs_in_its_images_with_artifacts_and_data_sets_in_a_store(
    pinned: dict[str, str], tmp_path: Path, table: list[str], s3_bucket: str
) -> None:
    from minio import Minio

    endpoint = os.environ["S3_ENDPOINT"]
    keys = SECRETS["mlpipeline-minio-artifact"]
    client = Minio(endpoint.removeprefix("http://"), keys["accesskey"], keys["secretkey"], secure=False)
    artifacts = StoredArtifacts(client, tmp_path / "minio")
    cluster = Cluster(artifacts=artifacts, folder=tmp_path / "pods", secrets=SECRETS, bucket=s3_bucket)
    # The demo profile as it is: also its memory limits hold.
    given = arguments(f"s3://{s3_bucket}/datum", store_endpoint=endpoint, small=False)
    tasks = cluster.run(compiled(pinned, tmp_path), given)
    note(table, "artifacts and data sets by S3", tasks)
    assert tasks["ingest source"].parameters["Output"].startswith(f"s3://{s3_bucket}/datum/datasets/")
    # What another pod would get.
    written = [item["artifacts"][0] for item in tasks["report"].artifacts.values()]
    files = [item["uri"] for item in written if item["type"]["schemaTitle"] not in LOGGED]
    with artifacts.of_task([uri.removeprefix("minio://") for uri in files]) as fetched:
        check(tasks, pinned, fetched)


def test_a_component_that_fails_in_its_image_fails_the_run_with_what_it_said(
    images: dict[str, str], tmp_path: Path
) -> None:
    cluster = Cluster(
        artifacts=FolderArtifacts(tmp_path / "minio"), folder=tmp_path / "pods", secrets=SECRETS
    )
    given = arguments("file:///data", store_endpoint="")
    given["run_overrides"].append("generation.checkpoint_step=3")
    with pytest.raises(
        AssertionError,
        match=r"check parameters: ended with status 2 in its image:\n(.*\n)*.*checkpoint_step=3",
    ):
        cluster.run(compiled(images, tmp_path), given)
