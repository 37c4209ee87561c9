"""What `adapt` does where a training cannot go on, must not start, or is stopped."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from datum.adaptation.adapt import adapt
from datum.adaptation.feature_distance import FeatureDistance
from datum.adaptation.requirements import require_trainable
from datum.adaptation.sampling import CropRules, TrainingSamples, batches
from datum.config import AdaptationSettings, load_settings
from datum.errors import InputError, TemporaryFaultError
from datum.outputs import sha256
from datum.segmentation.encoders import family
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor
from datum.store import FolderStore
from datum.training_state import TrainingState
from tests.adaptation.small_training import small_training


def _arguments(scenes: Path, output: Path, settings: AdaptationSettings) -> dict[str, Any]:
    changed = {"method": "source-only", "encoder": "resnet-18-half", "target": None}
    return small_training(scenes, output, settings) | changed


def test_a_resnet_starts_from_torchvisions_weights_and_the_log_says_so(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), file)
    settings = dataclasses.replace(settings, iterations=1, pretrained_encoder=str(file))
    adapt(**_arguments(scenes, tmp_path / "adapted", settings) | {"encoder": "resnet-18"})
    said = capsys.readouterr().err
    assert f"120 of 120 encoder tensors from {file} (torchvision's names), sha256 {sha256(file)}" in said
    assert "decode head: random weights (seed 1)" in said
    records = (tmp_path / "adapted" / "training.jsonl").read_text().splitlines()
    assert "feature_distance" in json.loads(records[0])
    provenance = json.loads((tmp_path / "adapted" / "provenance.json").read_text())
    assert provenance["inputs"]["pretrained_encoder"] == sha256(file)


def test_the_frozen_encoder_of_a_resnet_stays_as_it_is() -> None:
    student = build_segmentor(SegmentorConfig(encoder="resnet-18-half", head_channels=8)).train()
    distance = FeatureDistance(student, min_ratio=0.75)
    before = {key: value.clone() for key, value in distance.encoder.state_dict().items()}
    images, labels = torch.randn(2, 3, 64, 64), torch.full((2, 64, 64), 13)
    distance(images, labels, student.encode(images)[-1])
    assert all(torch.equal(value, before[key]) for key, value in distance.encoder.state_dict().items())


def test_random_weights_are_said_and_must_be_asked_for(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = dataclasses.replace(settings, iterations=1)
    adapt(**_arguments(scenes, tmp_path / "adapted", short))
    assert "encoder: random weights; decode head: random weights (seed 1)" in capsys.readouterr().err
    unsaid = dataclasses.replace(short, pretrained_encoder="")
    with pytest.raises(InputError, match=r"pretrained_encoder: not given, expected .* or random for random"):
        adapt(**_arguments(scenes, tmp_path / "unsaid", unsaid))
    assert not list(tmp_path.glob("unsaid*"))


@pytest.mark.parametrize("method", ["source-only", "daformer", "hrda"])
def test_a_training_that_diverges_publishes_nothing_and_keeps_its_last_finite_state(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, method: str
) -> None:
    settings = dataclasses.replace(settings, iterations=30, learning_rate=1e7, save_every=1, log_every=2)
    output = tmp_path / "adapted"
    target = None if method == "source-only" else scenes / "cityscapes"
    two = method == "hrda"
    settings = dataclasses.replace(settings, multi_resolution=two, masked_consistency=two)
    with pytest.raises(
        InputError, match=r"adaptation.learning_rate=10000000\.0: the training diverged: .* lower it;"
    ):
        adapt(**_arguments(scenes, output, settings) | {"method": method, "target": target})
    assert not output.exists()
    partial = tmp_path / "adapted.partial"
    assert not list(partial.glob("*.safetensors"))
    for line in (partial / "training.jsonl").read_text().splitlines():
        assert all(math.isfinite(value) for value in json.loads(line).values())
    found = TrainingState(FolderStore(partial / "state")).load_latest()
    assert found is None or all(value.isfinite().all() for value in found[1]["student"].values())


@pytest.mark.parametrize(
    "encoder, crop, batch_size, trainable",
    [
        ("resnet-18-half", 32, 1, False),
        ("resnet-18-half", 32, 2, True),
        ("resnet-18-half", 33, 1, True),
        ("resnet-18", 4, 8, False),
        ("mit-b0", 31, 1, True),
        ("mit-b0", 16, 4, False),
        ("mit-b5", 512, 2, True),
        ("resnet-101", 520, 2, True),
        ("resnet-101", 509, 2, False),
        ("dinov2-s", 511, 1, True),
        ("resnet-18", 1055, 2, False),
        ("resnet-18", 10**9, 2, False),
        ("mit-b0", 10**18, 10**18, False),
    ],
)
def test_crops_and_batches_that_cannot_be_trained_on_are_refused_without_being_tried(
    settings: AdaptationSettings, encoder: str, crop: int, batch_size: int, trainable: bool
) -> None:
    settings = dataclasses.replace(settings, crop=crop, batch_size=batch_size)
    if trainable:
        assert require_trainable(SegmentorConfig(encoder=encoder), settings) > 0
        return
    with pytest.raises(InputError, match=rf"crop={crop} and adaptation.batch_size={batch_size}: ") as raised:
        require_trainable(SegmentorConfig(encoder=encoder), settings)
    assert "\n" not in str(raised.value)
    assert f"a multiple of {family(encoder).CELL}, " in str(raised.value)


def test_what_is_kept_for_the_backward_pass_grows_with_the_batch(settings: AdaptationSettings) -> None:
    config = SegmentorConfig(encoder="mit-b5")
    one, two = (
        require_trainable(config, dataclasses.replace(settings, crop=512, batch_size=size)) for size in (1, 2)
    )
    # DAFormer takes 9.7 GB in all at batch 2, of which weights, teacher and optimizer are 1.7.
    assert 1.5 * one < two < 2 * one and 4e9 < two < 8e9


def test_classes_that_are_never_drawn_for_are_named(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = dataclasses.replace(settings, iterations=1, rare_class_min_pixels=40_000)
    adapt(**_arguments(scenes, tmp_path / "adapted", settings))
    said = next(line for line in capsys.readouterr().err.splitlines() if "rare class sampling" in line)
    assert "(adaptation.rare_class_min_pixels) of " in said and "pole" in said and "road" not in said


def _samples(scenes: Path, settings: AdaptationSettings) -> TrainingSamples:
    from datum.adaptation.inputs import find_source

    rules = CropRules(
        size=settings.crop,
        class_max_ratio=0.75,
        rare_min_pixels=0,
        rare_min_crop_pixels=0,
        source_scale=(96, 64),
        target_scale=None,
    )
    source = find_source("gta-to-cityscapes", scenes / "gta")
    return TrainingSamples(source=source, target=[], rules=rules, temperature=1.0, seed=1)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named_in_one_line_wherever_it_is_loaded(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, workers: int
) -> None:
    samples = _samples(scenes, settings)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    samples._source = [dataclasses.replace(entry, image=broken) for entry in samples._source]
    loading = batches(samples, first=0, last=2, batch_size=2, workers=workers, device=torch.device("cpu"))
    with pytest.raises(InputError) as raised:
        next(loading)
    assert str(raised.value).startswith(f"{broken}: ") and "\n" not in str(raised.value)


_LOADER_DIES = """
import os, signal, sys
from datum.adaptation.sampling import TrainingSamples
from datum.cli import main

load = TrainingSamples.__getitem__
def killed(self, index):
    if index == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return load(self, index)
TrainingSamples.__getitem__ = killed
main(sys.argv[1:])
"""


SMALL = {
    "iterations": 30,
    "crop": 64,
    "source_scale": [96, 64],
    "warmup_iterations": 1,
    "head_channels": 16,
    "rare_class_min_pixels": 0,
    "validate_every": 30,
    "log_every": 1,
    "save_every": 2,
}


def _options(**changes: Any) -> list[str]:
    return [f"adaptation.{key}={value}" for key, value in (SMALL | changes).items()]


def _command(scenes: Path, output: Path, **changes: Any) -> list[str]:
    return [
        # The encoder is the profile's.
        *("adapt", "--profile", "demo", "--method", "source-only"),
        *("--source", str(scenes / "gta"), "--validation", str(scenes / "cityscapes")),
        *("--output", str(output)),
        *(part for option in _options(**changes) for part in ("--set", option)),
    ]


def _adapt_alike(scenes: Path, output: Path, **changes: Any) -> None:
    """What `_command` does, in this process."""
    settings = load_settings("demo", _options(**changes))
    arguments = _arguments(scenes, output, settings.adaptation)
    adapt(**arguments | {"evaluation": settings.evaluation})


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _started(scenes: Path, output: Path, *, within: float, **changes: Any) -> subprocess.Popen[str]:
    """The command in a session of its own, once it has saved a state, or has not in so many seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "datum", *_command(scenes, output, **changes)],
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
        start_new_session=True,
    )
    state, deadline = output.with_name(f"{output.name}.partial") / "state", time.monotonic() + within
    while not list(state.glob("state-*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def test_a_loading_process_that_dies_ends_the_training_in_one_line_and_another_start_goes_on(
    scenes: Path, tmp_path: Path
) -> None:
    changes = {"iterations": 6, "save_every": 1, "validate_every": 6}
    command = _command(scenes, tmp_path / "out", **changes, workers=1)
    died = subprocess.run(
        [sys.executable, "-c", _LOADER_DIES, *command], capture_output=True, text=True, env=_environment()
    )
    assert died.returncode == 75 and "Traceback" not in died.stderr, died.stderr
    assert "adaptation.workers: a loading process died" in died.stderr
    assert "set adaptation.workers=0" in died.stderr
    _adapt_alike(scenes, tmp_path / "out", **changes)
    assert (tmp_path / "out" / "last.safetensors").is_file()


def test_a_stopped_training_goes_on_with_other_workers_and_intervals_to_the_same_bits(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stop is sent to the whole group of processes, as a terminal and some clusters do."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    process = _started(scenes, stopped, within=120, workers=1)
    os.killpg(process.pid, signal.SIGTERM)
    started = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75 and time.monotonic() - started < 30, said
    assert "Traceback" not in said and "whose state is saved" in said.splitlines()[-1]
    _adapt_alike(scenes, stopped, workers=0, log_every=3, save_every=7, validate_every=15)
    assert "resuming at iteration" in capsys.readouterr().err
    _adapt_alike(scenes, whole)
    assert sha256(stopped / "last.safetensors") == sha256(whole / "last.safetensors")


@pytest.mark.parametrize("ended", ["all are stopped", "the helper is killed", "the first is killed"])
def test_processes_that_share_a_training_end_together_and_one_goes_on_from_their_state(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ended: str
) -> None:
    output, deadline = tmp_path / "out", time.monotonic() + 300
    process = _started(scenes, output, within=300, processes=2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (helper,) = (int(c) for c in children if "spawn_main" in Path(f"/proc/{c}/cmdline").read_text())
    if ended == "all are stopped":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        os.kill(helper if ended == "the helper is killed" else process.pid, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    last_line = said.splitlines()[-1]
    if ended == "the first is killed":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 75 and "Traceback" not in said, said
        reason = (
            "whose state is saved" if ended == "all are stopped" else "adaptation.processes: process 2 of 2"
        )
        assert reason in last_line
    while Path(f"/proc/{helper}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{helper}").exists()
    _adapt_alike(scenes, output)
    assert "resuming at iteration" in capsys.readouterr().err


def test_a_training_killed_after_its_last_step_has_nothing_to_train_again(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its networks are written, and its state is gone or older."""
    adapt(**_arguments(scenes, tmp_path / "adapted", settings))
    finished = sha256(tmp_path / "adapted" / "best.safetensors")
    (tmp_path / "adapted").rename(tmp_path / "adapted.partial")
    capsys.readouterr()
    adapt(**_arguments(scenes, tmp_path / "adapted", settings))
    assert sha256(tmp_path / "adapted" / "best.safetensors") == finished
    assert "iterations" not in capsys.readouterr().err


def test_no_state_is_saved_after_the_last_step(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    adapt(**_arguments(scenes, tmp_path / "adapted", settings), state_uri=state.as_uri())
    assert [file.name for file in state.rglob("*.json")] == ["state-000000003.json"]


@pytest.mark.parametrize("damage", ["student", "optimizer", "records", "later"])
def test_a_state_of_another_training_is_passed_over_and_the_one_before_taken(
    scenes: Path,
    settings: AdaptationSettings,
    tmp_path: Path,
    damage: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its record is true: whoever writes into the store can write both."""
    settings = dataclasses.replace(settings, iterations=5, save_every=2, validate_every=5)
    state = tmp_path / "state"
    arguments = _arguments(scenes, tmp_path / "whole", settings)
    adapt(**arguments, state_uri=state.as_uri())
    store = FolderStore(next(state.iterdir()))
    step, found = TrainingState(store).load_latest() or (0, {})
    assert step == 4
    if damage == "student":
        found["student"]["head.conv_seg.weight"] = torch.zeros(19, 17, 1, 1)
    elif damage == "optimizer":
        found["optimizer"]["state"][0]["exp_avg"] = torch.zeros(1)
    elif damage == "records":
        found["records"] = [{"iteration": "four"}]
    else:
        found["iteration"] = 5
    states = TrainingState(store)
    states.save(4, found)
    states.wait()
    adapt(**arguments | {"output": tmp_path / "resumed"}, state_uri=state.as_uri())
    said = capsys.readouterr().err
    assert "training state state-000000004 " in said and "resuming at iteration 2" in said
    assert sha256(tmp_path / "resumed/last.safetensors") == sha256(tmp_path / "whole/last.safetensors")


def test_a_training_that_the_disk_has_no_room_for_says_what_it_needs(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = dataclasses.replace(settings, iterations=1)
    adapt(**_arguments(scenes, tmp_path / "adapted", settings), state_uri=(tmp_path / "state").as_uri())
    said = capsys.readouterr().err
    assert "adapt: needs " in said and "of memory, " in said
    assert "adapt's state: needs " in said and "of disk in " in said
    huge = dataclasses.replace(settings, batch_size=10**6)
    with pytest.raises(TemporaryFaultError, match=r"^memory: .* are available, expected"):
        adapt(**_arguments(scenes, tmp_path / "huge", huge))
    assert not list(tmp_path.glob("huge*"))
