"""The compiled pipeline: its golden file, and the shape of the DAG."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler

from pipelines.compile import compile_all
from pipelines.reproduction import reproduction

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Display name -> task, of two seeds in three shards beside the baselines."""
    file = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compiler.Compiler().compile(reproduction(seeds=(4, 2), shards=3, baselines=True), str(file))
    specification = yaml.safe_load(file.read_text(encoding="utf-8"))
    return _by_display_name(specification["root"]["dag"]["tasks"])


def test_the_compiled_pipelines_are_the_golden_files(tmp_path: Path) -> None:
    compile_all(tmp_path)
    for file in sorted(tmp_path.iterdir()):
        golden = GOLDEN / file.name
        assert golden.is_file() and golden.read_text(encoding="utf-8") == file.read_text(encoding="utf-8"), (
            f"{file.name} has changed; if that is meant, look at the difference and run "
            "`python -m pipelines.compile --output tests/pipelines/golden`"
        )
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in GOLDEN.iterdir()}


def test_every_task_has_a_name_that_a_person_can_read(tasks: dict[str, dict[str, Any]]) -> None:
    seed = ["select one-shot image", "personalize", "generate 1/3", "generate 2/3", "generate 3/3"]
    seed += ["merge shards", "adapt", "evaluate", "source-only · adapt", "source-only · evaluate"]
    seed += ["one-image · adapt", "one-image · evaluate"]
    names = {"ingest source", "ingest target", "report"}
    names |= {f"seed {number} · {name}" for number in (4, 2) for name in seed}
    assert set(tasks) == names


@pytest.mark.parametrize("seed", [4, 2])
def test_a_seed_goes_from_its_photograph_to_its_scores(tasks: dict[str, dict[str, Any]], seed: int) -> None:
    def before(name: str) -> set[str]:
        return _before(tasks, f"seed {seed} · {name}")

    def own(*names: str) -> set[str]:
        return {f"seed {seed} · {name}" for name in names}

    data = {"ingest source", "ingest target"}
    assert before("select one-shot image") == {"ingest target"}
    assert before("personalize") == own("select one-shot image")
    shards = ["generate 1/3", "generate 2/3", "generate 3/3"]
    for shard in shards:
        assert before(shard) == own("personalize")
    assert before("merge shards") == own(*shards)
    assert before("adapt") == data | own("merge shards")
    assert before("source-only · adapt") == data
    assert before("one-image · adapt") == data | own("select one-shot image")
    for training in ("", "source-only · ", "one-image · "):
        assert own(f"{training}adapt") < before(f"{training}evaluate")
        assert before(f"{training}evaluate") <= own(
            f"{training}adapt", "select one-shot image", "merge shards"
        ) | {"ingest target"}


def test_the_report_waits_for_every_evaluation(tasks: dict[str, dict[str, Any]]) -> None:
    assert _before(tasks, "report") == {name for name in tasks if name.endswith("evaluate")}


def test_seeds_and_shards_are_constants_of_their_tasks(tasks: dict[str, dict[str, Any]]) -> None:
    for name, task in tasks.items():
        found = re.fullmatch(r"seed (\d) · generate (\d)/(\d)", name)
        if found:
            given = [_constant(task, key) for key in ("seed", "shard", "shards")]
            assert given == [int(number) for number in found.groups()]
    assert {_constant(task, "position") for name, task in tasks.items() if "select" in name} == {0, 1}
    for method in ("source-only", "one-image"):
        assert _constant(tasks[f"seed 4 · {method} · adapt"], "method") == method


def test_without_shards_and_baselines_a_seed_is_five_tasks(tmp_path: Path) -> None:
    compiler.Compiler().compile(reproduction(seeds=(1,)), str(tmp_path / "pipeline.yaml"))
    specification = yaml.safe_load((tmp_path / "pipeline.yaml").read_text(encoding="utf-8"))
    names = list(_by_display_name(specification["root"]["dag"]["tasks"]))
    assert sum(name.startswith("seed 1 · ") for name in names) == 5
    assert len(names) == 8


def test_every_component_runs_in_an_image_of_its_own_stage() -> None:
    specification = yaml.safe_load((GOLDEN / "reproduction.yaml").read_text(encoding="utf-8"))
    images = {
        name.rstrip("-0123456789"): executor["container"]["image"]
        for name, executor in specification["deploymentSpec"]["executors"].items()
    }
    assert images["exec-personalize"].startswith("datum/personalization-python:")
    assert images["exec-generate"].startswith("datum/generation-python:")
    assert images["exec-adapt"].startswith("datum/adaptation-python:")
    assert images["exec-evaluate"].startswith("datum/evaluation-python:")
    assert images["exec-report"].startswith("datum/reporting-python:")
    # The images hold kfp: nothing is installed when a task starts.
    assert "pip install" not in json.dumps(specification["deploymentSpec"])


def _by_display_name(tasks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    named = {
        task["taskInfo"]["name"]: {
            **task,
            "before": {tasks[other]["taskInfo"]["name"] for other in task.get("dependentTasks", [])},
        }
        for task in tasks.values()
    }
    assert len(named) == len(tasks)
    return named


def _before(tasks: dict[str, dict[str, Any]], name: str) -> set[str]:
    return set(tasks[name]["before"])


def _constant(task: dict[str, Any], key: str) -> Any:
    return task["inputs"]["parameters"][key]["runtimeValue"]["constant"]
