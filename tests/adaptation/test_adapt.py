"""`adapt` as a whole: what it writes, what it learns, and how it resumes."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import datum.adaptation.training
from datum.adaptation.adapt import adapt
from datum.adaptation.feature_distance import FeatureDistance
from datum.adaptation.sampling import Batch
from datum.adaptation.self_training import pixel_loss
from datum.cli import main
from datum.config import AdaptationSettings, to_dict
from datum.errors import InputError
from datum.formats.mix_pictures import find_pictures
from datum.outputs import digests_below, sha256
from datum.segmentation.segmentor import (
    SegmentorConfig,
    build_segmentor,
    load_segmentor,
    read_header,
)
from tests.adaptation.small_training import bare_training, small_training

FILES = {
    *("last.safetensors", "best.safetensors", "config.yaml", "training.jsonl", "provenance.json"),
    "pictures",
}


def test_adapt_writes_its_files_and_learns(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    longer = dataclasses.replace(
        settings, iterations=40, validate_every=20, learning_rate=3e-3, rare_class_temperature=1.0
    )
    output = tmp_path / "adapted"
    adapt(**small_training(scenes, output, longer))
    assert {file.name for file in output.iterdir()} == FILES
    assert not output.with_name("adapted.partial").exists()
    records = _records(output)
    losses = [r["source"] for r in records if "source" in r]
    assert len(losses) == 40
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])
    assert {"mixed", "learning_rate", "seconds", "iteration"} <= records[-2].keys()
    trained = [r for r in records if "source" in r]
    assert all(0 <= r["confident_share"] <= 1 and r["images_per_second"] > 0 for r in trained)
    # PyTorch alone takes more than 100 MB.
    assert 10**8 < trained[0]["peak_memory"] <= trained[-1]["peak_memory"] < 2**40
    mious = {r["iteration"]: r["miou"] for r in records if "miou" in r}
    assert list(mious) == [20, 40]
    assert read_header(output / "last.safetensors")["metadata"] == {"iteration": 40, "miou": mious[40]}
    assert read_header(output / "best.safetensors")["metadata"]["miou"] == max(mious.values())
    config = yaml.safe_load((output / "config.yaml").read_text())
    assert config["settings"]["adaptation"]["iterations"] == 40 and config["method"] == "daformer"


@pytest.mark.parametrize("method", ["source-only", "source-only-reference", "one-image"])
def test_the_baselines_run_and_without_validation_best_is_the_last(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, method: str
) -> None:
    image = next((scenes / "cityscapes" / "leftImg8bit" / "train").rglob("*.png"))
    output = tmp_path / method
    arguments = small_training(scenes, output, settings) | {"method": method, "validation": None}
    adapt(**arguments | {"target": image if method == "one-image" else None})
    assert (output / "last.safetensors").read_bytes() == (output / "best.safetensors").read_bytes()
    provenance = json.loads((output / "provenance.json").read_text())
    assert provenance["best"] == "copy of last: no validation set"
    assert ("mixed" in _records(output)[-1]) == (method == "one-image")
    assert load_segmentor(output / "last.safetensors")(torch.randn(1, 3, 64, 64)).shape == (1, 19, 16, 16)


def test_an_encoder_with_batch_norm_is_self_trained_and_resumed(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    state_uri = (tmp_path / "state").as_uri()
    for output in ("whole", "resumed"):
        arguments = small_training(scenes, tmp_path / output, dataclasses.replace(settings, iterations=4))
        adapt(**arguments | {"encoder": "resnet-18-half", "state_uri": state_uri})
        for newest in (tmp_path / "state").rglob("*000004*"):
            newest.unlink()
    weights = (tmp_path / output / "last.safetensors" for output in ("whole", "resumed"))
    assert len({sha256(file) for file in weights}) == 1
    assert {"source", "mixed"} <= _records(tmp_path / "whole")[0].keys()


def test_dinov2_is_trained_at_two_resolutions(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    settings = dataclasses.replace(settings, iterations=2, multi_resolution=True, masked_consistency=True)
    adapt(**small_training(scenes, output, settings) | {"encoder": "dinov2-s"})
    assert {"source_detail", "mixed_detail", "masked_detail"} <= _records(output)[0].keys()
    assert load_segmentor(output / "last.safetensors")(torch.randn(1, 3, 64, 64)).shape == (1, 19, 16, 16)


@pytest.mark.parametrize(
    "changes",
    [{}, {"multi_resolution": True, "pseudo_margins_of": "image"}, {"masked_consistency": True}],
    ids=["daformer", "hrda", "mic"],
)
def test_a_killed_training_resumes_to_the_same_bits(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = dataclasses.replace(settings, **changes)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    adapt(**small_training(scenes, whole, settings))
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            _KILLED_AFTER_SAVING,
            json.dumps(_plain(small_training(scenes, killed, settings))),
        ],
        capture_output=True,
        text=True,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not killed.exists() and (tmp_path / "killed.partial" / "state").is_dir()
    adapt(**small_training(scenes, killed, settings))
    for name in ("last.safetensors", "best.safetensors"):
        assert sha256(killed / name) == sha256(whole / name)
    assert [_untimed(r) for r in _records(killed)] == [_untimed(r) for r in _records(whole)]
    assert digests_below(killed / "pictures") == digests_below(whole / "pictures")
    assert len(find_pictures(killed)) == settings.iterations
    assert {file.name for file in killed.iterdir()} == FILES


_KILLED_AFTER_SAVING = """
import json, os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from datum.adaptation.adapt import adapt
from datum.adaptation.training import Training
from datum.config import AdaptationSettings, EvaluationSettings

step = Training._step
def killed_in_the_fifth_step(self, batch):
    if self._iteration == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch)
Training._step = killed_in_the_fifth_step

def tuples(settings):
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}

arguments = json.loads(sys.argv[1])
for name in ("source", "target", "output", "validation"):
    arguments[name] = Path(arguments[name])
arguments["settings"] = AdaptationSettings(**tuples(arguments["settings"]))
arguments["evaluation"] = EvaluationSettings(**tuples(arguments["evaluation"]))
adapt(**arguments)
"""


def test_images_per_second_are_those_of_the_steps_without_what_is_done_beside_them(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_validation(*_: object) -> float:
        time.sleep(1)
        return 50.0

    monkeypatch.setattr(datum.adaptation.training, "validate", slow_validation)
    settings = dataclasses.replace(settings, validate_every=1, save_every=1, log_every=2)
    adapt(**small_training(scenes, tmp_path / "adapted", settings))
    lines = [r for r in _records(tmp_path / "adapted") if "source" in r]
    assert len(lines) == 3
    for line, following in zip(lines, lines[1:]):
        # Two steps of two source and two target images each.
        training = 8 / following["images_per_second"]
        assert 0 < training < following["seconds"] - line["seconds"] - 1.99


def test_state_elsewhere_is_used_by_a_run_that_lost_its_disk(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    state_uri = (tmp_path / "state").as_uri()
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    adapt(**small_training(scenes, whole, settings), state_uri=state_uri)
    for newest in sorted((tmp_path / "state").rglob("*000006*")):
        newest.unlink()
    adapt(**small_training(scenes, moved, settings), state_uri=state_uri)
    assert sha256(moved / "last.safetensors") == sha256(whole / "last.safetensors")
    assert sha256(moved / "best.safetensors") == sha256(whole / "best.safetensors")
    assert [r["iteration"] for r in _records(moved)] == [r["iteration"] for r in _records(whole)]
    assert digests_below(moved / "pictures") == digests_below(whole / "pictures")


def test_trainings_that_share_a_state_uri_keep_their_states_apart(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    short = dataclasses.replace(settings, iterations=1)
    state_uri = (tmp_path / "state").as_uri()
    arguments = small_training(scenes, tmp_path / "one", short) | {"state_uri": state_uri}
    adapt(**arguments)
    adapt(**arguments | {"seed": 2, "output": tmp_path / "two"})
    adapt(**arguments | {"seed": 2, "output": tmp_path / "alone", "state_uri": None})
    assert sha256(tmp_path / "two" / "last.safetensors") == sha256(tmp_path / "alone" / "last.safetensors")
    assert sha256(tmp_path / "two" / "last.safetensors") != sha256(tmp_path / "one" / "last.safetensors")


def test_a_complete_output_is_left_alone_and_another_is_not_overwritten(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    output = tmp_path / "adapted"
    short = dataclasses.replace(settings, iterations=1)
    adapt(**small_training(scenes, output, short))
    before = (output / "last.safetensors").stat().st_mtime_ns
    adapt(**small_training(scenes, output, short))
    assert (output / "last.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="already holds something else"):
        adapt(**small_training(scenes, output, settings))


def test_bad_input_writes_nothing(scenes: Path, settings: AdaptationSettings, tmp_path: Path) -> None:
    output = tmp_path / "out" / "adapted"
    (tmp_path / "empty").mkdir()
    for change in (
        {"target": tmp_path / "empty"},
        {"source": tmp_path / "empty"},
        {"validation": tmp_path / "empty"},
        {"encoder": "mit-b9"},
        {"settings": dataclasses.replace(settings, save_every=0)},
        {"settings": dataclasses.replace(settings, pretrained_encoder=str(tmp_path / "no.pth"))},
    ):
        with pytest.raises(InputError):
            adapt(**small_training(scenes, output, settings) | change)
    assert not output.parent.exists()


def test_one_backward_pass_gives_the_gradients_of_two(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    """The reference goes back once for the source loss and once for the feature distance."""
    pretrained = tmp_path / "encoder.pth"
    torch.manual_seed(1)
    config = SegmentorConfig(encoder="mit-b0", head_channels=8, drop_path_rate=0.0, dropout=0.0)
    torch.save(build_segmentor(config).encoder.state_dict(), pretrained)
    settings = dataclasses.replace(settings, pretrained_encoder=str(pretrained), feature_distance_weight=0.5)
    student = build_segmentor(config, pretrained).train()
    frozen = FeatureDistance(student, settings.feature_distance_min_ratio)
    with torch.no_grad():
        for parameter in student.encoder.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    batch = Batch(
        source=torch.randn(2, 3, 64, 64), labels=torch.full((2, 64, 64), 13), classes=[13], target=None
    )
    features = student.encode(batch.source)
    pixel_loss(student.decode(features), batch.labels).backward(retain_graph=True)
    (0.5 * frozen(batch.source, batch.labels, features[-1])).backward()
    expected = {name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None}
    student.zero_grad()
    training = bare_training(student, settings, tmp_path)
    training._distance = frozen
    losses = training._source_losses(batch, None, np.random.default_rng(0))
    assert float(losses["feature_distance"].detach()) > 0
    for name, gradient in expected.items():
        found = student.get_parameter(name).grad
        assert found is not None
        assert torch.allclose(found, gradient, rtol=1e-3, atol=1e-5), name


def test_pretrained_weights_turn_the_feature_distance_on(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    weights = tmp_path / "encoder.pth"
    torch.save(build_segmentor(SegmentorConfig(encoder="mit-b0")).encoder.state_dict(), weights)
    settings = dataclasses.replace(settings, iterations=2, pretrained_encoder=str(weights))
    adapt(**small_training(scenes, tmp_path / "adapted", settings))
    assert all("feature_distance" in r for r in _records(tmp_path / "adapted") if "source" in r)


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    settings = {key: to_dict(arguments[key]) for key in ("settings", "evaluation")}
    return {k: str(v) if isinstance(v, Path) else v for k, v in arguments.items()} | settings


def _records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "training.jsonl").read_text().splitlines()]


def _untimed(record: dict[str, Any]) -> dict[str, Any]:
    measured = ("seconds", "images_per_second", "peak_memory")
    return {key: value for key, value in record.items() if key not in measured}


@pytest.mark.parametrize("validated", [True, False])
def test_the_command_ends_with_the_score_and_its_file(
    scenes: Path,
    settings: AdaptationSettings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    validated: bool,
) -> None:
    short = {"iterations": 2, "validate_every": 1} | {
        key: getattr(settings, key) for key in ("crop", "head_channels", "rare_class_min_pixels", "workers")
    }
    words = ["adapt", "--method", "source-only", "--encoder", "mit-b0", "--source", str(scenes / "gta")]
    words += ["--validation", str(scenes / "cityscapes")] if validated else []
    words += ["--set", "adaptation.pretrained_encoder=random", "--set", "evaluation.scale=[96, 64]"]
    words += ["--set", "adaptation.source_scale=[96, 64]", "--output", str(tmp_path / "out")]
    for key, value in short.items():
        words += ["--set", f"adaptation.{key}={value}"]
    main(words)
    best = tmp_path / "out" / "best.safetensors"
    found = read_header(best)["metadata"]
    score = f"mIoU {found['miou']:.2f} on the validation set" if validated else "no validation set"
    assert capsys.readouterr().out == f"{score}, iteration {found['iteration']}: {best}\n"
