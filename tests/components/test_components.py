"""The components' bodies, called as kfp's executor calls them: numbers in lists are floats, outputs are artifacts."""  # noqa: E501

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kfp import dsl
from PIL import Image

from components.adaptation.component import adapt
from components.datasets.component import ingest_source, ingest_target, select_one_shot
from components.evaluation.component import evaluate
from components.generation.component import generate, merge_shards
from components.images import IMAGES, STAGES
from components.installation import on_one_machine
from components.personalization.component import personalize
from components.reporting.component import report, report_on
from components.task import RUN_ID, located
from components.webhook import WEBHOOK
from datum.diffusion.base_model import base_model_path
from datum.formats.generated import write_manifest
from datum.formats.history import read_history
from datum.layouts import TRAIN_IMAGES
from datum.methods import ONE_SHOT_PROTOCOLS
from datum.outputs import sha256
from datum.reporting.report import report as report_runs
from datum.store import FolderStore
from tests.components.webhook_server import Webhook
from tests.formats.test_labeled import drawing

OVERRIDES = [
    "datasets.height=64",
    "datasets.width=64",
    "datasets.source_scenes=4",
    "datasets.target_train_scenes=3",
    "datasets.target_val_scenes=2",
    "generation.size=64",
    "generation.count=4",
    "generation.batch_size=2",
    "generation.inference_steps=1",
    "adaptation.iterations=1",
    "adaptation.crop=64",
    "adaptation.source_scale=[64, 64]",
    "adaptation.target_scale=[64, 64]",
    "adaptation.head_channels=16",
    "evaluation.scale=[64, 64]",
]
BENCHMARK = "gta-to-cityscapes"
IMAGE = "registry.example.org/datum@sha256:01"
INSTALLATION = on_one_machine("demo")


class Chain:
    """Calls components one after the other, each artifact at a path of its own outside the workspace."""

    def __init__(self, root: Path) -> None:
        self.workspace, self._artifacts, self._count = root / "workspace", root / "artifacts", 0
        self.settings = {
            "workspace": str(self.workspace),
            "installation": INSTALLATION,
            "overrides": OVERRIDES,
        }
        self.training = {
            **self.settings,
            "image": IMAGE,
            "benchmark": BENCHMARK,
            "encoder": "mit-b0",
            "baseline": "",
            "seed": 5,
        }

    def artifact(self, name: str, kind: type = dsl.Artifact) -> Any:
        self._count += 1
        return kind(name=name, uri=str(self._artifacts / str(self._count) / name))

    def seed_run(
        self, name: str, method: str, one_shot: Any, images: dict[str, Any], *, seed: int = 5
    ) -> Any:
        """The run folder of one training and the metrics that were logged of it."""
        segmentor = self.artifact(f"{name}/segmentor", dsl.Model)
        shared = {**self.training, "method": method, "run_name": name, "seed": seed}
        adapt.python_func(
            source=str(self.workspace / "datasets" / "source"),
            validation=str(self.workspace / "datasets" / "target"),
            pretrained_encoder="",
            segmentor=segmentor,
            resume_from="",
            gpu_count=0,
            **shared,
            **images,
        )
        run, metrics = self.artifact(f"{name}/run"), self.artifact(f"{name}/metrics", dsl.Metrics)
        evaluate.python_func(
            segmentor=segmentor,
            dataset=str(self.workspace / "datasets" / "target"),
            source="",
            title="",
            metrics=metrics,
            run=run,
            **shared,
            one_shot=one_shot,
            generated=images.get("generated"),
        )
        return run, metrics


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Both data sets, drawn."""
    chain = Chain(tmp_path_factory.mktemp("chain"))
    shared = {"root": "", **chain.settings}
    source = ingest_source.python_func(benchmark=BENCHMARK, method="daformer", variant=[], **shared)
    target = ingest_target.python_func(**shared)
    assert (source, target) == tuple(
        str(chain.workspace / "datasets" / name) for name in ("source", "target")
    )
    return chain


@pytest.fixture(scope="module")
def one_shot(chain: Chain) -> Any:
    return select(chain, 0)


def select(chain: Chain, position: int) -> Any:
    artifact = chain.artifact(f"one_shot_{position}")
    select_one_shot.python_func(
        target=str(chain.workspace / "datasets" / "target"),
        seeds=[5.0, 6.0],
        position=position,
        named=[],
        workspace=str(chain.workspace),
        one_shot=artifact,
        installation=INSTALLATION,
    )
    return artifact


@pytest.fixture(scope="module")
def generated(chain: Chain) -> Any:
    """The images of two shards, merged."""
    model = dsl.Model(name="personalized", uri=base_model_path("streetscenes"))
    shards = [chain.artifact(f"shard_{number}", dsl.Dataset) for number in (1, 2)]
    for number, shard in enumerate(shards, start=1):
        generate.python_func(
            image=IMAGE,
            personalized=model,
            source=str(chain.workspace / "datasets" / "source"),
            seed=5,
            shard=number,
            shards=2,
            variant=[],
            run_name="seed-5",
            generated=shard,
            resume_from="",
            **chain.settings,
        )
    merged = chain.artifact("generated", dsl.Dataset)
    merge_shards.python_func(
        image=IMAGE,
        shard_1=shards[0],
        shard_2=shards[1],
        run_name="seed-5",
        workspace=str(chain.workspace),
        generated=merged,
    )
    return merged


@pytest.fixture(scope="module")
def run(chain: Chain, one_shot: Any, generated: Any) -> Any:
    images = {"generated": generated, "labeled": True}
    return chain.seed_run("seed-5", "daformer", one_shot, images)


def reported(
    folder: Path,
    runs: dict[str, Any],
    *,
    workspace: str,
    metrics: Any = None,
    confusion: Any = None,
    **places: str,
) -> tuple[Path, Path, Path]:
    """Page, summary and median checkpoint of `runs`: the baseline that each is, or nothing -> its folder."""
    page, summary, median = (dsl.Artifact(uri=str(folder / name)) for name in ("page", "json", "median"))
    report.python_func(
        image=IMAGE,
        baselines=list(runs),
        workspace=workspace,
        resume_from="",
        installation={**INSTALLATION, **places},
        page=page,
        summary=summary,
        median_checkpoint=median,
        text=dsl.Artifact(uri=str(folder / "text")),
        metrics=metrics or dsl.Metrics(),
        confusion=confusion or dsl.ClassificationMetrics(),
        **{f"run_{number}": run for number, run in enumerate(runs.values(), start=1)},
    )
    return located(page.path), located(summary.path), located(median.path)


def test_a_report_on_more_runs_than_its_source_has_inputs_for_takes_them_in_order() -> None:
    assert list(report_on(3).component_spec.inputs) == list(report.component_spec.inputs)
    component = report_on(14)
    assert {
        "run_13",
        "run_14",
    } == component.component_spec.inputs.keys() - report.component_spec.inputs.keys()
    # As kfp's executor does with what a task's container is given.
    source = component.component_spec.implementation.container.command[-1]
    names = [name for name in inspect.signature(_function(source)).parameters if name.startswith("run_")]
    assert names == [f"run_{number}" for number in range(1, 15)]


def _function(source: str) -> Any:
    module: dict[str, Any] = {}
    exec(source, module)
    return module["report"]


def test_every_stage_has_an_image_with_a_fixed_version() -> None:
    assert set(IMAGES) == set(STAGES)
    for component in (personalize, generate, adapt, evaluate, report, ingest_source, merge_shards):
        image = component.component_spec.implementation.container.image
        assert image in IMAGES.values() and not image.endswith(":latest")


def test_every_seed_gets_a_photograph_of_its_own(chain: Chain, one_shot: Any) -> None:
    assert sha256(located(one_shot.path)) != sha256(located(select(chain, 1).path))
    assert located(one_shot.path).resolve() == chain.workspace / "seed-5" / "one_shot.png"


def test_each_seed_trains_on_its_own_published_image_of_a_protocol(chain: Chain, tmp_path: Path) -> None:
    published, runs = ONE_SHOT_PROTOCOLS["sm-ppm"].images, []
    for seed, name in enumerate(published, start=1):
        file = tmp_path / TRAIN_IMAGES / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((64, 64, 3), 40 * seed, np.uint8)).save(file)
    for seed, name in enumerate(published, start=1):
        image = chain.artifact(f"published_{seed}")
        select_one_shot.python_func(
            target=str(tmp_path),
            seeds=[1.0, 2.0, 3.0, 4.0, 5.0],
            position=seed - 1,
            named=["sm-ppm"],
            workspace=str(chain.workspace / "sm-ppm"),
            one_shot=image,
            installation=INSTALLATION,
        )
        assert sha256(located(image.path)) == sha256(tmp_path / TRAIN_IMAGES / name)
        run, _ = chain.seed_run(f"sm-ppm/seed-{seed}", "one-image", image, {"one_shot": image}, seed=seed)
        runs.append(located(run.path))
    report_runs(runs=runs, output=tmp_path / "report")
    (method,) = json.loads((tmp_path / "report" / "report.json").read_text())["methods"]
    assert [seed["seed"] for seed in method["seeds"]] == [1, 2, 3, 4, 5]


def test_shards_are_merged_where_an_undivided_generation_would_lie(chain: Chain, generated: Any) -> None:
    assert located(generated.path).resolve() == chain.workspace / "seed-5" / "generated"
    lines = (located(generated.path) / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 1, 2, 3]


def test_the_scores_are_logged_and_the_run_holds_what_the_report_reads(chain: Chain, run: Any) -> None:
    folder, metrics = run
    assert set(metrics.metadata) == {"miou_best", "miou_last"}
    assert located(folder.path).resolve() == chain.workspace / "seed-5"
    about = json.loads((located(folder.path) / "run.json").read_text())
    assert (about["seed"], about["method"], about["data"]) == (5, "daformer", "Drawn street scenes")
    names = {path.name for path in located(folder.path).iterdir()}
    assert {"one_shot.png", "generated", "segmentor", "evaluation", "evaluation_last"} <= names


@pytest.mark.parametrize("method", ["source-only", "one-image"])
def test_baselines_train_without_generated_images_and_are_reported_beside(
    method: str, chain: Chain, one_shot: Any, run: Any, tmp_path: Path
) -> None:
    images = {"one_shot": one_shot} if method == "one-image" else {}
    baseline, _ = chain.seed_run(f"{method}/seed-5", method, one_shot, images)
    provenance = json.loads((located(baseline.path) / "segmentor" / "provenance.json").read_text())
    assert provenance["method"] == method
    assert provenance["image"] == IMAGE
    assert ("target" in provenance["inputs"]) == (method == "one-image")
    workspace = str(chain.workspace / f"beside-{method}")
    page, summary, median = reported(tmp_path, {"": run[0], method: baseline}, workspace=workspace)
    assert method in page.read_text(encoding="utf-8")
    assert json.loads(summary.read_text())
    assert (median / "metrics.json").is_file()


def test_a_training_sees_labeled_drawings_where_it_is_given_some_and_the_report_says_so(
    chain: Chain, one_shot: Any, generated: Any, run: Any, tmp_path: Path
) -> None:
    drawn = chain.artifact("drawn", dsl.Dataset)
    shutil.copytree(located(generated.path), drawn.path)
    folder = Path(drawn.path) / "labeled"
    write_manifest(folder, [drawing(folder, 0), drawing(folder, 1, train_id=11)], [])
    cells = {"labeled": ("source-only", {"generated": drawn, "labeled": True})}
    cells["both"] = ("daformer", {"generated": drawn, "labeled": True})
    runs = {}
    for name, (method, images) in cells.items():
        runs[name], _ = chain.seed_run(f"{name}/seed-5", method, one_shot, images)
        record = json.loads((located(runs[name].path) / "segmentor" / "provenance.json").read_text())
        assert record["inputs"]["labeled"] and ("target" in record["inputs"]) == (name == "both")
        about = json.loads((located(runs[name].path) / "run.json").read_text())
        assert about["labels"] == "source"
    # Drawn images without labeled ones among them are an input too.
    assert "labels" not in json.loads((located(run[0].path) / "run.json").read_text())
    shown = {"": runs["both"], "labeled": runs["labeled"], "unlabeled": run[0]}
    _, summary, _ = reported(tmp_path, shown, workspace=str(tmp_path / "workspace"))
    methods = json.loads(summary.read_text())["methods"]
    assert [method["name"] for method in methods] == [
        "DATUM + DAFormer, labeled drawings",
        "labeled",
        "unlabeled",
    ]


def test_the_baselines_are_reported_without_a_method_that_draws(
    chain: Chain, one_shot: Any, tmp_path: Path
) -> None:
    shown, _ = chain.seed_run("one-image/seed-5", "one-image", one_shot, {"one_shot": one_shot})
    beside, _ = chain.seed_run("source-only/seed-5", "source-only", one_shot, {})
    runs = {"source-only": beside, "": shown}
    page, summary, _ = reported(tmp_path, runs, workspace=str(tmp_path / "workspace"))
    methods = json.loads(summary.read_text())["methods"]
    assert [method["name"] for method in methods] == ["one-image", "source-only"]
    text = page.read_text(encoding="utf-8")
    assert "one-shot image" in text and "generated images" not in text


def test_the_variants_of_an_ablation_are_reported_beside_the_profile_s_own_settings(
    chain: Chain, run: Any, one_shot: Any, generated: Any, tmp_path: Path
) -> None:
    variant, _ = chain.seed_run("4-steps/seed-5", "daformer", one_shot, {"generated": generated})
    runs = {"": run[0], "4 steps": variant}
    _, summary, _ = reported(tmp_path, runs, workspace=str(tmp_path / "workspace"))
    methods = json.loads(summary.read_text())["methods"]
    assert [method["name"] for method in methods] == ["DATUM + DAFormer", "4 steps"]


@pytest.mark.parametrize("keep_state", ["on-failure", "always"])
def test_on_a_cluster_the_report_is_published_by_run_id_and_the_runs_state_goes_or_stays_as_set(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_state: str, webhook: Webhook
) -> None:
    monkeypatch.setenv(RUN_ID, "run-7")
    monkeypatch.setenv(WEBHOOK, webhook.url)
    for run_id in ("run-6", "run-7"):
        FolderStore(tmp_path / "state" / run_id).write_bytes("adapt-1/state.pt", b"weights")
    page, summary, median = reported(
        tmp_path,
        {"": run[0]},
        workspace="",
        reports=f"file://{tmp_path / 'reports'}",
        state=f"file://{tmp_path / 'state'}",
        keep_state=keep_state,
    )
    assert not any(artifact.is_symlink() for artifact in (page, summary, median))
    checkpoint = next(median.glob("*.safetensors"))
    assert checkpoint.is_file() and not checkpoint.is_symlink()
    published = tmp_path / "reports" / "run-7"
    assert (published / "report.json").read_bytes() == summary.read_bytes()
    assert (published / "median_checkpoint" / checkpoint.name).read_bytes() == checkpoint.read_bytes()
    kept = ["run-6/adapt-1/state.pt"] + ["run-7/adapt-1/state.pt"] * (keep_state == "always")
    assert FolderStore(tmp_path / "state").list() == kept
    (message,) = webhook.told
    figures = json.loads(summary.read_text())
    assert message["report"] == f"file://{published}" and "(median seed 5)" in message["text"]
    assert message["miou"] == figures["methods"][0]["median"] and message["drifted"] is False
    (remembered,) = read_history(FolderStore(tmp_path / "reports" / "history"), "history")
    assert (remembered.run, remembered.report) == ("run-7", f"file://{published}")
    assert {"adaptation.iterations", "generation.count"} <= remembered.settings.keys()


def test_a_component_with_bad_input_ends_with_status_2_and_one_line(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        personalize.python_func(
            image=IMAGE,
            one_shot=dsl.Artifact(uri=str(tmp_path / "missing.png")),
            seed=5,
            base_model="",
            personalized=dsl.Model(uri=str(tmp_path / "personalized")),
            resume_from="",
            **chain.settings,
        )
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "missing.png: no such file" in line
