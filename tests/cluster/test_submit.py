"""`datum submit` starts runs, on a server that speaks KFP's API."""

from pathlib import Path

import pytest

from datum.cluster.run_arguments import pipeline_spec
from datum.cluster.settings import ClusterSettings
from tests.cluster.conftest import Cluster
from tests.cluster.one_run import only_run


def test_a_run_is_filled_from_the_settings(uploaded: Cluster, tmp_path: Path) -> None:
    settings = tmp_path / "settings.env"
    settings.write_text(
        "SOURCE=s3://data/gta\nTARGET=s3://data/cityscapes\nPIPELINE_ROOT=minio://b/root\n"
        "STATE=s3://data/state\nEXPERIMENT=lab\nSERVICE_ACCOUNT=runner\n"
    )
    ended = uploaded.datum("submit", "--settings", str(settings), "--name", "first")
    assert ended.status == 0
    run = only_run(uploaded.api)
    assert ended.out == f"{run.run_id}  {uploaded.url}/#/runs/details/{run.run_id}\n"
    assert (run.display_name, run.service_account) == ("first", "runner")
    (experiment,) = uploaded.api.experiments.values()
    assert (experiment.display_name, run.experiment_id) == ("lab", experiment.experiment_id)
    assert run.runtime_config.pipeline_root == "minio://b/root"
    given = run.runtime_config.parameters
    assert (given["data_source"], given["data_target"]) == ("s3://data/gta", "s3://data/cityscapes")
    assert given["run_installation"]["state"] == "s3://data/state"
    assert "namespace" not in given and "schedule" not in given


@pytest.mark.parametrize("name", ["reproduction", "training", "ingest", "ablation", "cells", "baselines"])
def test_every_pipeline_can_be_submitted(uploaded: Cluster, name: str) -> None:
    assert uploaded.datum("submit", name).status == 0
    run = only_run(uploaded.api)
    version = uploaded.api.versions[run.pipeline_version_reference.pipeline_version_id]
    assert pipeline_spec(version.pipeline_spec)["pipelineInfo"]["name"] == f"datum-{name}"
    assert run.display_name.startswith(f"{name} 20")


@pytest.mark.parametrize(
    "name, pipeline",
    [("daformer-gta-mit-b5", "reproduction"), ("daformer-synthia-mit-b5-uda", "training")],
)
def test_an_experiment_is_submitted_to_the_pipeline_that_makes_what_it_trains_on(
    uploaded: Cluster, name: str, pipeline: str
) -> None:
    ended = uploaded.datum("submit", "--experiment", name, "--param", "method_encoder=mit-b0")
    assert ended.status == 0
    run = only_run(uploaded.api)
    version = uploaded.api.versions[run.pipeline_version_reference.pipeline_version_id]
    assert pipeline_spec(version.pipeline_spec)["pipelineInfo"]["name"] == f"datum-{pipeline}"
    given = run.runtime_config.parameters
    assert (given["method"], given["method_encoder"]) == (name, "mit-b0")
    unknown = uploaded.datum("submit", "--experiment", "daformer-gta-mit-b6")
    assert unknown.status == 2 and "did you mean daformer-gta-mit-b5?" in unknown.err


def test_parameters_are_read_by_their_types(uploaded: Cluster) -> None:
    ended = uploaded.datum(
        "submit",
        *("--param", 'run_overrides=["adaptation.iterations=10"]'),
        *("--param", 'run_installation={"state": "s3://b/state"}'),
        *("--param", "data_title=a = b"),
        *("--param", "data_source="),
    )
    assert ended.status == 0
    given = only_run(uploaded.api).runtime_config.parameters
    assert given["run_overrides"] == ["adaptation.iterations=10"]
    # Key by key: the others are the settings'.
    installation = {**ClusterSettings().as_json(), "state": "s3://b/state"}
    assert given["run_installation"] == installation
    assert (given["data_title"], given["data_source"]) == ("a = b", "")


@pytest.mark.parametrize(
    "text, said",
    [
        ("data_titel=x", "no parameter data_titel; did you mean data_title?"),
        ("xyzzy=x", "no parameter xyzzy; it has data_benchmark, data_one_shots"),
        ("state=s3://b", """it is a key of one: --param 'run_installation={"state": "s3://b"}'"""),
        ("gpu_count=0", "it is compiled in: datum upload --set gpu_count=0"),
        ("encoder_weights=random", "did you mean method_encoder_weights?"),
        ("data_title", "found no =, expected NAME=VALUE"),
        ("run_overrides=a", "found 'a', expected a JSON list"),
        ('run_overrides={"a": 1}', "expected a JSON list"),
        ("run_installation=[]", "expected a JSON object"),
    ],
)
def test_a_wrong_parameter_starts_nothing(uploaded: Cluster, text: str, said: str) -> None:
    ended = uploaded.datum("submit", "--param", text)
    assert ended.status == 2
    assert ended.err.startswith(f"datum: --param {text}: ") and said in ended.err
    assert uploaded.api.posts() == []


@pytest.mark.parametrize(
    "text, said",
    [
        ("published", ""),
        ("https://server/mit_b5.pth", ""),
        ("hf://nvidia/mit-b5", ""),
        ("ftp://server/mit_b5.pth", "unknown scheme, expected a .pth or .safetensors file, an s3:// URI"),
    ],
)
def test_weights_are_named_on_a_cluster_as_on_one_machine(uploaded: Cluster, text: str, said: str) -> None:
    ended = uploaded.datum("submit", "--param", f"method_encoder_weights={text}")
    assert ended.status == (2 if said else 0) and said in ended.err


def test_a_training_that_nobody_gives_weights_is_refused_before_it_starts(uploaded: Cluster) -> None:
    unnamed = ("--param", "method_encoder_weights=")
    ended = uploaded.datum("submit", *unnamed)
    assert ended.status == 2
    assert "set ENCODER_WEIGHTS in settings.env to their s3:// URI" in ended.err
    assert uploaded.datum("schedule", "weekly", *unnamed).status == 2
    assert uploaded.api.posts() == []
    for without in (
        'run_installation={"profile": "demo"}',
        'run_overrides=["adaptation.pretrained_encoder=a"]',
        # A training that starts from a trained network needs no others, nor does one that names its own.
        'run_overrides=["adaptation.initial_segmentor=s3://models/latest.pth"]',
        "method=daformer-gta-mit-b5",
    ):
        assert uploaded.datum("submit", *unnamed, "--param", without).status == 0
    assert uploaded.datum("submit", "ingest").status == 0


def test_without_settings_nothing_is_changed_and_what_looks_says_so(
    uploaded: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "manifests" / "overlays" / "default" / "settings.env"
    monkeypatch.chdir(tmp_path / "manifests")
    for command in (("submit",), ("upload",), ("schedule", "weekly")):
        ended = uploaded.datum(*command)
        assert ended.status == 2 and "run this in the checkout" in ended.err and not uploaded.api.posts()
    ended = uploaded.datum("runs")
    assert ended.status == 0 and "settings: built in, since there is no manifests/" in ended.err
    ended = uploaded.datum("runs", "absent")
    assert ended.status == 2 and len(ended.err.splitlines()) == 1 and "settings: built in" in ended.err
    assert uploaded.datum("submit", "--settings", str(file)).status == 0
    monkeypatch.chdir(tmp_path)
    assert "settings:" not in uploaded.datum("runs").err


@pytest.mark.parametrize(
    "text, said",
    [
        ("method=dafomer", "datum: the run's fields: run.method: found 'dafomer'"),
        ('run_overrides=["generation.cuont=16"]', "datum: the run's fields: generation.cuont=16: "),
    ],
)
def test_a_wrong_field_is_not_answered_with_an_option_that_nobody_gave(
    uploaded: Cluster, text: str, said: str
) -> None:
    ended = uploaded.datum("submit", "--param", text)
    assert ended.status == 2 and ended.err.startswith(said) and not uploaded.api.posts()


def test_a_mistyped_option_is_answered_by_its_own_command(uploaded: Cluster) -> None:
    ended = uploaded.datum("submit", "--wiat")
    assert (ended.status, ended.err) == (
        2,
        "datum submit: unrecognized arguments: --wiat; did you mean --wait?; see datum submit --help\n",
    )


def test_a_pipeline_that_does_not_make_what_is_trained_on_is_refused_before_it_starts(
    uploaded: Cluster,
) -> None:
    daformer = ("--param", "method=daformer")
    ended = uploaded.datum("submit", "training", *daformer)
    assert ended.status == 2 and uploaded.api.posts() == []
    assert "choose method=source-only or method=one-image" in ended.err
    on_all = ("--param", 'run_overrides=["run.target_images=all"]')
    ended = uploaded.datum("submit", *on_all)
    assert ended.status == 2 and "start the pipeline training" in ended.err
    for works in ((), (*daformer, *on_all), ("--param", "method=one-image")):
        assert uploaded.datum("submit", "training", *works).status == 0
    assert len(uploaded.api.runs) == 3


@pytest.mark.parametrize(
    "text, said",
    [
        (
            'run_installation={"stat": "s3://b"}',
            "found the key 'stat'; did you mean state?",
        ),
        ('run_installation={"state": 1}', "run_installation: found state=1, expected a text"),
        ('run_installation={"profile": "huge"}', "found profile='huge', expected demo or paper"),
        ("data_title={{workflow.name}}", "data_title: found '{{workflow.name}}', where Argo takes {{"),
        ('run_overrides=["a={{=1}}"]', "run_overrides: found 'a={{=1}}', where Argo takes {{"),
        ('run_installation={"state": "s3://{{x}}"}', "run_installation: found 's3://{{x}}', where Argo"),
    ],
)
@pytest.mark.parametrize("command", [("submit",), ("schedule", "weekly")])
def test_what_no_task_could_take_starts_nothing(
    uploaded: Cluster, command: tuple[str, ...], text: str, said: str
) -> None:
    ended = uploaded.datum(*command, "--param", text)
    assert ended.status == 2 and said in ended.err and len(ended.err.splitlines()) == 1
    assert uploaded.api.posts() == []


def test_settings_that_need_an_upload_first_are_said(uploaded: Cluster) -> None:
    ended = uploaded.datum("submit", "--set", "gpu_count=0", "--set", "source=s3://b/gta")
    assert ended.status == 0
    said = "gpu_count: 1 is compiled in, the settings say 0; `datum upload` changes it"
    assert [line for line in ended.err.splitlines() if "compiled in" in line] == [said]


@pytest.mark.parametrize("command", [("submit",), ("schedule", "weekly")])
def test_seeds_that_are_not_compiled_in_start_nothing(uploaded: Cluster, command: tuple[str, ...]) -> None:
    ended = uploaded.datum(*command, "--set", "seeds=[2]")
    assert ended.status == 2 and len(ended.err.splitlines()) == 1
    assert "seeds: [1, 2, 3] is compiled in, the settings say [2]; `datum upload` changes it" in ended.err
    assert uploaded.api.posts() == []


def test_without_an_upload_it_says_so(cluster: Cluster) -> None:
    ended = cluster.datum("submit")
    assert ended.status == 2 and "`make deploy` uploads it" in ended.err
    assert cluster.api.posts() == []


def test_without_the_cache_no_task_takes_an_earlier_result(uploaded: Cluster) -> None:
    version = next(v for v in uploaded.api.versions.values() if "report" in str(v.pipeline_spec))
    assert "enableCache" in str(version.pipeline_spec)
    assert uploaded.datum("submit", "--no-cache").status == 0
    run = only_run(uploaded.api)
    assert run.pipeline_version_reference is None
    assert "enableCache" not in str(run.pipeline_spec) and "platform_spec" in run.pipeline_spec


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["drop", "stall", 500, 503])
def test_a_failing_network_never_makes_two_runs(uploaded: Cluster, kind: int | str) -> None:
    uploaded.api.fail("POST .*/runs$", kind, seconds=1.0)
    ended = uploaded.datum("submit", "--name", "once")
    assert ended.status == 0
    assert ended.out.startswith(only_run(uploaded.api).run_id)


def test_a_run_of_the_same_name_is_another_run(uploaded: Cluster) -> None:
    uploaded.datum("submit", "--name", "twin")
    uploaded.api.fail("POST .*/runs$", "drop")
    ended = uploaded.datum("submit", "--name", "twin")
    _, second = uploaded.api.runs.values()
    assert ended.status == 0 and ended.out.startswith(second.run_id)


def test_a_request_that_may_still_arrive_is_not_repeated(uploaded: Cluster) -> None:
    uploaded.api.fail("POST .*/runs$", "lose")
    ended = uploaded.datum("submit", "--name", "lost")
    assert ended.status == 2
    assert "whether the run 'lost' was started is unknown: look with `datum runs`" in ended.err
    assert sum(line.endswith("/runs") for line in uploaded.api.posts()) == 1
