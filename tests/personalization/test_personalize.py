import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from datum.config import PersonalizationSettings
from datum.errors import InputError
from datum.outputs import sha256
from datum.personalization import dreambooth
from datum.personalization.crops import resize_short_side
from datum.personalization.loss import denoising_loss, denoising_losses, step_generator
from datum.personalization.personalize import personalize
from tests.base_models import untrained_pipeline

WEIGHTS = ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")
FROZEN = "vae/diffusion_pytorch_model.safetensors"

KILLED_RUN = """
import json, os, signal, sys, time
from pathlib import Path
from datum.config import PersonalizationSettings
from datum.personalization import dreambooth
from datum.personalization.personalize import personalize

arguments = json.loads(sys.argv[1])
write_checkpoint = dreambooth.write_checkpoint

def killed_after_the_second_checkpoint(folder, *others):
    write_checkpoint(folder, *others)
    if folder.name == "checkpoint-4":
        # The state before is stored beside the training, at its own pace.
        while not list(folder.parent.rglob("state-000000002.json")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)

dreambooth.write_checkpoint = killed_after_the_second_checkpoint
personalize(
    image=Path(arguments["image"]),
    output=Path(arguments["output"]),
    settings=PersonalizationSettings(**arguments["settings"]),
    seed=1,
)
"""


def assert_same_checkpoints(output: Path, expected: Path) -> None:
    names = sorted(folder.name for folder in expected.glob("checkpoint-*"))
    assert sorted(folder.name for folder in output.glob("checkpoint-*")) == names
    for name in names:
        for file in (*WEIGHTS, FROZEN):
            assert sha256(output / name / file) == sha256(expected / name / file), f"{name}/{file}"


def test_every_checkpoint_is_a_pipeline_that_draws(finished: Path) -> None:
    for step in (2, 4):
        pipeline = StableDiffusionPipeline.from_pretrained(finished / f"checkpoint-{step}")
        pipeline.set_progress_bar_config(disable=True)
        image = pipeline("a photo", height=32, width=32, num_inference_steps=1).images[0]
        assert image.size == (32, 32)
    assert {file.name for file in finished.iterdir()} == {
        "checkpoint-2",
        "checkpoint-4",
        "training.jsonl",
        "provenance.json",
    }


def test_training_changes_the_unet_and_the_text_encoder_alone(finished: Path, base_model: Path) -> None:
    for file in WEIGHTS:
        digests = {sha256(folder / file) for folder in (base_model, *finished.glob("checkpoint-*"))}
        assert len(digests) == 3
    assert sha256(finished / "checkpoint-4" / FROZEN) == sha256(base_model / FROZEN)


def test_a_copied_checkpoint_needs_no_other_file(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished / "checkpoint-4", tmp_path / "copy")
    assert not any(file.is_symlink() for file in copy.rglob("*"))
    assert all(file.stat().st_nlink == 1 for file in copy.rglob("*") if file.is_file())
    StableDiffusionPipeline.from_pretrained(copy)


def test_the_journal_has_one_line_a_step(finished: Path) -> None:
    records = [json.loads(line) for line in (finished / "training.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    assert all(record["loss"] > 0 and record["seconds"] > 0 for record in records)


def test_a_killed_run_started_again_ends_with_the_same_bytes(
    photograph: Path,
    settings: PersonalizationSettings,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "output"
    arguments = {
        "image": str(photograph),
        "output": str(output),
        "settings": dataclasses.asdict(settings),
    }
    # Killed when the second checkpoint is written and its state is not: it goes on from the first one's.
    process = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, json.dumps(arguments)],
        # The same number of threads as here: sums round by it.
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert not output.exists()
    assert (tmp_path / "output.partial/checkpoint-4").is_dir()
    personalize(image=photograph, output=output, settings=settings, seed=1)
    assert "resuming after step 2" in capsys.readouterr().err
    assert_same_checkpoints(output, finished)
    assert [file.name for file in tmp_path.iterdir()] == ["output"]


def test_a_run_goes_on_from_its_store_on_another_machine(
    photograph: Path,
    settings: PersonalizationSettings,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class PreemptedError(Exception):
        pass

    def preempted_in_step_three(*arguments: Any) -> Iterator[torch.Tensor]:
        if arguments[-2].initial_seed() == step_generator(1, 3).initial_seed():
            raise PreemptedError
        return denoising_losses(*arguments)

    state_uri = (tmp_path / "store").as_uri()
    with monkeypatch.context() as patch, pytest.raises(PreemptedError):
        patch.setattr(dreambooth, "denoising_losses", preempted_in_step_three)
        personalize(
            image=photograph, output=tmp_path / "first", settings=settings, seed=1, state_uri=state_uri
        )
    shutil.rmtree(tmp_path / "first.partial")

    steps: list[int] = []

    def counted(*arguments: Any) -> Iterator[torch.Tensor]:
        steps.append(arguments[-2].initial_seed())
        return denoising_losses(*arguments)

    monkeypatch.setattr(dreambooth, "denoising_losses", counted)
    personalize(image=photograph, output=tmp_path / "second", settings=settings, seed=1, state_uri=state_uri)
    assert steps == [step_generator(1, step).initial_seed() for step in (3, 4)]
    assert_same_checkpoints(tmp_path / "second", finished)
    assert len((tmp_path / "second/training.jsonl").read_text().splitlines()) == 4


def test_another_seed_does_not_take_up_a_state_in_the_same_store(
    photograph: Path, settings: PersonalizationSettings, finished: Path, tmp_path: Path
) -> None:
    short = dataclasses.replace(settings, steps=1, checkpoint_every=1)
    for seed in (1, 2):
        personalize(
            image=photograph,
            output=tmp_path / f"seed{seed}",
            settings=short,
            seed=seed,
            state_uri=str(tmp_path / "store"),
        )
    digests = {sha256(tmp_path / f"seed{seed}/checkpoint-1" / WEIGHTS[0]) for seed in (1, 2)}
    assert len(digests) == 2


def test_training_learns_the_image(
    photograph: Path, settings: PersonalizationSettings, base_model: Path, tmp_path: Path
) -> None:
    longer = dataclasses.replace(settings, steps=20, checkpoint_every=20, learning_rate=2e-3)
    personalize(image=photograph, output=tmp_path / "output", settings=longer, seed=1)

    def loss(folder: Path) -> float:
        pipeline = StableDiffusionPipeline.from_pretrained(folder)
        scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
        pixels = resize_short_side(Image.open(photograph), 48)[None, :, 8:40, 8:40].expand(32, -1, -1, -1)
        ids = pipeline.tokenizer(
            longer.instance_prompt, padding="max_length", max_length=32, return_tensors="pt"
        ).input_ids
        with torch.inference_mode():
            return denoising_loss(
                pipeline, scheduler, pixels, ids.expand(32, -1), torch.Generator().manual_seed(7)
            ).item()

    assert loss(tmp_path / "output/checkpoint-20") < 0.97 * loss(base_model)


def test_the_text_encoder_stays_as_it_is_where_it_is_not_trained(
    photograph: Path, settings: PersonalizationSettings, base_model: Path, tmp_path: Path
) -> None:
    frozen = dataclasses.replace(settings, train_text_encoder=False, steps=2)
    personalize(image=photograph, output=tmp_path / "output", settings=frozen, seed=1)
    checkpoint = tmp_path / "output/checkpoint-2"
    assert sha256(checkpoint / WEIGHTS[1]) == sha256(base_model / WEIGHTS[1])
    assert sha256(checkpoint / WEIGHTS[0]) != sha256(base_model / WEIGHTS[0])


def test_gradient_checkpointing_leads_to_the_same_weights(
    photograph: Path, settings: PersonalizationSettings, finished: Path, tmp_path: Path
) -> None:
    checkpointing = dataclasses.replace(settings, gradient_checkpointing=True, steps=2)
    personalize(image=photograph, output=tmp_path / "output", settings=checkpointing, seed=1)
    for file in WEIGHTS:
        weights = load_file(tmp_path / "output/checkpoint-2" / file)
        for name, expected in load_file(finished / "checkpoint-2" / file).items():
            torch.testing.assert_close(weights[name], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_the_error_of_the_predicted_noise_or_velocity(prediction: str) -> None:
    pipeline = untrained_pipeline(seed=3)
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config, prediction_type=prediction)
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    ids = pipeline.tokenizer(["a car"] * 2, padding="max_length", return_tensors="pt").input_ids
    loss = denoising_loss(pipeline, scheduler, pixels, ids, torch.Generator().manual_seed(5))

    generator = torch.Generator().manual_seed(5)
    posterior = pipeline.vae.encode(pixels).latent_dist
    latents = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=generator)
    latents = latents * pipeline.vae.config.scaling_factor
    noise = torch.randn(latents.shape, generator=generator)
    timesteps = torch.randint(0, 1000, (2,), generator=generator)
    signal_share = scheduler.alphas_cumprod[timesteps].sqrt()[:, None, None, None]
    noise_share = (1 - scheduler.alphas_cumprod[timesteps]).sqrt()[:, None, None, None]
    noisy = signal_share * latents + noise_share * noise
    states = pipeline.text_encoder(ids).last_hidden_state
    predicted = pipeline.unet(noisy, timesteps, encoder_hidden_states=states).sample
    target = noise if prediction == "epsilon" else signal_share * noise - noise_share * latents
    assert loss.item() == pytest.approx((predicted - target).square().mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 64}, "personalization.crop=64: the image is resized to a short side of only 48"),
        ({"crop": 36}, "personalization.crop=36: expected a multiple of 8"),
        ({"steps": 0}, "personalization.steps=0: expected 1 or more"),
        ({"instance_prompt": " "}, "personalization.instance_prompt: is empty"),
        ({"instance_prompt": "a photo " * 20}, "personalization.instance_prompt: found 42 tokens"),
        ({"base_model": "absent"}, "--base-model absent"),
    ],
)
def test_bad_settings_are_named_and_nothing_is_written(
    photograph: Path,
    settings: PersonalizationSettings,
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        personalize(
            image=photograph,
            output=tmp_path / "output",
            settings=dataclasses.replace(settings, **change),
            seed=1,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_base_model_with_damaged_weights_is_named_and_nothing_is_written(
    photograph: Path, settings: PersonalizationSettings, base_model: Path, tmp_path: Path
) -> None:
    damaged = shutil.copytree(base_model, tmp_path / "damaged")
    weights = damaged / WEIGHTS[0]
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match=f"--base-model {damaged}: cannot be loaded") as raised:
        personalize(
            image=photograph,
            output=tmp_path / "output",
            settings=dataclasses.replace(settings, base_model=str(damaged)),
            seed=1,
        )
    assert "\n" not in str(raised.value)
    assert [file.name for file in tmp_path.iterdir()] == ["damaged"]


def test_a_hub_model_that_is_not_at_hand_is_named_with_the_remedy(
    photograph: Path, settings: PersonalizationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="hf download nobody/nothing") as raised:
        personalize(
            image=photograph,
            output=tmp_path / "output",
            settings=dataclasses.replace(settings, base_model="nobody/nothing"),
            seed=1,
        )
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "output.partial").exists()
