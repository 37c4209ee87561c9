"""What KFP makes of the pipelines, and what a run takes of Argo's limit: a Workflow and the state of its
nodes are one object of 1 MiB at most."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from datum.errors import InputError
from pipelines.argo_limit import BUDGET, NODES_OF_A_TASK, SUBMITTED, bytes_of_run, require_fits
from pipelines.compile import compile_all, compile_pipeline
from pipelines.form_defaults import FormDefaults
from pipelines.reproduction import reproduction
from pipelines.resources import Cluster
from pipelines.without_drawing import without_drawing
from tests.pipelines.kfp_compiler import (
    GOLDEN,
    NAMES,
    WORKFLOWS,
    pipeline_bytes,
    pipeline_documents,
)

SIZES: dict[str, dict[str, int]] = json.loads((WORKFLOWS / "sizes.json").read_text())["bytes"]


@pytest.mark.parametrize("name", NAMES)
def test_the_workflow_of_a_run_and_the_state_of_its_nodes_stay_below_argo_s_limit(name: str) -> None:
    measured, now = SIZES[name], pipeline_bytes(name)
    assert abs(now - measured["pipeline"]) < 0.1 * measured["pipeline"], (
        f"{name} has changed much since KFP's compiler was asked; see tests/pipelines/kfp_compiler.py"
    )
    tasks = len(pipeline_documents(name)[0]["root"]["dag"]["tasks"])
    workflow = measured["workflow"] + now - measured["pipeline"]
    found = workflow + SUBMITTED + NODES_OF_A_TASK * tasks
    assert found < BUDGET
    estimated = bytes_of_run(GOLDEN / f"{name}.yaml")
    assert found <= estimated < 1.1 * found + 5_000, "estimated from above, and closely"


@pytest.mark.parametrize(
    "file, pipeline, seeds",
    [("reproduction.yaml", reproduction, 15), ("training.yaml", without_drawing, 25)],
)
def test_three_repeats_of_a_protocol_s_five_images_fit_and_five_do_where_nothing_is_drawn(
    file: str, pipeline: Any, seeds: int, tmp_path: Path
) -> None:
    compile_pipeline(pipeline(seeds=range(seeds), cluster=Cluster()), tmp_path / file)
    require_fits(tmp_path / file, seeds)


def test_more_seeds_than_a_run_can_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"seeds: a run of reproduction over 20 of them takes \d+ kB of Argo"
    ):
        compile_all(tmp_path, Cluster(form=FormDefaults(seeds=tuple(range(20)))))


def test_a_training_without_drawing_is_smaller_than_the_baselines_which_train_twice_a_seed() -> None:
    """So it needs no measurement of its own."""

    def tasks(name: str) -> int:
        return len(pipeline_documents(name)[0]["root"]["dag"]["tasks"])

    assert tasks("training") < tasks("baselines")
    assert pipeline_bytes("training") < pipeline_bytes("baselines")


@pytest.fixture
def templates() -> dict[str, dict[str, Any]]:
    """The templates of a Workflow by name, as KFP's compiler makes them of the pipeline `ingest`."""
    workflow = yaml.safe_load((WORKFLOWS / "ingest.yaml").read_text(encoding="utf-8"))
    return {template["name"]: template for template in workflow["spec"]["templates"]}


def test_kfp_leaves_to_the_cluster_which_failures_are_tried_again(
    templates: dict[str, dict[str, Any]],
) -> None:
    tried = {name: item["retryStrategy"] for name, item in templates.items() if "retryStrategy" in item}
    assert [name.endswith("retry-system-container-impl") for name in tried] == [True]
    assert not any("retryPolicy" in strategy for strategy in tried.values())
    given = {
        item["name"]: item["value"]
        for task in templates["root"]["dag"]["tasks"]
        if task["name"] == "ingest-source"
        for item in task["arguments"]["parameters"]
    }
    assert (given["retry-max-count"], given["retry-backoff-max-duration"]) == ("3", "216525")


def test_a_task_has_the_nodes_by_which_runs_are_shown(templates: dict[str, dict[str, Any]]) -> None:
    keys = set(pipeline_documents("ingest")[0]["root"]["dag"]["tasks"])
    named = {task["name"]: task["template"] for task in templates["root"]["dag"]["tasks"]}
    assert set(named) == keys | {f"{key}-driver" for key in keys}
    for key in keys:
        assert [task["name"] for task in templates[named[key]]["dag"]["tasks"]] == ["executor"]
        assert "dag" not in templates[named[f"{key}-driver"]]


def test_a_task_has_the_metadata_store_s_address_in_its_environment(
    templates: dict[str, dict[str, Any]],
) -> None:
    (pod,) = (item for item in templates.values() if "initContainers" in item)
    names = [source["configMapRef"]["name"] for source in pod["container"]["envFrom"]]
    assert names == ["metadata-grpc-configmap"]
