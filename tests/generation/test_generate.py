import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from datum.errors import InputError
from datum.formats.generated import read_manifest, read_rejected
from datum.generation import shard as stage
from datum.generation.generate import generate
from datum.generation.shards import merge_shards
from datum.generation_settings import GenerationSettings
from datum.outputs import sha256

KILLED_RUN = """
import json, os, signal, sys
from pathlib import Path
from datum.generation_settings import GenerationSettings
from datum.generation import generate, shard

arguments = json.loads(sys.argv[1])
calls = 0
append_image = shard.append_image

def killed_at_the_fourth_image(folder, image):
    global calls
    calls += 1
    if calls == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    append_image(folder, image)

shard.append_image = killed_at_the_fourth_image
settings = GenerationSettings(**arguments["settings"])
generate.generate(
    model=Path(arguments["model"]),
    output=Path(arguments["output"]),
    settings=settings,
    seed=1,
    state_uri=arguments.get("state"),
)
"""


@pytest.fixture(scope="module")
def finished(model: Path, settings: GenerationSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an uninterrupted, unsharded run with seed 1."""
    output = tmp_path_factory.mktemp("finished") / "output"
    generate(model=model, output=output, settings=settings, seed=1)
    return output


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the record of when, where and by what they were made."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "provenance.json"
    }


def test_images_cycle_through_the_prompts_and_the_manifest_names_them(
    finished: Path, model: Path, settings: GenerationSettings
) -> None:
    images = read_manifest(finished)
    assert [image.file for image in images] == [f"images/im_{j}_p{j % 2}.png" for j in range(7)]
    assert [image.prompt for image in images[:3]] == [
        "a photo of sks cars",
        "a photo of sks vegetation",
        "a photo of sks cars",
    ]
    assert len({image.seed for image in images}) == len({image.sha256 for image in images}) == 7
    assert {image.redrawn for image in images} == {0}
    with Image.open(finished / images[6].file) as picture:
        assert picture.mode == "RGB"
        assert picture.size == (32, 32)
    assert len(list((finished / "images").iterdir())) == 7


def test_the_pipeline_alone_draws_the_same_image_from_the_seed_in_the_manifest(
    finished: Path, model: Path, settings: GenerationSettings
) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(model / "checkpoint-100")
    pipeline.set_progress_bar_config(disable=True)
    for image in read_manifest(finished)[4:]:
        alone = pipeline(
            image.prompt,
            generator=torch.Generator().manual_seed(image.seed),
            height=32,
            width=32,
            num_inference_steps=2,
            guidance_scale=3.0,
        ).images[0]
        drawn = np.asarray(Image.open(finished / image.file)).astype(int)
        # A batch of one rounds differently from a batch of two.
        assert np.abs(drawn - np.asarray(alone)).max() <= 1


def test_an_image_depends_neither_on_the_count_nor_on_the_images_after_it(
    finished: Path, model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    fewer = dataclasses.replace(settings, count=3)
    generate(model=model, output=tmp_path / "output", settings=fewer, seed=1)
    images = contents(tmp_path / "output/images")
    assert len(images) == 3
    for name, content in images.items():
        assert (finished / "images" / name).read_bytes() == content


def test_another_seed_draws_other_images(
    finished: Path, model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    fewer = dataclasses.replace(settings, count=2)
    generate(model=model, output=tmp_path / "output", settings=fewer, seed=2)
    digests = {image.sha256 for image in read_manifest(tmp_path / "output")}
    assert digests.isdisjoint(image.sha256 for image in read_manifest(finished))


def test_a_killed_run_started_again_gives_the_same_bytes(
    finished: Path, model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    output, partial = tmp_path / "output", tmp_path / "output.partial"
    run_and_kill(model, settings, output)
    assert not output.exists()
    assert len((partial / "manifest.jsonl").read_text().splitlines()) == 3
    assert len(list((partial / "images").iterdir())) == 4
    # Worse than the kill alone: a damaged image and half a line.
    (partial / "images/im_1_p1.png").write_bytes(b"damaged")
    with (partial / "manifest.jsonl").open("a") as stream:
        stream.write('{"index": 3, "prompt": "a pho')
    kept = (partial / "images/im_0_p0.png").stat().st_mtime_ns
    generate(model=model, output=output, settings=settings, seed=1)
    assert contents(output) == contents(finished)
    assert (output / "images/im_0_p0.png").stat().st_mtime_ns == kept
    assert not partial.exists()


def test_a_killed_run_goes_on_on_another_machine_from_the_images_in_the_store(
    finished: Path, model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    run_and_kill(model, settings, tmp_path / "first machine" / "output", state=state.as_uri())
    kept = {file: file.stat().st_mtime_ns for file in state.rglob("*.png")}
    assert len(kept) == 3
    # Worse than the kill alone: one that is damaged is drawn again.
    damaged = kept.popitem()[0]
    damaged.write_bytes(b"damaged")
    output = tmp_path / "second machine" / "output"
    generate(model=model, output=output, settings=settings, seed=1, state_uri=state.as_uri())
    assert contents(output) == contents(finished)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert damaged.read_bytes() == (output / "images" / damaged.name).read_bytes()


def run_and_kill(model: Path, settings: GenerationSettings, output: Path, state: str | None = None) -> None:
    """Starts the generation in a process of its own, which is killed at the fourth image."""
    arguments = {
        "model": str(model),
        "output": str(output),
        "settings": dataclasses.asdict(settings),
        "state": state,
    }
    process = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, json.dumps(arguments)],
        # The same number of threads as here: sums round by it.
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()


def test_a_complete_output_is_left_alone_and_another_runs_output_is_refused(
    finished: Path, model: Path, settings: GenerationSettings
) -> None:
    before = (finished / "manifest.jsonl").stat().st_mtime_ns
    generate(model=model, output=finished, settings=settings, seed=1)
    assert (finished / "manifest.jsonl").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="already holds something else"):
        generate(model=model, output=finished, settings=settings, seed=2)


def test_an_image_that_the_safety_checker_blackens_is_drawn_again(
    checked_model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    generate(model=checked_model, output=tmp_path / "output", settings=settings, seed=1)
    images = read_manifest(tmp_path / "output")
    redrawn = [image for image in images if image.redrawn > 0]
    assert 0 < len(redrawn) < 7
    assert all(np.asarray(Image.open(tmp_path / "output" / image.file)).any() for image in images)
    # Drawn on its own, so the pipeline alone gives the same pixels.
    pipeline = StableDiffusionPipeline.from_pretrained(checked_model, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(redrawn[0].seed)
    alone = pipeline(
        redrawn[0].prompt,
        generator=generator,
        height=32,
        width=32,
        num_inference_steps=2,
        guidance_scale=3.0,
    ).images[0]
    drawn = Image.open(tmp_path / "output" / redrawn[0].file)
    assert np.array_equal(np.asarray(drawn), np.asarray(alone))


def test_a_prompt_that_the_safety_checker_always_rejects_is_named(
    rejecting_model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError, match=r"rejected 2 of 7 images 10 times each, .*'a photo of sks vegetation'"
    ):
        generate(model=rejecting_model, output=tmp_path / "output", settings=settings, seed=1)
    assert not (tmp_path / "output").exists()


def test_an_image_that_the_checker_rejects_in_every_try_is_left_out_and_listed(
    checked_model: Path, settings: GenerationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "MOST_DRAWS", 2)
    monkeypatch.setattr(stage, "MOST_REJECTED", 1.0)
    generate(model=checked_model, output=tmp_path / "whole", settings=settings, seed=1)
    drawn = {image.index for image in read_manifest(tmp_path / "whole")}
    rejected = {image.index for image in read_rejected(tmp_path / "whole")}
    assert drawn and rejected
    assert sorted([*drawn, *rejected]) == list(range(7))
    assert len(list((tmp_path / "whole/images").iterdir())) == len(drawn)
    shards = [tmp_path / "shard1", tmp_path / "shard2"]
    for number, shard in enumerate(shards, start=1):
        generate(model=checked_model, output=shard, settings=settings, seed=1, shard=(number, 2))
    merge_shards(shards, tmp_path / "merged")
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")


def test_unfinished_work_goes_on_with_another_batch_size(
    model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    run_and_kill(model, settings, output)
    images = tmp_path / "output.partial/images"
    times = {file.name: file.stat().st_mtime_ns for file in images.iterdir()}
    larger = dataclasses.replace(settings, batch_size=3)
    # Of two shards, the first one has other images now: 0 to 2 and 6.
    record = json.loads((tmp_path / "output.partial/provenance.json").read_text())
    (tmp_path / "output.partial/provenance.json").write_text(json.dumps({**record, "shard": [1, 2]}))
    generate(model=model, output=output, settings=larger, seed=1, shard=(1, 2))
    assert [image.index for image in read_manifest(output)] == [0, 1, 2, 6]
    names = {file.name: file.stat().st_mtime_ns for file in (output / "images").iterdir()}
    assert set(names) == {f"im_{index}_p{index % 2}.png" for index in (0, 1, 2, 6)}
    assert {name: names[name] for name in ("im_0_p0.png", "im_1_p1.png", "im_2_p0.png")} == {
        name: times[name] for name in ("im_0_p0.png", "im_1_p1.png", "im_2_p0.png")
    }


def test_a_pipeline_folder_is_taken_as_it_is(
    finished: Path, model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    other_step = dataclasses.replace(settings, count=2, checkpoint_step=999)
    generate(model=model / "checkpoint-100", output=tmp_path / "output", settings=other_step, seed=1)
    first, second = read_manifest(tmp_path / "output")
    assert [first.sha256, second.sha256] == [image.sha256 for image in read_manifest(finished)[:2]]


def test_an_unknown_checkpoint_is_refused_with_those_there_are(
    model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"checkpoint_step=60: .* expected one of 20, 100"):
        generate(
            model=model,
            output=tmp_path / "output",
            settings=dataclasses.replace(settings, checkpoint_step=60),
            seed=1,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "shard", "message"),
    [
        ({"count": 0}, (1, 1), r"generation\.count=0: expected 1 or more"),
        ({"batch_size": 0}, (1, 1), r"generation\.batch_size=0: expected 1 or more"),
        ({"size": 30}, (1, 1), r"generation\.size=30: expected a multiple of 8"),
        ({"prompt_template": "a photo " * 20}, (1, 1), r"generation\.prompt_template: found 42 tokens"),
        ({}, (3, 2), "--shard 3/2: expected I/K with I from 1 to K"),
        ({}, (0, 2), "--shard 0/2"),
    ],
)
def test_bad_settings_are_named_and_nothing_is_written(
    model: Path,
    settings: GenerationSettings,
    tmp_path: Path,
    change: dict[str, Any],
    shard: tuple[int, int],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        generate(
            model=model,
            output=tmp_path / "output",
            settings=dataclasses.replace(settings, **change),
            seed=1,
            shard=shard,
        )
    assert list(tmp_path.iterdir()) == []


def test_unusable_models_are_named_and_nothing_is_written(
    pipeline_folder: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    empty, damaged = tmp_path / "empty", tmp_path / "damaged"
    empty.mkdir()
    shutil.copytree(pipeline_folder, damaged)
    weights = damaged / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    messages = {
        tmp_path / "absent": "absent: no such folder",
        empty: "empty: found neither model_index.json nor checkpoint-<step> folders",
        damaged: "damaged: cannot be loaded as a StableDiffusionPipeline",
    }
    for folder, message in messages.items():
        with pytest.raises(InputError, match=message) as raised:
            generate(model=folder, output=tmp_path / "output", settings=settings, seed=1)
        assert "\n" not in str(raised.value)
    assert {file.name for file in tmp_path.iterdir()} == {"empty", "damaged"}


def test_the_manifest_names_the_pipeline_by_its_content(
    finished: Path, model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    copy = shutil.copytree(model / "checkpoint-100", tmp_path / "copy")
    fewer = dataclasses.replace(settings, count=1)
    generate(model=copy, output=tmp_path / "same", settings=fewer, seed=1)
    tokenizer = copy / "tokenizer/tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    generate(model=copy, output=tmp_path / "changed", settings=fewer, seed=1)
    expected = read_manifest(finished)[0].model
    assert read_manifest(tmp_path / "same")[0].model == expected
    assert read_manifest(tmp_path / "changed")[0].model != expected
    assert sha256(tmp_path / "same/images/im_0_p0.png") == read_manifest(finished)[0].sha256
