"""Drawings whose labels are known."""

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
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
)
from PIL import Image

from datum.cli import main
from datum.errors import InputError
from datum.formats.generated import read_manifest
from datum.formats.labeled import LabeledImage, read_dropped, read_labeled, read_labeled_manifest
from datum.generation.generate import generate
from datum.generation.shards import merge_shards
from datum.generation_settings import GenerationSettings
from datum.labels import CLASS_NAMES, TRAIN_ID_TO_COLOR
from datum.segmentation.checkpoints import open_checkpoint
from datum.segmentation.inference import predict_train_ids
from tests.base_models import untrained_controlnet
from tests.generation.conftest import labeled_source

KILLED_RUN = """
import json, os, signal, sys
from pathlib import Path
from datum.formats.labeled import LabeledImage
from datum.generation import shard
from datum.generation.generate import generate
from datum.generation_settings import GenerationSettings

arguments = json.loads(sys.argv[1])
calls = 0
append_image = shard.append_image

def killed_at_the_fourth_labeled_image(folder, image):
    global calls
    calls += isinstance(image, LabeledImage)
    if calls == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    append_image(folder, image)

shard.append_image = killed_at_the_fourth_labeled_image
settings = GenerationSettings(**arguments.pop("settings"))
paths = {name: Path(arguments[name]) for name in ("model", "output", "source")}
generate(**arguments | paths, settings=settings, seed=1)
"""


@pytest.fixture(scope="module")
def finished(
    model: Path, source: Path, labeled_settings: GenerationSettings, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The output of an uninterrupted, unsharded run with seed 1."""
    output = tmp_path_factory.mktemp("finished") / "output"
    generate(model=model, output=output, settings=labeled_settings, seed=1, source=source)
    return output


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the record of when, where and by what they were made."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "provenance.json"
    }


def all_drawings(output: Path) -> list[LabeledImage]:
    return [*read_labeled_manifest(output / "labeled"), *read_dropped(output / "labeled")]


def test_a_drawing_has_the_label_map_that_its_line_names_and_the_words_of_its_classes(
    finished: Path, source: Path
) -> None:
    assert sorted(image.index for image in all_drawings(finished)) == list(range(7))
    for image in read_labeled_manifest(finished / "labeled"):
        place = image.condition
        original = np.asarray(Image.open(source / "labels" / f"{Path(place.image).stem}_labelTrainIds.png"))
        cut = original[place.top : place.top + 32, place.left : place.left + 32]
        label = np.asarray(Image.open(finished / "labeled" / image.label))
        assert np.array_equal(label, cut)
        # More than 1 % of what is sampled for.
        assert np.count_nonzero(label == image.train_id) > 0.01 * label.size
        names = {0: "road", 10: "sky", 11: "persons", 13: "cars"}
        words = " ".join(names[i] for i in np.unique(label).tolist() if i != 255)
        assert image.prompt == f"a photo of sks urban scene with {words}"
        with Image.open(finished / "labeled" / image.file) as picture:
            assert (picture.mode, picture.size) == ("RGB", (32, 32))
    assert len(read_labeled(finished)) == len(read_labeled_manifest(finished / "labeled"))


def test_unlabeled_images_are_those_of_a_run_without_labels(
    finished: Path, model: Path, labeled_settings: GenerationSettings, tmp_path: Path
) -> None:
    without = dataclasses.replace(labeled_settings, labels="none")
    generate(model=model, output=tmp_path / "output", settings=without, seed=1)
    images = contents(tmp_path / "output")
    assert len(images) == 4
    assert {name: finished.joinpath(name).read_bytes() for name in images} == images
    noise = {image.seed for image in (*read_manifest(finished), *all_drawings(finished))}
    assert len(noise) == 3 + 7


def parts_of(model: Path, controlnet: Path) -> dict[str, Any]:
    pipeline = StableDiffusionPipeline.from_pretrained(model / "checkpoint-100")
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    network = ControlNetModel.from_pretrained(controlnet)
    return pipeline.components | {"controlnet": network, "scheduler": scheduler}


def test_diffusers_own_controlnet_pipeline_draws_the_same_images(
    finished: Path, model: Path, controlnet: Path
) -> None:
    pipeline = StableDiffusionControlNetPipeline(**parts_of(model, controlnet), requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    for image in read_labeled_manifest(finished / "labeled"):
        ids = np.array(Image.open(finished / "labeled" / image.label))
        ids[ids == 255] = 19
        alone = pipeline(
            image.prompt,
            image=torch.from_numpy(np.eye(20, dtype=np.float32)[ids]).permute(2, 0, 1)[None],
            generator=torch.Generator().manual_seed(image.seed),
            num_inference_steps=2,
            guidance_scale=7.5,
            controlnet_conditioning_scale=1.5,
        ).images[0]
        drawn = np.asarray(Image.open(finished / "labeled" / image.file)).astype(int)
        # A batch of one rounds differently from a batch of two.
        assert np.abs(drawn - np.asarray(alone)).max() <= 1


def test_with_a_palette_the_noised_source_image_is_the_start_as_diffusers_draws_it(
    model: Path,
    source: Path,
    colored_controlnet: Path,
    labeled_settings: GenerationSettings,
    tmp_path: Path,
) -> None:
    few = dataclasses.replace(
        labeled_settings, controlnet=str(colored_controlnet), judge="", count=1, labeled_count=3
    )
    generate(model=model, output=tmp_path / "output", settings=few, seed=1, source=source)
    pipeline = StableDiffusionControlNetImg2ImgPipeline(
        **parts_of(model, colored_controlnet), requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    images = read_labeled_manifest(tmp_path / "output/labeled")
    assert [image.agreement for image in images] == [None] * 3
    assert not (tmp_path / "output/labeled/gate.json").exists()
    for image in images:
        left, top = image.condition.left, image.condition.top
        start = Image.open(source / "images" / image.condition.image).convert("RGB")
        ids = np.array(Image.open(tmp_path / "output/labeled" / image.label))
        alone = pipeline(
            image.prompt,
            image=start.crop((left, top, left + 32, top + 32)),
            control_image=Image.fromarray(TRAIN_ID_TO_COLOR[ids]),
            generator=torch.Generator().manual_seed(image.seed),
            num_inference_steps=2,
            guidance_scale=9.0,
            controlnet_conditioning_scale=1.5,
            strength=0.6,
        ).images[0]
        drawn = np.asarray(Image.open(tmp_path / "output/labeled" / image.file)).astype(int)
        assert np.abs(drawn - np.asarray(alone)).max() <= 1


def test_the_condition_decides_what_is_drawn(
    finished: Path, model: Path, source: Path, labeled_settings: GenerationSettings, tmp_path: Path
) -> None:
    untrained_controlnet(20, seed=1).save_pretrained(tmp_path / "other")
    other = dataclasses.replace(labeled_settings, controlnet=str(tmp_path / "other"))
    generate(model=model, output=tmp_path / "output", settings=other, seed=1, source=source)
    digests = {image.sha256 for image in all_drawings(finished)}
    assert digests.isdisjoint(image.sha256 for image in all_drawings(tmp_path / "output"))


def test_four_shards_merged_are_byte_for_byte_the_unsharded_run(
    finished: Path, model: Path, source: Path, labeled_settings: GenerationSettings, tmp_path: Path
) -> None:
    shards = [tmp_path / f"shard{number}" for number in range(1, 5)]
    for number, shard in enumerate(shards, start=1):
        generate(
            model=model,
            output=shard,
            settings=labeled_settings,
            seed=1,
            source=source,
            shard=(number, 4),
        )
        assert not (shard / "labeled/dropped.jsonl").exists()
    merge_shards(shards, tmp_path / "merged")
    assert contents(tmp_path / "merged") == contents(finished)
    label = next((shards[1] / "labeled/labels").iterdir())
    label.write_bytes(label.read_bytes() + b"x")
    with pytest.raises(InputError, match=r"labelTrainIds\.png: is not the image of the manifest"):
        merge_shards(shards, tmp_path / "other")


def test_a_killed_run_goes_on_here_and_on_another_machine_to_the_same_bytes(
    finished: Path, model: Path, source: Path, labeled_settings: GenerationSettings, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    arguments = {
        "model": str(model),
        "output": str(tmp_path / "here/output"),
        "source": str(source),
        "settings": dataclasses.asdict(labeled_settings),
        "state_uri": state.as_uri(),
    }
    process = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, json.dumps(arguments)],
        # The same number of threads as here: sums round by it.
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    partial = tmp_path / "here/output.partial/labeled"
    assert len((partial / "manifest.jsonl").read_text().splitlines()) == 3
    # Worse than the kill alone: a damaged label.
    next((partial / "labels").iterdir()).write_bytes(b"damaged")
    for place in ("here", "there"):
        output = tmp_path / place / "output"
        generate(
            model=model,
            output=output,
            settings=labeled_settings,
            seed=1,
            source=source,
            state_uri=state.as_uri(),
        )
        assert contents(output) == contents(finished)


def test_agreement_is_the_share_of_each_class_that_the_judge_predicts(finished: Path, judge: Path) -> None:
    segmentor = open_checkpoint(judge).segmentor
    for image in read_labeled_manifest(finished / "labeled"):
        picture = np.asarray(Image.open(finished / "labeled" / image.file))
        label = np.asarray(Image.open(finished / "labeled" / image.label))
        found = predict_train_ids(segmentor, [picture], scale=(32, 32), output_size=(32, 32))[0]
        right = (found == label)[label != 255]
        assert image.agreement == pytest.approx(right.mean(), abs=1e-6)
        assert image.agreement_by_class is not None
        assert list(image.agreement_by_class) == [CLASS_NAMES[i] for i in np.unique(label) if i != 255]
        for name, share in image.agreement_by_class.items():
            of_class = label == CLASS_NAMES.index(name)
            assert share == pytest.approx((found == label)[of_class].mean(), abs=1e-6)


def test_the_gate_drops_of_each_sampled_class_those_that_the_judge_agrees_with_least(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, dropped = read_labeled_manifest(finished / "labeled"), read_dropped(finished / "labeled")
    for train_id in {image.train_id for image in (*kept, *dropped)}:
        stay = [image.mean_agreement() for image in kept if image.train_id == train_id]
        go = [image.mean_agreement() for image in dropped if image.train_id == train_id]
        assert len(go) == round(0.34 * len(stay + go))
        assert not go or max(go) <= min(stay)
    counts = json.loads((finished / "labeled/gate.json").read_text())
    assert (counts["kept"], counts["dropped"]) == (len(kept), len(dropped))
    assert len(dropped) > 0
    assert not any((finished / "labeled" / name).exists() for image in dropped for name in image.files())


def test_what_is_missing_or_does_not_fit_is_said_in_one_line_with_status_2(
    model: Path,
    source: Path,
    labeled_settings: GenerationSettings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wide = tmp_path / "wide"
    shutil.copytree(labeled_settings.controlnet, wide)
    config = json.loads((wide / "config.json").read_text())
    (wide / "config.json").write_text(json.dumps(config | {"cross_attention_dim": 768}))
    unequal = labeled_source(tmp_path / "unequal")
    Image.new("RGB", (50, 40)).save(unequal / "images/00001.png")
    void = tmp_path / "void"
    shutil.copytree(source, void)
    (void / "sample_class_stats.json").write_text(
        json.dumps([{"file": f"labels/0000{index}_labelTrainIds.png"} for index in range(4)])
    )
    for label in void.glob("labels/*_labelTrainIds.png"):
        Image.new("L", (56, 40), 255).save(label)
    small = labeled_source(tmp_path / "small", size=(40, 24))
    unconverted = shutil.copytree(source, tmp_path / "unconverted")
    (unconverted / "sample_class_stats.json").unlink()
    given = ["--source", str(source), "--controlnet", labeled_settings.controlnet]
    cases = {
        (): "--source: missing, expected a converted source data set",
        ("--source", str(source)): "--controlnet: missing, expected the ControlNet to draw with",
        (*given[:2], "--controlnet", str(wide)): "has cross_attention_dim=768, expected 96",
        (*given[2:], "--source", str(unequal)): "found 56x40 pixels, expected 50x40, the size of its image",
        (*given[2:], "--source", str(void)): "no label map holds any of the 19 classes",
        (*given[2:], "--source", str(small)): "found 40x24 pixels, expected 32x32 or more",
        (*given[2:], "--source", str(unconverted)): "sample_class_stats.json is missing",
        (*given[2:], "--source", str(tmp_path)): "found no source data set",
        (*given, "--judge", str(tmp_path / "absent")): "absent: no such file or folder",
        (*given, "--set", "generation.labeled_prompt=a {c}"): "expected a text in which {names} alone",
        (*given, "--set", "generation.labeled_strength=0.01"): "enough for one of the 20 steps",
        (*given, "--set", "generation.labeled_temperature=0"): "expected 1e-06 or more",
        (*given, "--set", "generation.labeled_dropped=1"): "expected at most 0.9",
        (*given, "--set", "generation.labeled_min_pixels=9999999"): "no class has more than 39062 pixels",
        (*given, "--set", f"generation.labeled_prompt={'a ' * 30}{{names}}"): "labeled_prompt: found",
    }
    command = ["generate", "--model", str(model), "--output", str(tmp_path / "output")]
    for key in ("checkpoint_step", "size", "labels"):
        command += ["--set", f"generation.{key}={getattr(labeled_settings, key)}"]
    for options, message in cases.items():
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*command, *options])
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert ended.value.code == 2, (options, error)
        assert message in error, options
        assert not (tmp_path / "output").exists() and not (tmp_path / "output.partial").exists()
