"""Trainings that diverge, do not fit on the GPU, are stopped, or go on from what is left of their state."""

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file

from datum.config import PersonalizationSettings
from datum.errors import InputError
from datum.outputs import sha256
from datum.personalization import dreambooth
from datum.personalization.loss import denoising_loss, denoising_losses, step_generator
from datum.personalization.personalize import personalize
from tests.base_models import untrained_pipeline

WEIGHTS = ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")

STOPPED_RUN = """
import json, os, signal, sys
from pathlib import Path
from datum.config import PersonalizationSettings
from datum.errors import exit_status
from datum.personalization import dreambooth
from datum.personalization.personalize import personalize

arguments = json.loads(sys.argv[1])
step, denoising_losses = 0, dreambooth.denoising_losses

def stopped_in_step_three(*others):
    global step
    step += 1
    if step == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    return denoising_losses(*others)

dreambooth.denoising_losses = stopped_in_step_three
with exit_status():
    personalize(
        image=Path(arguments["image"]),
        output=Path(arguments["output"]),
        settings=PersonalizationSettings(**arguments["settings"]),
        seed=1,
    )
"""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that are trained, by their generators' seeds."""
    trained: list[int] = []
    seeds = {step_generator(1, step).initial_seed(): step for step in range(1, 20)}

    def counted(*arguments: Any) -> Iterator[torch.Tensor]:
        trained.append(seeds[arguments[-2].initial_seed()])
        return denoising_losses(*arguments)

    monkeypatch.setattr(dreambooth, "denoising_losses", counted)
    return trained


def assert_same_weights(output: Path, expected: Path) -> None:
    for name in ("checkpoint-2", "checkpoint-4"):
        for file in WEIGHTS:
            assert sha256(output / name / file) == sha256(expected / name / file), f"{name}/{file}"


def test_a_training_that_diverges_ends_with_its_step_and_publishes_nothing(
    photograph: Path, settings: PersonalizationSettings, tmp_path: Path
) -> None:
    wild = dataclasses.replace(settings, learning_rate=1e6, checkpoint_every=1)
    with pytest.raises(InputError, match=r"=1000000\.0: in step \d .* expected a finite") as raised:
        personalize(image=photograph, output=tmp_path / "output", settings=wild, seed=1)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "output").exists()
    lines = (tmp_path / "output.partial/training.jsonl").read_text().splitlines()
    assert [math.isfinite(json.loads(line)["loss"]) for line in lines] == [True]


def test_weights_that_are_not_finite_become_no_checkpoint(
    photograph: Path,
    settings: PersonalizationSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.optim.AdamW, "step", _ruin_the_last_weight)
    with pytest.raises(InputError, match=r"in step 2 (unet|text_encoder) has weights that are not finite"):
        personalize(image=photograph, output=tmp_path / "output", settings=settings, seed=1)
    assert not list(tmp_path.rglob("checkpoint-*"))


@torch.no_grad()
def _ruin_the_last_weight(optimizer: torch.optim.Optimizer, closure: None = None) -> None:
    """In step 2, so that no loss shows it before the checkpoint."""
    optimizer.state["steps"] = optimizer.state.get("steps", 0) + 1
    if optimizer.state["steps"] == 2:
        optimizer.param_groups[0]["params"][-1].view(-1)[0] = float("inf")


def test_parts_of_a_batch_add_up_to_its_loss_and_gradients() -> None:
    pipeline = untrained_pipeline(seed=3)
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    pixels = torch.rand(3, 3, 32, 32) * 2 - 1
    ids = pipeline.tokenizer(["a car"] * 3, padding="max_length", return_tensors="pt").input_ids
    whole = denoising_loss(pipeline, scheduler, pixels, ids, torch.Generator().manual_seed(5))
    whole.backward()
    expected = pipeline.unet.conv_in.weight.grad.clone()
    pipeline.unet.zero_grad()
    parts = list(denoising_losses(pipeline, scheduler, pixels, ids, torch.Generator().manual_seed(5), 2))
    for part in parts:
        part.backward()
    assert len(parts) == 2
    assert sum(part.item() for part in parts) == pytest.approx(whole.item(), rel=1e-5)
    torch.testing.assert_close(pipeline.unet.conv_in.weight.grad, expected, rtol=1e-4, atol=1e-6)


def test_a_batch_too_large_for_the_gpu_is_learned_in_halves(
    photograph: Path,
    settings: PersonalizationSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    batches = dataclasses.replace(settings, batch_size=4, steps=2)
    personalize(image=photograph, output=tmp_path / "at once", settings=batches, seed=1)

    def with_little_memory(*arguments: Any) -> Iterator[torch.Tensor]:
        # The second part of four crops does not fit: the gradients of the first are there by then.
        for number, loss in enumerate(denoising_losses(*arguments)):
            if arguments[-1] > 1 and number == (0 if arguments[-1] == 4 else 1):
                raise torch.OutOfMemoryError
            yield loss

    monkeypatch.setattr(dreambooth, "denoising_losses", with_little_memory)
    personalize(image=photograph, output=tmp_path / "halves", settings=batches, seed=1)
    said = capsys.readouterr().err
    assert "does not suffice for 4 crops at once; going on with 2 at once, 4 a step as before" in said
    assert "does not suffice for 2 crops at once; going on with 1 at once, 4 a step as before" in said
    for file in WEIGHTS:
        expected = load_file(tmp_path / "at once/checkpoint-2" / file)
        for name, weights in load_file(tmp_path / "halves/checkpoint-2" / file).items():
            # A step of Adam is 1e-3 whatever the gradient: where that is rounding alone, its sign is too.
            torch.testing.assert_close(weights, expected[name], atol=5e-3, rtol=0)


def test_a_gpu_too_small_for_one_crop_is_said_with_the_remedy(
    photograph: Path, settings: PersonalizationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory(*_: Any) -> Iterator[torch.Tensor]:
        raise torch.OutOfMemoryError
        yield

    monkeypatch.setattr(dreambooth, "denoising_losses", without_memory)
    message = r"one crop of 32 pixels; set personalization\.gradient_checkpointing=true"
    with pytest.raises(InputError, match=message):
        personalize(image=photograph, output=tmp_path / "output", settings=settings, seed=1)


def test_a_stopped_run_saves_its_step_and_goes_on_to_the_same_bytes(
    photograph: Path,
    settings: PersonalizationSettings,
    finished: Path,
    tmp_path: Path,
    steps: list[int],
) -> None:
    output = tmp_path / "output"
    arguments = {"image": str(photograph), "output": str(output), "settings": dataclasses.asdict(settings)}
    process = subprocess.run(
        [sys.executable, "-c", STOPPED_RUN, json.dumps(arguments)],
        # The same number of threads as here: sums round by it.
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 75, process.stderr
    assert "Traceback" not in process.stderr
    personalize(image=photograph, output=output, settings=settings, seed=1)
    assert steps == [4]
    assert_same_weights(output, finished)
    assert [file.name for file in tmp_path.iterdir()] == ["output"]


def test_the_state_holds_what_no_checkpoint_holds_and_none_is_of_the_last_step(
    photograph: Path, settings: PersonalizationSettings, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    personalize(
        image=photograph, output=tmp_path / "output", settings=settings, seed=1, state_uri=store.as_uri()
    )
    place = next(store.iterdir())
    kept = {file.relative_to(place).as_posix(): file for file in place.rglob("*") if file.is_file()}
    weights = {f"files/{sha256(tmp_path / 'output/checkpoint-2' / file)}" for file in WEIGHTS}
    assert weights <= set(kept)
    assert {name.split("/")[0] for name in kept if name.endswith("folder.json")} == {"checkpoint-2"}
    assert [name for name in kept if name.endswith(".pt")] == ["state-000000002.pt"]
    size = sum(kept[name].stat().st_size for name in weights)
    # AdamW's two numbers a weight.
    assert kept["state-000000002.pt"].stat().st_size == pytest.approx(2 * size, rel=0.05)


def test_a_checkpoint_that_was_damaged_is_trained_again(
    photograph: Path,
    settings: PersonalizationSettings,
    finished: Path,
    tmp_path: Path,
    steps: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "output"
    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(dreambooth.DreamBooth, "_require_finite", _interrupted_in_step_four)
        personalize(image=photograph, output=output, settings=settings, seed=1)
    file = tmp_path / "output.partial/checkpoint-2" / WEIGHTS[0]
    weights = load_file(file)
    weights["conv_in.bias"] += 1
    save_file(weights, file, metadata={"format": "pt"})
    partial = tmp_path / "output.partial"
    shutil.copytree(partial / "checkpoint-2", partial / "checkpoint-4.unfinished")
    steps.clear()
    personalize(image=photograph, output=output, settings=settings, seed=1)
    assert "state-000000002 does not fit this training" in capsys.readouterr().err
    assert steps == [1, 2, 3, 4]
    assert_same_weights(output, finished)
    assert not list(output.glob("*.unfinished"))


def _interrupted_in_step_four(run: dreambooth.DreamBooth, step: int) -> None:
    if step == 4:
        run._states.wait()
        raise InterruptedError


def test_two_trainings_of_one_process_may_differ_in_precision(
    photograph: Path, settings: PersonalizationSettings, tmp_path: Path
) -> None:
    for precision in ("no", "bf16", "no"):
        short = dataclasses.replace(settings, steps=1, mixed_precision=precision)
        personalize(image=photograph, output=tmp_path / precision, settings=short, seed=1)
    digests = {sha256(tmp_path / name / "checkpoint-1" / WEIGHTS[0]) for name in ("no", "bf16")}
    assert len(digests) == 2


def test_a_finished_output_is_one_of_the_base_models_content_not_of_its_name(
    photograph: Path,
    settings: PersonalizationSettings,
    base_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = shutil.copytree(base_model, tmp_path / "base")
    short = dataclasses.replace(settings, steps=1)
    personalize(image=photograph, output=tmp_path / "output", settings=short, seed=1)
    moved = dataclasses.replace(short, base_model=str(copy))
    personalize(image=photograph, output=tmp_path / "output", settings=moved, seed=1)
    assert "output: already complete" in capsys.readouterr().err
    weights = load_file(copy / WEIGHTS[0])
    weights["conv_in.bias"] += 1
    save_file(weights, copy / WEIGHTS[0], metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"already holds something else .*base_model_sha256"):
        personalize(image=photograph, output=tmp_path / "output", settings=moved, seed=1)


def test_a_photograph_that_is_enlarged_is_said(
    photograph: Path, settings: PersonalizationSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enlarging = dataclasses.replace(settings, steps=1, short_side=80)
    personalize(image=photograph, output=tmp_path / "output", settings=enlarging, seed=1)
    assert "one_shot.png: is 96x64 pixels and is enlarged to a short side of 80" in capsys.readouterr().err
