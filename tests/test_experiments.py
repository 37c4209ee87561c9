"""The published experiments by name."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from datum.config import PROFILES, load_settings
from datum.errors import InputError
from datum.experiments import ALL_IMAGES, EXPERIMENTS, experiment_of, run_settings
from datum.experiments_table import with_table
from datum.methods import METHODS


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_gives_settings_that_go_together(profile: str, name: str) -> None:
    experiment = EXPERIMENTS[name]
    run = run_settings(profile, method=name, overrides=[]).run
    assert (run.benchmark, run.encoder) == (experiment.benchmark, experiment.encoder)
    assert (run.method, run.target_images) == (experiment.method, experiment.target_images)
    assert METHODS[run.method].target in (None, run.target_images)
    assert (run.target_images == "none") == (METHODS[run.method].target == "none")


def test_an_experiment_changes_training_and_testing_alone() -> None:
    """Tasks that personalize and draw read the overrides without it."""
    for name in EXPERIMENTS:
        found, plain = run_settings("paper", method=name, overrides=[]), load_settings("paper")
        for stage in ("datasets", "personalization", "generation"):
            assert getattr(found, stage) == getattr(plain, stage)


def test_the_names_tell_apart_what_they_train() -> None:
    trained = [tuple(experiment.settings()) for experiment in EXPERIMENTS.values()]
    assert len(set(trained)) == len(trained) and not EXPERIMENTS.keys() & METHODS.keys()


def test_what_is_given_beside_an_experiment_wins() -> None:
    name = "daformer-synthia-mit-b5-uda"
    run = run_settings("paper", method=name, overrides=["run.encoder=mit-b0"]).run
    assert (run.benchmark, run.encoder) == ("synthia-to-cityscapes", "mit-b0")
    run = run_settings("paper", method=name, overrides=[], benchmark="gta-to-cityscapes").run
    assert (run.benchmark, run.encoder, run.target_images) == ("gta-to-cityscapes", "mit-b5", "all")


def test_a_method_is_no_experiment_and_leaves_the_rest_to_the_profile() -> None:
    assert run_settings("demo", method="dacs", overrides=[]) == load_settings("demo", ["run.method=dacs"])


def test_a_baseline_is_trained_as_its_experiment_is_but_for_the_method() -> None:
    run = run_settings("paper", method="daformer-synthia-mit-b5", overrides=[], baseline="source-only").run
    assert (run.method, run.target_images) == ("source-only", "none")
    assert (run.benchmark, run.encoder) == ("synthia-to-cityscapes", "mit-b5")


def test_beside_a_run_on_drawn_images_stands_its_own_method_on_all_target_images() -> None:
    drawn, everything = (
        run_settings("demo", method="daformer", overrides=["run.encoder=mit-b0"], baseline=baseline)
        for baseline in ("", ALL_IMAGES)
    )
    assert (drawn.run.target_images, everything.run.target_images) == ("generated", "all")
    run = dataclasses.replace(everything.run, target_images="generated")
    assert dataclasses.replace(everything, run=run) == drawn


def test_a_baseline_differs_from_what_it_stands_beside_in_the_images_alone() -> None:
    run, baseline = (
        run_settings("paper", method="dacs", overrides=[], baseline=name) for name in ("", "one-image")
    )
    assert baseline.adaptation == run.adaptation and not baseline.adaptation.rare_class_sampling
    assert (run.run.target_images, baseline.run.target_images) == ("generated", "one-shot")


def test_tokens_are_masked_where_dinov2_trains_on_images_of_the_new_place() -> None:
    for name, experiment in EXPERIMENTS.items():
        found = run_settings("paper", method=name, overrides=[]).adaptation
        hides = experiment.encoder.startswith("dinov2") and experiment.target_images != "none"
        assert (found.masked_consistency and found.masking == "token") is hides
    for baseline, hides in (("one-image", True), ("source-only", False)):
        found = run_settings("paper", method="dinov2-b-gta", overrides=[], baseline=baseline).adaptation
        assert found.masked_consistency is hides


def test_dinov2_has_vfm_udas_colors_and_source_loss_whatever_it_trains_on() -> None:
    for name, experiment in EXPERIMENTS.items():
        found = run_settings("paper", method=name, overrides=[]).adaptation
        is_vfm_udas = experiment.encoder.startswith("dinov2")
        assert found.weak_color_jitter is is_vfm_udas
        assert found.warmup_ratio == (1e-3 if is_vfm_udas else 1e-6)
        assert (found.source_loss_over == "labeled") is is_vfm_udas
        assert not (is_vfm_udas and found.photometric_distortion)


def test_a_run_is_compared_with_the_published_figure_where_nothing_that_counts_was_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "daformer-gta-mit-b5-uda"

    def compared(*overrides: str) -> bool:
        return bool(
            experiment_of(name, "paper", run_settings("paper", method=name, overrides=list(overrides)))
        )

    assert compared() and compared("adaptation.pretrained_encoder=b5.pth", "adaptation.workers=9")
    assert compared("run.seeds=[7]", "datasets.height=64")
    assert not compared("adaptation.iterations=10")
    assert "adaptation.iterations=10: daformer-gta-mit-b5-uda has 40000" in capsys.readouterr().err
    assert not compared("run.target_images=one-shot")
    assert experiment_of("daformer", "paper", load_settings("paper")) == ""


@pytest.mark.parametrize(
    "profile, overrides, expected",
    [
        ("paper", [], "published"),
        ("paper", ["run.encoder=mit-b3"], "published"),
        ("paper", ["adaptation.pretrained_encoder=mine.pth"], "mine.pth"),
        # Its feature distance is off, as nothing is named that it would be to.
        ("paper", ["adaptation.initial_segmentor=latest.pth"], ""),
        ("demo", [], "random"),
    ],
)
def test_an_experiment_starts_from_the_published_weights_of_its_encoder_where_nothing_else_is_named(
    profile: str, overrides: list[str], expected: str
) -> None:
    for baseline in ("", "one-image"):
        settings = run_settings(profile, method="hrda-gta-mit-b5", overrides=overrides, baseline=baseline)
        assert settings.adaptation.pretrained_encoder == expected
    assert run_settings("paper", method="hrda", overrides=[]).adaptation.pretrained_encoder == ""


def test_the_table_in_readme_is_the_one_of_now() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert with_table(readme) == readme, "run `python -m datum.experiments_table README.md`"
    assert all(f"| `{name}` |" in readme for name in EXPERIMENTS)


def test_an_unknown_name_is_refused_like_any_other_method() -> None:
    with pytest.raises(InputError, match=r"run\.method: found 'daformer-gta'"):
        run_settings("paper", method="daformer-gta", overrides=[])


def test_the_command_lists_every_experiment_and_its_figures() -> None:
    def experiments(*options: str) -> str:
        command = [sys.executable, "-m", "datum", "experiments", *options]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    lines = experiments().splitlines()
    assert {line.split()[0] for line in lines[1 : len(EXPERIMENTS) + 1]} == EXPERIMENTS.keys()
    (uda,) = (line for line in lines if line.startswith("daformer-gta-mit-b5-uda "))
    assert "68.3" in uda and "65.8" in uda and "66.1, 66.2, 68.3" in uda
    found = json.loads(experiments("--json"))
    assert found["daformer-gta-mit-b5-uda"]["published"]["miou"] == 68.3
    assert found.keys() == EXPERIMENTS.keys()
