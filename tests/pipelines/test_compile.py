"""The compiled pipelines: their golden files, and the shape of the DAGs."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler

from components.images import STAGES
from datum.cluster.settings import load_cluster_settings
from datum.errors import InputError
from pipelines.ablation import ablation, variants
from pipelines.baselines import baselines
from pipelines.cells import cells
from pipelines.compile import compile_all
from pipelines.form_defaults import FormDefaults
from pipelines.reproduction import reproduction
from pipelines.resources import Cluster
from pipelines.without_drawing import without_drawing

GOLDEN = Path(__file__).parent / "golden"

Tasks = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    """Display name -> task, of two seeds in three shards beside the baselines."""
    folder = tmp_path_factory.mktemp("compiled")
    return _tasks(reproduction(seeds=(4, 2), shards=3, baselines=True), folder)


def test_the_compiled_pipelines_are_the_golden_files(tmp_path: Path) -> None:
    compile_all(tmp_path, Cluster())
    for file in sorted(tmp_path.iterdir()):
        golden = GOLDEN / file.name
        assert golden.is_file() and golden.read_text(encoding="utf-8") == file.read_text(encoding="utf-8"), (
            f"{file.name} has changed; if that is meant, look at the difference and run "
            "`python -m pipelines.compile --output tests/pipelines/golden`"
        )
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in GOLDEN.iterdir()}


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.yaml")), ids=lambda file: file.stem)
def test_no_task_takes_one_artifact_under_two_names(file: Path) -> None:
    # KFP's metadata store refuses such a task, and the run fails before it begins.
    document = next(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    for task in document["root"]["dag"]["tasks"].values():
        artifacts = task.get("inputs", {}).get("artifacts", {}).values()
        taken = [json.dumps(artifact, sort_keys=True) for artifact in artifacts]
        assert len(taken) == len(set(taken)), task["taskInfo"]["name"]


def test_every_task_has_a_name_that_a_person_can_read(tasks: Tasks) -> None:
    seed = ["select one-shot image", "personalize", "generate 1/3", "generate 2/3", "generate 3/3"]
    seed += ["merge shards", "adapt", "evaluate", "source-only · adapt", "source-only · evaluate"]
    seed += ["one-image · adapt", "one-image · evaluate"]
    names = {"check parameters", "ingest source", "ingest target", "report"}
    names |= {f"seed {number} · {name}" for number in (4, 2) for name in seed}
    assert set(tasks) == names


@pytest.mark.parametrize("seed", [4, 2])
def test_a_seed_goes_from_its_photograph_to_its_scores(tasks: Tasks, seed: int) -> None:
    def before(name: str) -> set[str]:
        return _before(tasks, f"seed {seed} · {name}")

    def own(*names: str) -> set[str]:
        return {f"seed {seed} · {name}" for name in names}

    data = {"ingest source", "ingest target"}
    assert before("select one-shot image") == {"ingest target"}
    assert before("personalize") == own("select one-shot image")
    shards = ["generate 1/3", "generate 2/3", "generate 3/3"]
    for shard in shards:
        # Labeled images are drawn from label maps of the source.
        assert before(shard) == own("personalize") | {"ingest source"}
    assert before("merge shards") == own(*shards)
    assert before("adapt") == data | own("merge shards")
    assert before("source-only · adapt") == data
    assert before("one-image · adapt") == data | own("select one-shot image")
    for training in ("", "source-only · ", "one-image · "):
        assert own(f"{training}adapt") < before(f"{training}evaluate")
        assert before(f"{training}evaluate") <= own(
            f"{training}adapt", "select one-shot image", "merge shards"
        ) | {"ingest target"}


def test_the_report_waits_for_every_evaluation(tasks: Tasks) -> None:
    assert _before(tasks, "report") == {name for name in tasks if name.endswith("evaluate")}


def test_seeds_and_shards_are_constants_of_their_tasks(tasks: Tasks) -> None:
    for name, task in tasks.items():
        found = re.fullmatch(r"seed (\d) · generate (\d)/(\d)", name)
        if found:
            given = [_constant(task, key) for key in ("seed", "shard", "shards")]
            assert given == [int(number) for number in found.groups()]
    assert {_constant(task, "position") for name, task in tasks.items() if "select" in name} == {0, 1}
    for method in ("source-only", "one-image"):
        # In place of the run's own method, whose form says what else is trained.
        assert _constant(tasks[f"seed 4 · {method} · adapt"], "baseline") == method
    assert _constant(tasks["seed 4 · adapt"], "baseline") == ""


def test_without_shards_and_baselines_a_seed_is_five_tasks(tmp_path: Path) -> None:
    names = list(_tasks(reproduction(seeds=(1,)), tmp_path))
    assert sum(name.startswith("seed 1 · ") for name in names) == 5
    assert len(names) == 9


@pytest.mark.parametrize("name", ["reproduction", "training", "ingest", "ablation", "cells", "baselines"])
def test_nothing_is_moved_and_no_gpu_is_asked_for_before_the_parameters_are_checked(name: str) -> None:
    tasks = _by_display_name(_specification(name)["root"]["dag"]["tasks"])
    first = {task for task in tasks if not tasks[task]["before"]}
    assert first == {"check parameters"}


def test_the_baselines_draw_nothing_and_are_reported_side_by_side(tmp_path: Path) -> None:
    tasks = _tasks(baselines(seeds=(1, 2)), tmp_path)
    assert not any("personalize" in name or "generate" in name for name in tasks)
    shown = _constant(tasks["report"], "baselines")
    assert shown == ["source-only", "", "source-only", ""]


def test_a_training_draws_nothing_and_goes_from_the_data_to_the_scores(tmp_path: Path) -> None:
    tasks = _tasks(without_drawing(seeds=(4,), baselines=["source-only"]), tmp_path)
    assert not any("personalize" in name or "generate" in name for name in tasks)
    assert _before(tasks, "seed 4 · adapt") == {
        "ingest source",
        "ingest target",
        "seed 4 · select one-shot image",
    }
    assert _constant(tasks["seed 4 · source-only · adapt"], "baseline") == "source-only"
    assert _constant(tasks["report"], "baselines") == ["", "source-only"]


def test_the_four_cells_draw_once_a_seed_and_differ_in_what_they_train_on(tmp_path: Path) -> None:
    tasks = _tasks(cells(seeds=(4, 2)), tmp_path)
    # Label maps are cut out in full size, so the source is not to be stored smaller.
    assert _constant(tasks["ingest source"], "variant") == ["generation.labels=source"]
    for seed in (4, 2):
        drawn = f"seed {seed} · generate 1/1"
        assert _constant(tasks[drawn], "variant") == ["generation.labels=source"]
        assert "ingest source" in _before(tasks, drawn)
        found = {}
        for cell in ("", " · unlabeled drawings", " · labeled drawings", " · source-only"):
            task = tasks[f"seed {seed}{cell} · adapt"]
            labeled = "labeled" in task["inputs"]["parameters"] and _constant(task, "labeled")
            found[cell] = (set(task["inputs"].get("artifacts", {})), labeled, _constant(task, "baseline"))
        assert found == {
            "": ({"generated"}, True, ""),
            " · unlabeled drawings": ({"generated"}, False, ""),
            " · labeled drawings": ({"generated"}, True, "source-only"),
            " · source-only": (set(), False, "source-only"),
        }
        upper = tasks[f"seed {seed} · all target images · adapt"]
        assert _constant(upper, "baseline") == "all target images"
        assert _constant(tasks[f"seed {seed} · one-image · adapt"], "baseline") == "one-image"
    others = ["unlabeled drawings", "labeled drawings", "source-only", "one-image", "all target images"]
    assert _constant(tasks["report"], "baselines") == 2 * ["", *others]


@pytest.mark.parametrize("profile", ["paper", "demo"])
def test_each_variant_of_the_ablation_changes_one_setting_and_draws_from_the_same_model(
    profile: Any, tmp_path: Path
) -> None:
    tasks = _tasks(ablation(profile=profile, shards=2), tmp_path)
    changes = variants(profile)
    assert {name.partition(" ")[2] for name in changes} == {"steps", "images", "prompt"}
    assert sum("personalize" in name for name in tasks) == 1
    for name, change in changes.items():
        for shard in ("1/2", "2/2"):
            assert _constant(tasks[f"{name} · generate {shard}"], "variant") == [change]
            assert _before(tasks, f"{name} · generate {shard}") == {"seed 1 · personalize", "ingest source"}
        assert f"{name} · merge shards" in _before(tasks, f"{name} · adapt")
    assert _constant(tasks["seed 1 · generate 1/2"], "variant") == []
    assert _constant(tasks["check parameters"], "variants") == list(changes.values())
    assert _constant(tasks["report"], "baselines") == ["", *changes]


def test_the_paper_s_ablation_covers_every_checkpoint_that_datum_saves() -> None:
    steps = {name for name in variants("paper") if name.endswith("steps")}
    assert steps == {"400 steps", "600 steps", "800 steps", "1000 steps"}


def test_nothing_is_installed_when_a_task_starts() -> None:
    for file in GOLDEN.iterdir():
        specification = next(yaml.safe_load_all(file.read_text(encoding="utf-8")))
        assert "pip install" not in json.dumps(specification["deploymentSpec"])


def test_the_command_compiles_with_recorded_images_and_refuses_a_file_that_names_too_few(
    tmp_path: Path,
) -> None:
    def run(images: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        (tmp_path / "images.json").write_text(json.dumps(images))
        return subprocess.run(
            [
                *(sys.executable, "-m", "pipelines.compile", "--output", str(tmp_path / "out")),
                *("--images", str(tmp_path / "images.json"), "--profile", "demo", "--data-volume", "gta"),
            ],
            capture_output=True,
            text=True,
        )

    few = run({"reporting": "x@sha256:1"})
    assert few.returncode == 2 and "names no image of personalization" in few.stderr
    assert run({stage: f"r/{stage}@sha256:{'0' * 64}" for stage in STAGES}).returncode == 0
    text = (tmp_path / "out" / "reproduction.yaml").read_text(encoding="utf-8")
    specification, platform = yaml.safe_load_all(text)
    form = specification["root"]["inputDefinitions"]["parameters"]
    assert form["run_installation"]["defaultValue"]["profile"] == "demo"
    adapt = specification["deploymentSpec"]["executors"]["exec-adapt"]["container"]
    assert adapt["image"] == f"r/adaptation@sha256:{'0' * 64}" and "accelerator" not in adapt["resources"]
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors["exec-adapt"]["pvcMount"][0]["mountPath"] == "/data"


def test_the_form_is_filled_with_what_the_installation_says(tmp_path: Path) -> None:
    settings = load_cluster_settings(None, ["state=s3://b/state", "store_secret=mine", "source=s3://b/gta"])
    compile_all(tmp_path, Cluster(form=settings))
    for file in tmp_path.iterdir():
        text = file.read_text(encoding="utf-8")
        form = next(yaml.safe_load_all(text))["root"]["inputDefinitions"]["parameters"]
        assert form["data_source"]["defaultValue"] == "s3://b/gta"
        assert form["run_installation"]["defaultValue"]["state"] == "s3://b/state"
        assert "secretName: mine" in text and "mlpipeline-minio-artifact" not in text


@pytest.mark.parametrize("name", ["reproduction", "training", "ingest", "ablation", "cells", "baselines"])
def test_the_form_is_at_most_twelve_fields_that_the_alphabet_groups(name: str) -> None:
    specification = _specification(name)
    form = list(specification["root"]["inputDefinitions"]["parameters"])
    assert len(form) <= 12 and form == sorted(form)
    # As the UI shows them: what the run is of, how it is done, what is particular about it.
    groups = [field.partition("_")[0] for field in form]
    assert list(dict.fromkeys(groups)) in (["data", "method", "run"], ["data", "run"])
    described = specification["pipelineInfo"]["description"]
    # As code: outside of it, Markdown takes the underscores of a name for emphasis.
    assert [line.split("|")[1].strip() for line in described.splitlines()[4:-2]] == [f"`{it}`" for it in form]


def test_compiling_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    # `datum upload` makes a new version of what differs; a dict's order in kfp's comments depends on a seed.
    code = "import sys; from pathlib import Path; from kfp import compiler\n"
    code += "from pipelines.compile import compile_pipeline; from pipelines.ingest import ingest\n"
    code += "from pipelines.resources import Cluster\n"
    code += "compile_pipeline(ingest(cluster=Cluster()), Path(sys.argv[1]))"
    files = [tmp_path / f"{seed}.yaml" for seed in range(3)]
    for seed, file in enumerate(files):
        subprocess.run(
            [sys.executable, "-c", code, str(file)],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            check=True,
        )
    assert len({file.read_bytes() for file in files}) == 1


def test_the_seeds_of_the_installation_are_compiled_in(tmp_path: Path) -> None:
    form = FormDefaults(profile="demo", gpu_count=0, seeds=(7, 4))
    compile_all(tmp_path, Cluster(form=form))
    for name, seeds in {"reproduction": {"7", "4"}, "baselines": {"7", "4"}, "ablation": {"7"}}.items():
        found = re.findall(r'name: "?seed (\d+) ', (tmp_path / f"{name}.yaml").read_text(encoding="utf-8"))
        assert set(found) == seeds
    with pytest.raises(InputError, match=r"seeds: found \[1, 1\], expected one or more different"):
        compile_all(tmp_path, Cluster(form=FormDefaults(seeds=(1, 1))))


@pytest.mark.parametrize("count, shards", [(2, 4), (7, 1)])
def test_any_number_of_seeds_is_compiled_and_all_their_runs_are_reported(
    count: int, shards: int, tmp_path: Path
) -> None:
    compile_all(tmp_path, Cluster(form=FormDefaults(seeds=tuple(range(count)))))
    for name, methods in {"reproduction": 1, "training": 1, "baselines": 2}.items():
        specification = next(yaml.safe_load_all((tmp_path / f"{name}.yaml").read_text(encoding="utf-8")))
        tasks = _by_display_name(specification["root"]["dag"]["tasks"])
        runs = [key for key in tasks["report"]["inputs"]["artifacts"] if key.startswith("run_")]
        assert len(runs) == len(_constant(tasks["report"], "baselines")) == count * methods
        drawing = [task for task in tasks if re.match(r"seed 0 .* generate", task)]
        assert len(drawing) == (shards if name == "reproduction" else 0)


def test_for_kfp_2_15_no_task_sets_what_that_refuses(tmp_path: Path) -> None:
    compile_all(tmp_path, Cluster(sets_run_as_non_root=False))
    assert not any("runAsNonRoot" in file.read_text(encoding="utf-8") for file in tmp_path.iterdir())


def _tasks(pipeline: Any, folder: Path) -> Tasks:
    compiler.Compiler().compile(pipeline, str(folder / "pipeline.yaml"))
    specification = next(yaml.safe_load_all((folder / "pipeline.yaml").read_text(encoding="utf-8")))
    return _by_display_name(specification["root"]["dag"]["tasks"])


def _specification(name: str) -> dict[str, Any]:
    specification = next(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")))
    assert isinstance(specification, dict)
    return specification


def _by_display_name(tasks: Tasks) -> Tasks:
    named = {
        task["taskInfo"]["name"]: {
            **task,
            "before": {tasks[other]["taskInfo"]["name"] for other in task.get("dependentTasks", [])},
        }
        for task in tasks.values()
    }
    assert len(named) == len(tasks)
    return named


def _before(tasks: Tasks, name: str) -> set[str]:
    return set(tasks[name]["before"])


def _constant(task: dict[str, Any], key: str) -> Any:
    return task["inputs"]["parameters"][key]["runtimeValue"]["constant"]
