"""The folder of one seed's run: both checkpoints scored, and all parts beside them."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from datum.config import EvaluationSettings
from datum.evaluation.seed_run import evaluate_seed_run
from datum.outputs import sha256
from datum.segmentation.checkpoints import open_checkpoint
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor, save_segmentor
from datum.streetscenes.drawing import write_cityscapes

DESCRIPTION = {"seed": 1, "method": "daformer"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A validation set, an untrained network as best and another as last, a photograph and an image."""
    folder = tmp_path_factory.mktemp("parts")
    write_cityscapes(folder / "target", train_seeds=range(0), val_seeds=range(200, 202), height=64, width=64)
    (folder / "segmentor").mkdir()
    for seed, name in enumerate(("best", "last")):
        torch.manual_seed(seed)
        segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=16))
        save_segmentor(folder / "segmentor" / f"{name}.safetensors", segmentor, {})
    (folder / "generated").mkdir()
    for file in ("photograph.png", "generated/im_0.png"):
        Image.new("RGB", (8, 8), "red").save(folder / file)
    return folder


def evaluate(parts: Path, output: Path, generated: bool = True) -> dict[str, float]:
    return evaluate_seed_run(
        output=output,
        segmentor=parts / "segmentor",
        one_shot=parts / "photograph.png",
        generated=parts / "generated" if generated else None,
        dataset=parts / "target",
        settings=EvaluationSettings(scale=(64, 64)),
        description=DESCRIPTION,
        export=generated,
    )


def test_both_checkpoints_are_scored_and_all_parts_lie_in_one_folder(parts: Path, tmp_path: Path) -> None:
    miou = evaluate(parts, tmp_path / "run")
    for checkpoint, folder in (("best", "evaluation"), ("last", "evaluation_last")):
        metrics = json.loads((tmp_path / "run" / folder / "metrics.json").read_text())
        assert miou[f"miou_{checkpoint}"] == metrics["miou"]["19"]
        assert metrics["checkpoint_sha256"] == sha256(parts / "segmentor" / f"{checkpoint}.safetensors")
    for copy, original in (
        ("one_shot.png", "photograph.png"),
        ("generated/im_0.png", "generated/im_0.png"),
        ("segmentor/best.safetensors", "segmentor/best.safetensors"),
    ):
        assert (tmp_path / "run" / copy).read_bytes() == (parts / original).read_bytes()
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == DESCRIPTION
    theirs, ours = (
        open_checkpoint(file).segmentor.state_dict()
        for file in (tmp_path / "run" / "mmcv.pth", parts / "segmentor" / "best.safetensors")
    )
    assert all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())


def test_parts_that_lie_in_the_folder_already_stay_as_they_are(parts: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    evaluate(parts, run)
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*") if file.is_file()}
    evaluate_seed_run(
        output=run,
        segmentor=run / "segmentor",
        one_shot=run / "one_shot.png",
        generated=run / "generated",
        dataset=parts / "target",
        settings=EvaluationSettings(scale=(64, 64)),
        description=DESCRIPTION,
        export=True,
    )
    after = {file: file.stat().st_mtime_ns for file in run.rglob("*") if file.is_file()}
    assert {file for file in after if before.get(file) != after[file]} <= {run / "run.json"}
    assert set(after) == set(before)


def test_a_baseline_has_no_generated_images(parts: Path, tmp_path: Path) -> None:
    evaluate(parts, tmp_path / "run", generated=False)
    assert not (tmp_path / "run" / "generated").exists()
    assert not (tmp_path / "run" / "mmcv.pth").exists()
    assert (tmp_path / "run" / "run.json").is_file()
