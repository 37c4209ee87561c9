"""`datum evaluate`: its scores against cityscapesScripts, its files, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datum.cli import main
from datum.config import EvaluationSettings
from datum.errors import InputError
from datum.evaluation.evaluate import evaluate, spread
from datum.formats.image_scores import image_score, read_image_scores
from datum.labels import CLASS_NAMES, LABEL_ID, LABEL_ID_TO_TRAIN_ID, TRAIN_ID_TO_COLOR
from datum.outputs import sha256
from datum.photographs import read_image
from datum.provenance import read_provenance
from datum.segmentation.checkpoints import method_tested_as
from datum.segmentation.iou import confusion_matrix
from datum.segmentation.mmcv_export import export_to_mmcv
from datum.segmentation.preprocess import to_tensor
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor, save_segmentor

SETTINGS = EvaluationSettings(scale=(96, 64), batch_size=2)
LABELED = ("road", "sidewalk", "building", "pole", "vegetation", "sky", "person", "car", "bicycle")
"""Classes in the drawn labels; the network predicts others too."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network fitted for a moment, so that it is right in part and predicts many classes."""
    folder = tmp_path_factory.mktemp("segmentor")
    data = write_validation_set(folder / "data", [(64, 96)] * 4)
    images = to_tensor([read_image(file) for file in sorted(data.glob("leftImg8bit/val/*/*.png"))])
    labels = np.stack([np.array(Image.open(file)) for file in sorted(data.glob("gtFine/val/*/*.png"))])
    # It learns to call cars trucks: truck is then a class that is only predicted.
    labels[labels == LABEL_ID["car"]] = LABEL_ID["truck"]
    truth = torch.from_numpy(LABEL_ID_TO_TRAIN_ID[labels]).long()[:, ::4, ::4]
    torch.manual_seed(0)
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=16))
    optimizer = torch.optim.AdamW(segmentor.parameters(), lr=1e-3)
    for _ in range(25):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(segmentor(images), truth, ignore_index=255).backward()
        optimizer.step()
    save_segmentor(folder / "best.safetensors", segmentor, {})
    return folder / "best.safetensors"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_validation_set(tmp_path / "cityscapes", [(64, 96), (64, 96), (64, 96), (48, 80), (64, 96)])


def write_validation_set(root: Path, sizes: list[tuple[int, int]]) -> Path:
    """Patches of random classes and void, with colors that go with the class."""
    for index, (height, width) in enumerate(sizes):
        random = np.random.default_rng(index)
        ids = [0, 1, 4, 34, *(LABEL_ID[name] for name in LABELED)]
        patches = random.choice(ids, (height // 16, width // 16)).astype(np.uint8)
        label = patches.repeat(16, 0).repeat(16, 1)
        noise = random.integers(-60, 60, (height, width, 3))
        image = np.clip(TRAIN_ID_TO_COLOR[LABEL_ID_TO_TRAIN_ID[label]] + noise, 0, 255).astype(np.uint8)
        city = ("aachen", "bonn")[index % 2]
        name = f"{city}_{index:06d}_000019"
        save(root / "leftImg8bit" / "val" / city / f"{name}_leftImg8bit.png", image)
        save(root / "gtFine" / "val" / city / f"{name}_gtFine_labelIds.png", label)
    return root


def save(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def run_cityscapes_scripts(dataset: Path, predictions: Path, export: Path) -> dict:
    """cityscapesScripts' own pixel-level evaluation, as a process of its own."""
    export.mkdir()
    # The instance scores need instance ids, which the data sets here do not have.
    program = (
        "import cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling as e;"
        "e.args.evalInstLevelScore = False; e.args.quiet = True; e.main()"
    )
    environment = os.environ | {
        "CITYSCAPES_DATASET": str(dataset),
        "CITYSCAPES_RESULTS": str(predictions),
        "CITYSCAPES_EXPORT_DIR": str(export),
    }
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)
    return json.loads((export / "resultPixelLevelSemanticLabeling.json").read_text())


@pytest.mark.parametrize("two", [True, False])
def test_a_network_of_two_resolutions_is_tested_as_hrda_is_unless_it_is_said_otherwise(
    two: bool, tmp_path: Path
) -> None:
    config = SegmentorConfig(encoder="resnet-18-half", head_channels=8, multi_resolution=two, detail_crop=32)
    save_segmentor(tmp_path / "best.safetensors", build_segmentor(config), {})
    dataset = write_validation_set(tmp_path / "data", [(16, 32)])
    command = ["evaluate", "--profile", "demo", "--checkpoint", str(tmp_path), "--dataset", str(dataset)]

    def tested(name: str, *further: str) -> tuple[object, object]:
        main([*command, "--output", str(tmp_path / name), *further])
        settings = read_provenance(tmp_path / name)["settings"]
        return settings["scale"], settings["slide_crop"]

    assert tested("told") == (([1024, 256], 1024) if two else ([512, 128], None))
    assert tested("scale", "--set", "evaluation.scale=[64,32]") == ([64, 32], 1024 if two else None)
    assert tested("method", "--set", "run.method=daformer") == ([512, 128], None)


@pytest.mark.parametrize("two, method", [(True, "hrda"), (False, "daformer")])
def test_a_published_file_says_by_its_weights_how_it_is_tested(
    two: bool, method: str, tmp_path: Path
) -> None:
    config = SegmentorConfig(encoder="mit-b0", head_channels=4, multi_resolution=two)
    save_segmentor(tmp_path / "last.safetensors", build_segmentor(config), {})
    export_to_mmcv(checkpoint=tmp_path / "last.safetensors", output=tmp_path / "latest.pth")
    before = _bytes_read()
    assert method_tested_as(tmp_path / "latest.pth", "--checkpoint") == method
    assert _bytes_read() - before < (tmp_path / "latest.pth").stat().st_size / 4, "names and shapes tell it"


def _bytes_read() -> int:
    """By this process from files, so far."""
    return int(Path("/proc/self/io").read_text().partition("\n")[0].removeprefix("rchar: "))


def test_cityscapes_scripts_finds_the_same_ious_on_the_written_predictions(
    checkpoint: Path, tmp_path: Path
) -> None:
    # cityscapesScripts knows no label id 34, which is GTA's.
    dataset = write_validation_set(tmp_path / "data", [(64, 96), (48, 80), (64, 96)])
    for file in dataset.glob("gtFine/val/*/*.png"):
        label = np.array(Image.open(file))
        save(file, np.where(label == 34, 0, label).astype(np.uint8))
    evaluate(checkpoint=checkpoint, dataset=dataset, output=tmp_path / "out", settings=SETTINGS)
    ours = json.loads((tmp_path / "out" / "metrics.json").read_text())
    theirs = run_cityscapes_scripts(
        dataset, tmp_path / "out" / "predictions" / "label_ids", tmp_path / "their"
    )

    found = {name: theirs["classScores"][name] for name in CLASS_NAMES}
    assert {name for name, score in ours["iou"].items() if score is None} == {
        name for name, score in found.items() if np.isnan(score)
    }
    for name, score in ours["iou"].items():
        assert score is None or score == pytest.approx(100 * found[name], abs=1e-6)
    assert ours["miou"]["19"] == pytest.approx(100 * theirs["averageScoreClasses"], abs=1e-6)
    # The comparison says something: several scores between the extremes, and classes only predicted.
    assert len({round(score, 3) for score in ours["iou"].values() if score}) >= 4
    assert 0.0 in ours["iou"].values()


def test_metrics_and_pictures_say_what_the_network_predicted(
    checkpoint: Path, dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    evaluate(checkpoint=checkpoint, dataset=dataset, output=output, settings=SETTINGS)
    result = json.loads((output / "metrics.json").read_text())
    assert result["images"] == 5
    assert result["checkpoint"] == "best.safetensors"
    assert result["checkpoint_sha256"] == sha256(checkpoint)
    labels = [np.array(Image.open(file)) for file in dataset.glob("gtFine/val/*/*.png")]
    assert np.sum(result["confusion_matrix"]) == sum((LABEL_ID_TO_TRAIN_ID[x] != 255).sum() for x in labels)

    names = sorted(file.stem for file in (output / "predictions" / "label_ids").iterdir())
    assert names == sorted(
        file.name.removesuffix("_leftImg8bit.png") for file in dataset.glob("leftImg8bit/val/*/*.png")
    )
    for name in names:
        ids = np.array(Image.open(output / "predictions" / "label_ids" / f"{name}.png"))
        color = np.array(Image.open(output / "predictions" / "color" / f"{name}.png"))
        np.testing.assert_array_equal(color, TRAIN_ID_TO_COLOR[LABEL_ID_TO_TRAIN_ID[ids]])
        assert ids.shape == np.array(Image.open(next(dataset.glob(f"gtFine/val/*/{name}_*")))).shape
    assert len(list((output / "examples").glob("*_image.png"))) == 4
    assert len(list((output / "examples").iterdir())) == 12


def test_the_counts_of_every_image_are_kept_beside_their_sum(
    checkpoint: Path, dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    evaluate(checkpoint=checkpoint, dataset=dataset, output=output, settings=SETTINGS)
    found = {one.image: one for one in read_image_scores(output)}
    assert sorted(found) == sorted(p.stem for p in (output / "predictions" / "label_ids").iterdir())
    for name, counted in found.items():
        label = LABEL_ID_TO_TRAIN_ID[np.array(Image.open(next(dataset.glob(f"gtFine/val/*/{name}_*"))))]
        ids = np.array(Image.open(output / "predictions" / "label_ids" / f"{name}.png"))
        assert counted == image_score(name, confusion_matrix(label, LABEL_ID_TO_TRAIN_ID[ids]))


def test_batches_do_not_change_the_scores(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    matrices = []
    for batch_size in (1, 3):
        output = tmp_path / f"out{batch_size}"
        settings = EvaluationSettings(scale=(96, 64), batch_size=batch_size)
        evaluate(checkpoint=checkpoint, dataset=dataset, output=output, settings=settings)
        matrices.append(np.array(json.loads((output / "metrics.json").read_text())["confusion_matrix"]))
    # Rounding in another order may tip a pixel that stands between two classes.
    assert np.abs(matrices[0] - matrices[1]).sum() <= 0.001 * matrices[0].sum()


def test_an_evaluation_that_is_done_is_not_done_again(
    checkpoint: Path, dataset: Path, tmp_path: Path
) -> None:
    evaluate(checkpoint=checkpoint, dataset=dataset, output=tmp_path / "out", settings=SETTINGS)
    before = (tmp_path / "out" / "metrics.json").stat().st_mtime_ns
    evaluate(checkpoint=checkpoint, dataset=dataset, output=tmp_path / "out", settings=SETTINGS)
    assert (tmp_path / "out" / "metrics.json").stat().st_mtime_ns == before


def test_what_a_killed_evaluation_left_does_not_change_the_result(
    checkpoint: Path, dataset: Path, tmp_path: Path
) -> None:
    evaluate(checkpoint=checkpoint, dataset=dataset, output=tmp_path / "whole", settings=SETTINGS)
    killed = tmp_path / "again.partial"
    (killed / "predictions" / "label_ids").mkdir(parents=True)
    for file in (tmp_path / "whole" / "predictions" / "label_ids").iterdir():
        (killed / "predictions" / "label_ids" / file.name).write_bytes(file.read_bytes()[:40])
    (killed / "provenance.json").write_bytes((tmp_path / "whole" / "provenance.json").read_bytes())
    evaluate(checkpoint=checkpoint, dataset=dataset, output=tmp_path / "again", settings=SETTINGS)
    whole, again = (
        {f.relative_to(root): f.read_bytes() for f in root.rglob("*.*") if f.name != "provenance.json"}
        for root in (tmp_path / "whole", tmp_path / "again")
    )
    assert whole == again


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def shrink(file: Path) -> None:
    save(file, np.array(Image.open(file))[:-1])


def set_id(file: Path) -> None:
    label = np.array(Image.open(file))
    label[3, 3] = 255
    save(file, label)


@pytest.mark.parametrize(
    ("pattern", "damage", "message"),
    [
        (
            "gtFine/val/bonn/bonn_000001_*",
            Path.unlink,
            r"bonn_000001_000019_leftImg8bit.png: its label is missing",
        ),
        ("gtFine/val/bonn/bonn_000001_*", shrink, r"labelIds.png: found 96x63 pixels, expected 96x64"),
        ("gtFine/val/bonn/bonn_000001_*", set_id, r"labelIds.png: found label id 255, expected .*0 to 34"),
        ("gtFine/val/bonn/bonn_000001_*", cut, r"bonn_000001_000019_gtFine_labelIds.png: "),
        ("leftImg8bit/val/bonn/bonn_000001_*", cut, r"bonn_000001_000019_leftImg8bit.png: "),
    ],
    ids=["label missing", "label of another size", "unknown id", "label truncated", "image truncated"],
)
def test_a_broken_file_is_named_and_nothing_is_written(
    checkpoint: Path,
    dataset: Path,
    tmp_path: Path,
    pattern: str,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    damage(next(dataset.glob(pattern)))
    with pytest.raises(InputError, match=message):
        evaluate(checkpoint=checkpoint, dataset=dataset, output=tmp_path / "out", settings=SETTINGS)
    assert [file.name for file in tmp_path.iterdir()] == ["cityscapes"]


@pytest.mark.parametrize("content", ["missing", "empty"])
def test_a_data_set_without_validation_images_is_refused(
    checkpoint: Path, tmp_path: Path, content: str
) -> None:
    if content == "empty":
        (tmp_path / "data" / "leftImg8bit" / "val").mkdir(parents=True)
    with pytest.raises(InputError, match=r"data(/leftImg8bit/val)?: (no such folder|found no file)"):
        evaluate(checkpoint=checkpoint, dataset=tmp_path / "data", output=tmp_path / "out", settings=SETTINGS)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_is_missing_or_of_something_else_is_refused(dataset: Path, tmp_path: Path) -> None:
    for name in ("missing.safetensors", "other.safetensors"):
        if name.startswith("other"):
            (tmp_path / name).write_bytes(b"no network")
        with pytest.raises(InputError, match=name):
            evaluate(checkpoint=tmp_path / name, dataset=dataset, output=tmp_path / "out", settings=SETTINGS)
    assert not (tmp_path / "out.partial").exists()


def test_examples_are_spread_evenly_and_never_more_than_there_are() -> None:
    assert spread(500, 4) == [62, 187, 312, 437]
    assert spread(2, 4) == [0, 1]
    assert spread(1, 4) == [0]


def test_the_command_ends_with_the_score_and_its_file(
    checkpoint: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--checkpoint", str(checkpoint), "--dataset", str(dataset)]
    main([*words, "--output", str(tmp_path / "out"), "--set", "evaluation.scale=[96, 64]"])
    scores = json.loads((tmp_path / "out" / "metrics.json").read_text())["miou"]
    over = ", ".join(f"{scores[classes]:.2f} over {classes} classes" for classes in ("19", "16", "13"))
    assert capsys.readouterr().out == f"mIoU {over}, 5 images: {tmp_path / 'out' / 'metrics.json'}\n"


def test_labels_or_images_that_changed_in_place_are_scored_anew(
    checkpoint: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"checkpoint": checkpoint, "output": tmp_path / "out", "settings": SETTINGS}
    evaluate(dataset=dataset, **arguments)
    shutil.copytree(dataset, tmp_path / "moved")
    evaluate(dataset=tmp_path / "moved", **arguments)
    assert "already complete" in capsys.readouterr().err
    for pattern in ("gtFine/val/*/*.png", "leftImg8bit/val/*/*.png"):
        file = next(dataset.glob(pattern))
        before, pixels = file.stat(), np.array(Image.open(file))
        save(file, pixels[::-1])
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        scored = read_provenance(tmp_path / "out")
        evaluate(dataset=dataset, **arguments)
        assert "an input has changed (inputs.dataset_sha256" in capsys.readouterr().err
        assert read_provenance(tmp_path / "out")["inputs"] != scored["inputs"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cityscapes", "moved", "out"]


def test_a_network_whose_output_is_not_finite_is_not_scored(dataset: Path, tmp_path: Path) -> None:
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=16))
    with torch.no_grad():
        next(segmentor.head.parameters()).fill_(1e38)
    save_segmentor(tmp_path / "wild.safetensors", segmentor, {})
    with pytest.raises(
        InputError, match=r"--checkpoint .*wild\.safetensors: the network's output is not finite"
    ):
        evaluate(
            checkpoint=tmp_path / "wild.safetensors",
            dataset=dataset,
            output=tmp_path / "out",
            settings=SETTINGS,
        )
    assert {file.name for file in tmp_path.iterdir()} == {"cityscapes", "wild.safetensors"}


def test_labels_without_a_labeled_pixel_are_refused(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    for file in dataset.glob("gtFine/val/*/*.png"):
        save(file, np.zeros_like(np.array(Image.open(file))))
    with pytest.raises(InputError, match="no pixel of its 5 labels is of one of the 19 classes"):
        evaluate(checkpoint=checkpoint, dataset=dataset, output=tmp_path / "out", settings=SETTINGS)
    assert {file.name for file in tmp_path.iterdir()} == {"cityscapes"}


def test_images_of_other_names_are_scored_and_it_is_said(
    checkpoint: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in [*dataset.glob("*/val/*/*000001_*.png")]:
        file.rename(file.with_name("own_" + "_".join(file.name.split("_")[3:])))
    evaluate(checkpoint=checkpoint, dataset=dataset, output=tmp_path / "out", settings=SETTINGS)
    assert (tmp_path / "out/predictions/label_ids/own.png").is_file()
    assert "1 names are not <city>_<sequence>_<frame>, such as own" in capsys.readouterr().err


def test_a_checkpoint_may_be_named_by_its_folder_and_it_is_said_what_it_is(
    checkpoint: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(checkpoint=checkpoint.parent, dataset=dataset, output=tmp_path / "out", settings=SETTINGS)
    said = f"evaluate: {checkpoint}: mit-b0 with the daformer head, written by `datum adapt`"
    assert said in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["checkpoint"] == "best.safetensors"


def test_a_folder_and_a_file_in_each_others_place_are_named(
    checkpoint: Path, dataset: Path, tmp_path: Path
) -> None:
    for wrong, message in (
        ({"checkpoint": dataset}, "--checkpoint .*: holds none of best.safetensors"),
        ({"dataset": checkpoint}, "best.safetensors: is a file; expected Cityscapes's layout"),
    ):
        arguments = {"checkpoint": checkpoint, "dataset": dataset} | wrong
        with pytest.raises(InputError, match=message):
            evaluate(**arguments, output=tmp_path / "out", settings=SETTINGS)
    assert not (tmp_path / "out").exists()
