"""One clear line for every kind of bad input that a command may meet, and nothing written."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum import cli
from datum.config import load_settings
from datum.evaluation.seed_run import evaluate_seed_run
from datum.streetscenes.drawing import write_cityscapes, write_gta


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good input for every command: data sets, a one-shot image, target images and a finished run."""
    world = tmp_path_factory.mktemp("whole")
    write_gta(world / "gta", seeds=range(4), height=64, width=96)
    write_cityscapes(
        world / "cityscapes", train_seeds=range(100, 102), val_seeds=range(200, 202), height=64, width=96
    )
    cli.main(["convert", "gta", str(world / "gta"), "--workers", "1"])
    image = sorted((world / "cityscapes" / "leftImg8bit" / "train").rglob("*.png"))[0]
    shutil.copy(image, world / "one_shot.png")
    images = world / "generated" / "images"
    images.mkdir(parents=True)
    shutil.copy(image, images / "im_0_p0.png")
    record = {"prompt": "a photo of sks cars", "file": "images/im_0_p0.png"}
    (world / "generated" / "manifest.jsonl").write_text(json.dumps(record) + "\n")
    cli.main(_words(world, COMMANDS["adapt"].replace("/output", "/segmentor")))
    evaluate_seed_run(
        output=world / "run",
        segmentor=world / "segmentor",
        one_shot=world / "one_shot.png",
        generated=world / "generated",
        dataset=world / "cityscapes",
        settings=load_settings("demo").evaluation,
        description={
            "seed": 1,
            "benchmark": "gta-to-cityscapes",
            "method": "daformer",
            "encoder": "mit-b0",
            "profile": "demo",
        },
    )
    return world


@pytest.fixture
def world(whole: Path, tmp_path: Path) -> Path:
    """A copy of the good input, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "world"))


COMMANDS = {
    "convert": "convert gta {world}/gta --workers 1",
    "personalize": "personalize --profile demo --image {world}/one_shot.png --output {world}/output",
    "generate": "generate --profile demo --model {world}/model --output {world}/output",
    "adapt": "adapt --profile demo --encoder mit-b0 --source {world}/gta --target {world}/generated "
    "--validation {world}/cityscapes --set adaptation.iterations=1 --set adaptation.crop=64 "
    "--set adaptation.initial_segmentor= --output {world}/output",
    "evaluate": "evaluate --profile demo --checkpoint {world}/segmentor/best.safetensors "
    "--dataset {world}/cityscapes --output {world}/output",
    "report": "report --run {world}/run --output {world}/output",
    "run": "run --source {world}/gta --target {world}/cityscapes --set run.seeds=[1] "
    "--set adaptation.iterations=1 --output {world}/output",
}


def remove(pattern: str) -> Callable[[Path], None]:
    def damage(world: Path) -> None:
        path = _first(world, pattern)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def truncate(pattern: str) -> Callable[[Path], None]:
    def damage(world: Path) -> None:
        file = _first(world, pattern)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    return damage


def empty(pattern: str) -> Callable[[Path], None]:
    def damage(world: Path) -> None:
        for file in world.glob(pattern):
            file.write_bytes(b"")

    return damage


def repaint(pattern: str, paint: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def damage(world: Path) -> None:
        file = _first(world, pattern)
        with Image.open(file) as image:
            pixels = np.array(image)
        Image.fromarray(paint(pixels)).save(file)

    return damage


def empty_folder(name: str) -> Callable[[Path], None]:
    def damage(world: Path) -> None:
        shutil.rmtree(world / name, ignore_errors=True)
        (world / name).mkdir(parents=True)

    return damage


def smaller(pixels: np.ndarray) -> np.ndarray:
    return pixels[::2, ::2]


def unknown_id(pixels: np.ndarray) -> np.ndarray:
    return np.where(np.arange(pixels.shape[1]) < 5, np.uint8(77), pixels)


def gray(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0]


def transparent(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels, pixels[..., :1]])


def nothing(world: Path) -> None:
    """No damage: what is wrong is in the further arguments."""


IMAGE = "gta/images/*.png"
GTA_LABEL = "gta/labels/*[0-9].png"
TRAIN_IDS = "gta/labels/*_labelTrainIds.png"
VAL_IMAGE = "cityscapes/leftImg8bit/val/*/*.png"
VAL_LABEL = "cityscapes/gtFine/val/*/*_gtFine_labelIds.png"
CASES: dict[str, list[tuple[Callable[[Path], None], str, str]]] = {
    "convert": [
        (remove("gta"), "", r"world/gta: no such folder"),
        (remove("gta/images"), "", r"gta/images: no such folder"),
        (remove(GTA_LABEL), "", r"\.png: its label is missing"),
        (repaint(GTA_LABEL, smaller), "", r"labels/\d+\.png: found 48x32 pixels, expected 96x64"),
        (repaint(GTA_LABEL, unknown_id), "", r"labels/\d+\.png: found label id 77"),
        (truncate(GTA_LABEL), "", r"labels/\d+\.png: cannot be read"),
        (truncate(IMAGE), "", r"images/\d+\.png: cannot be read"),
    ],
    "personalize": [
        (remove("one_shot.png"), "", r"one_shot\.png: no such file"),
        (truncate("one_shot.png"), "", r"one_shot\.png: cannot be read as an image"),
        (repaint("one_shot.png", gray), "", r"one_shot\.png: found mode L, expected RGB"),
        (repaint("one_shot.png", transparent), "", r"one_shot\.png: found mode RGBA, expected RGB"),
        (empty_folder("model"), "--base-model {world}/model", r"model: found a folder without model_index"),
        (nothing, "--base-model {world}/nowhere", r"nowhere: found no such folder"),
        (nothing, "--set personalization.stepz=1", r"unknown setting .*'stepz'; did you mean steps"),
        (nothing, "--set personalisation.steps=1", r"unknown stage .*did you mean personalization"),
        (
            nothing,
            "--set personalization.steps=many",
            r"steps: found 'many', expected a whole number",
        ),
        (nothing, "--state ftp://somewhere", r"ftp://somewhere.*: unknown scheme"),
        (nothing, "--output {world}/one_shot.png", r"--output .*one_shot\.png: already holds something else"),
        (nothing, "--output {world}/one_shot.png/x", r"one_shot\.png is no folder"),
    ],
    "generate": [
        (nothing, "", r"world/model: no such folder"),
        (empty_folder("model"), "", r"world/model: found neither model_index\.json nor checkpoint"),
        (nothing, "--set generation.prompt_classes=[unicorns]", r"unknown class 'unicorns'; expected"),
        (nothing, "--set generation.prompt_classes=[car,bycicle]", r"did you mean bicycle\?"),
        (nothing, "--set generation.prompt_classes=[]", r"generation\.prompt_classes: is empty"),
        (nothing, "--set generation.prompt_template={{d}}", r"generation\.prompt_template"),
        (nothing, "--count 0", r"generation\.count=0: expected 1 or more"),
    ],
    "adapt": [
        (remove("gta"), "", r"world/gta: no such folder"),
        (remove("gta/sample_class_stats.json"), "", r"sample_class_stats\.json is missing"),
        (remove("generated"), "", r"world/generated: no such file or folder"),
        (empty_folder("generated"), "", r"--target .*world/generated: holds no image"),
        (remove("cityscapes"), "", r"world/cityscapes: no such folder; expected Cityscapes"),
        (remove(TRAIN_IDS), "", r"images/\d+\.png: no converted label"),
        (remove(VAL_LABEL), "", r"_leftImg8bit\.png: its label is missing"),
        (repaint(TRAIN_IDS, smaller), "", r"_labelTrainIds\.png: found 48x32 pixels, expected 96x64"),
        (repaint(VAL_LABEL, smaller), "", r"_gtFine_labelIds\.png: found 48x32 pixels, expected 96x64"),
        (repaint(TRAIN_IDS, unknown_id), "", r"_labelTrainIds\.png: found id 77, expected train ids"),
        (
            repaint(VAL_LABEL, unknown_id),
            "",
            r"_labelIds\.png: found label id 77, expected ids of Cityscapes, from 0 to 34",
        ),
        (truncate(IMAGE), "", r"images/\d+\.png: cannot be read as an image \(truncated PNG"),
        (truncate("generated/images/*.png"), "", r"im_0_p0\.png: cannot be read as an image \(truncated PNG"),
        (repaint("generated/images/*.png", gray), "", r"im_0_p0\.png: mode L, expected an RGB image"),
        (
            repaint("one_shot.png", gray),
            "--method one-image --target {world}/one_shot.png",
            r"one_shot\.png: mode L, expected an RGB image",
        ),
        (nothing, "--set adaptation.crop=0", r"adaptation\.crop=0: expected 1 or more"),
        (
            nothing,
            "--set adaptation.pretrained_encoder={world}/none.pth",
            r"none\.pth",
        ),
    ],
    "evaluate": [
        (remove("segmentor/best.safetensors"), "", r"best\.safetensors: no such file"),
        (truncate("segmentor/best.safetensors"), "", r"best\.safetensors: "),
        (remove("cityscapes"), "", r"world/cityscapes: no such folder; expected Cityscapes"),
        (empty_folder("cityscapes/leftImg8bit/val"), "", r"cityscapes/leftImg8bit/val: found no file named"),
        (remove(VAL_LABEL), "", r"_leftImg8bit\.png: its label is missing"),
        (repaint(VAL_LABEL, smaller), "", r"_gtFine_labelIds\.png: found 48x32 pixels, expected 96x64"),
        (repaint(VAL_LABEL, unknown_id), "", r"_gtFine_labelIds\.png: found label id 77"),
        (truncate(VAL_IMAGE), "", r"_leftImg8bit\.png: cannot be read"),
        (truncate(VAL_LABEL), "", r"_gtFine_labelIds\.png: cannot be read"),
        (nothing, "--set evaluation.batch_size=two", r"evaluation\.batch_size: found 'two'"),
        (nothing, "--set evaluation.batch_size=0", r"evaluation\.batch_size=0: expected 1 or more"),
    ],
    "report": [
        (remove("run"), "", r"world/run: no such folder"),
        (remove("run/run.json"), "", r"run/run\.json: missing"),
        (remove("run/evaluation/metrics.json"), "", r"metrics\.json: missing"),
        (truncate("run/evaluation/metrics.json"), "", r"metrics\.json: is not JSON"),
        (empty("run/segmentor/*.safetensors"), "", r"metrics\.json: scores a checkpoint"),
        (truncate("run/one_shot.png"), "", r"run/one_shot\.png"),
        (remove("run/generated/images/*.png"), "", r"im_0_p0\.png"),
        (truncate("run/generated/images/*.png"), "", r"im_0_p0\.png"),
        (nothing, "--run {world}/run", r"has seed 1, as has"),
    ],
    "run": [
        (remove("gta"), "", r"world/gta: no such folder"),
        (remove("cityscapes"), "", r"world/cityscapes: no such folder"),
        (empty_folder("cityscapes"), "", r"cityscapes/leftImg8bit/train: no such folder"),
        (empty_folder("cityscapes/leftImg8bit/train"), "", r"leftImg8bit/train: found no file"),
        (remove(GTA_LABEL), "", r"\.png: its label is missing"),
        (remove(VAL_LABEL), "", r"_leftImg8bit\.png: its label is missing"),
        (repaint(GTA_LABEL, smaller), "", r"labels/\d+\.png: found 48x32 pixels"),
        (repaint(GTA_LABEL, unknown_id), "", r"labels/\d+\.png: found label id 77"),
        (repaint(VAL_LABEL, unknown_id), "", r"_labelIds\.png: found label id 77"),
        (truncate(GTA_LABEL), "", r"labels/\d+\.png: cannot be read"),
        (truncate(IMAGE), "", r"images/\d+\.png: cannot be read"),
        (repaint("one_shot.png", gray), "--one-shot {world}/one_shot.png", r"one_shot\.png: found mode L"),
        (
            nothing,
            "--one-shot a.png --one-shot b.png",
            r"one-shot images: found 2 named images for 1 seeds, expected one",
        ),
        (empty_folder("model"), "--base-model {world}/model", r"model: found a folder without model_index"),
        (nothing, "--set generation.prompt_classes=[unicorns]", r"unknown class 'unicorns'"),
        (nothing, "--set generation.checkpoint_step=7", r"generation\.checkpoint_step=7: personalization"),
        (nothing, "--set run.encoder=mit-b9", r"run\.encoder: found 'mit-b9', expected one of"),
        (nothing, "--set run.seeds=[1,1]", r"run\.seeds: found \[1, 1\]"),
        (
            nothing,
            "--one-shot-protocol sm-ppm --set run.seeds=[1,2]",
            r"one-shot protocol sm-ppm: found 2 seeds, expected a multiple of 5",
        ),
        (
            nothing,
            "--one-shot-protocol sm-ppm --set run.seeds=[1,2,3,4,5]",
            r"one-shot protocol sm-ppm: aachen/aachen_\d+_000019_leftImg8bit\.png is not in "
            r".*/cityscapes/leftImg8bit/train; name Cityscapes",
        ),
        (
            nothing,
            "--one-shot-protocol sm-ppm --one-shot {world}/one_shot.png",
            r"--one-shot: names images, and so does --one-shot-protocol",
        ),
        (nothing, "--set run.shards=9", r"run\.shards: found 9, expected 1 to 8"),
        (nothing, "--output {world}/one_shot.png", r"--output .*one_shot\.png"),
    ],
}


@pytest.mark.parametrize(
    "command, damage, further, message",
    [
        pytest.param(command, *case, id=f"{command}: {case[2]}")
        for command, cases in CASES.items()
        for case in cases
    ],
)
def test_bad_input_ends_with_one_line_and_writes_nothing(
    command: str,
    damage: Callable[[Path], None],
    further: str,
    message: str,
    world: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(world)
    before = _tree(world.parent)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main(_words(world, f"{COMMANDS[command]} {further}"))
    assert end.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    (line,) = (line for line in lines if not re.match(r"check \w+: (\d+)/\1 labels", line))
    assert re.search(message, line)
    assert _tree(world.parent) == before


def test_a_source_without_a_target_is_refused(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["run", "--source", str(world / "gta"), "--output", str(world / "output")])
    assert end.value.code == 2
    assert "--target: not given" in capsys.readouterr().err
    assert not (world / "output").exists()


def test_the_installed_command_ends_with_the_same_status_and_line(world: Path) -> None:
    shutil.rmtree(world / "gta" / "images")
    before = _tree(world)
    command = [str(Path(sys.executable).with_name("datum")), *_words(world, COMMANDS["convert"])]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "gta/images: no such folder" in ended.stderr
    assert _tree(world) == before


def _words(world: Path, command: str) -> list[str]:
    return [word.format(world=world) for word in command.split()]


def _first(world: Path, pattern: str) -> Path:
    return sorted(world.glob(pattern))[0]


def _tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of everything below `folder`."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}
