"""`datum predict`: equal to `datum evaluate`, whole or absent, and what it does with what people have."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum.cli import main
from datum.config import EvaluationSettings
from datum.errors import InputError
from datum.evaluation.evaluate import evaluate
from datum.formats.predictions import PREDICTIONS
from datum.labels import TRAIN_ID_TO_COLOR, TRAIN_ID_TO_LABEL_ID
from datum.outputs import digests_below, unfinished
from datum.photographs import read_image
from datum.prediction import predict as predicting
from datum.prediction.predict import predict
from datum.segmentation.inference import predict_with
from datum.segmentation.segmentor import load_segmentor
from datum.verification import verify
from tests.evaluation.test_evaluate import write_validation_set
from tests.prediction.footage_of_tests import (
    write_network,
    write_photograph,
    write_png_of_bad_pixels,
)

SETTINGS = EvaluationSettings(scale=(96, 64))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("network"))


def run(network: Path, output: Path, *inputs: Path | str, **options: object) -> list[str]:
    """Predicts `inputs`; names of the files in the output."""
    arguments = {"settings": SETTINGS, "kinds": ("label_ids",), "device": "cpu"} | options
    predict(checkpoint=network, inputs=list(map(str, inputs)), output=output, **arguments)
    assert not unfinished(output).exists()
    return [name for name in digests_below(output) if name != PREDICTIONS]


def expected(network: Path, image: np.ndarray) -> np.ndarray:
    """Train ids that the network predicts for an image."""
    segmentor = load_segmentor(network / "best.safetensors")
    return predict_with(SETTINGS, segmentor, [image], image.shape[:2])[0]


def label_ids(file: Path) -> np.ndarray:
    return np.array(Image.open(file))


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        EvaluationSettings(scale=(96, 64), slide_crop=48, slide_stride=32, ratios=(0.75, 1.0), flip=True),
    ],
)
def test_label_ids_are_those_of_evaluate(network: Path, tmp_path: Path, settings: EvaluationSettings) -> None:
    sizes = [(64, 96), (48, 80), (64, 96), (80, 48)]
    dataset = write_validation_set(tmp_path / "data set", sizes)
    evaluate(checkpoint=network, dataset=dataset, output=tmp_path / "evaluation", settings=settings)
    run(network, tmp_path / "predicted", dataset / "leftImg8bit" / "val", settings=settings)
    found = {
        file.stem.removesuffix("_leftImg8bit"): label_ids(file)
        for file in (tmp_path / "predicted" / "label_ids").glob("*/*.png")
    }
    evaluated = list((tmp_path / "evaluation" / "predictions" / "label_ids").glob("*.png"))
    assert len(evaluated) == len(found) == len(sizes)
    for file in evaluated:
        np.testing.assert_array_equal(found[file.stem], label_ids(file))


def test_folders_with_spaces_mixed_sizes_and_turned_photographs_keep_names_and_sizes(
    network: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "my photographs"
    write_photograph(folder / "am Abend" / "eins.jpg", 1, 40, 72)
    turned = write_photograph(folder / "am Abend" / "gedreht.JPG", 2, 48, 64, orientation=6)
    for seed in range(3):
        write_photograph(folder / f"{seed}.png", seed)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    kinds = ("beside", "color", "label_ids", "overlay")
    files = run(network, tmp_path / "out", folder, kinds=kinds, settings=EvaluationSettings(scale=(96, 64)))
    names = ("0", "1", "2", "am Abend/eins", "am Abend/gedreht")
    endings = {"beside": "jpg", "color": "png", "label_ids": "png", "overlay": "jpg"}
    assert files == [f"{kind}/{name}.{ending}" for kind, ending in endings.items() for name in names]
    shown = read_image(turned)
    prediction = expected(network, shown)
    assert prediction.shape == (64, 48)
    out = tmp_path / "out"
    np.testing.assert_array_equal(
        label_ids(out / "label_ids/am Abend/gedreht.png"), TRAIN_ID_TO_LABEL_ID[prediction]
    )
    np.testing.assert_array_equal(
        read_image(out / "color/am Abend/gedreht.png"), TRAIN_ID_TO_COLOR[prediction]
    )
    halfway = (shown.astype(int) + TRAIN_ID_TO_COLOR[prediction]) / 2
    overlay = read_image(out / "overlay/am Abend/gedreht.jpg")
    assert np.abs(overlay - halfway).mean() < 4
    assert read_image(out / "beside/am Abend/gedreht.jpg").shape == (64, 96, 3)
    assert "predict, " in "".join(verify(str(out)))


def test_inputs_of_one_name_get_outputs_of_their_own(network: Path, tmp_path: Path) -> None:
    for place in ("day/x.jpg", "night/x.jpg", "night/x.png", "day/y.jpg"):
        write_photograph(tmp_path / "photographs" / place, 0)
    day, night = tmp_path / "photographs" / "day", tmp_path / "photographs" / "night"
    assert run(network, tmp_path / "both", day, night, day / "x.jpg") == [
        "label_ids/day/x.png",
        "label_ids/day/y.png",
        "label_ids/night/x.jpg.png",
        "label_ids/night/x.png.png",
    ]
    assert run(network, tmp_path / "one", day / "x.jpg") == ["label_ids/x.png"]
    found = run(network, tmp_path / "pattern", str(tmp_path / "photographs" / "**" / "*.jpg"))
    assert found == ["label_ids/day/x.png", "label_ids/day/y.png", "label_ids/night/x.png"]
    write_photograph(night / "x.png.png", 0)
    assert len(run(network, tmp_path / "all", day, night)) == 5


def test_an_output_never_lies_over_its_inputs(network: Path, tmp_path: Path) -> None:
    file = write_photograph(tmp_path / "photographs" / "x.png", 0)
    before = file.read_bytes()
    for output in (tmp_path / "photographs", tmp_path):
        with pytest.raises(InputError, match=r"the input .*/photographs.* lies in it"):
            run(network, output, file.parent)
    other = write_photograph(tmp_path / "kept" / "y.png", 0)
    with pytest.raises(InputError, match="already holds something else"):
        run(network, other.parent, file)
    assert file.read_bytes() == before and other.exists()


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("missing.jpg", None, "missing.jpg: no such file"),
        ("folder", "folder", "folder: holds no image or video, expected files that end in .png, .jpg"),
        ("a[0-9].jpg", None, r"a\[0-9\]\.jpg: matches no PNG, JPEG or video file"),
        ("text.png", b"this is no picture", r"text.png: cannot be read as an image \(neither PNG nor JPEG"),
        ("text.mp4", b"this is no film", r"text.mp4: cannot be read as a video"),
        ("picture.webp", b"RIFF\0\0\0\0WEBP", r"picture.webp: cannot be read as an image \(neither PNG nor"),
    ],
)
def test_inputs_that_are_none_are_named_before_anything_is_written(
    network: Path, tmp_path: Path, name: str, content: bytes | str | None, message: str
) -> None:
    place = tmp_path / "in" / name
    place.parent.mkdir()
    if isinstance(content, bytes):
        place.write_bytes(content)
    elif content:
        place.mkdir()
    with pytest.raises(InputError, match=message):
        run(network, tmp_path / "out", place)
    assert not (tmp_path / "out").exists() and not unfinished(tmp_path / "out").exists()


def test_broken_photographs_among_others_are_named_at_once(network: Path, tmp_path: Path) -> None:
    for seed in range(4):
        write_photograph(tmp_path / "in" / f"{seed}.jpg", seed)
    for name in ("1.jpg", "3.jpg"):
        file = tmp_path / "in" / name
        file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"1.jpg: .*truncated JPEG.*\(and 1 of 4 more, such as .*3.jpg\)"):
        run(network, tmp_path / "out", tmp_path / "in")
    assert not unfinished(tmp_path / "out").exists()
    Image.new("I;16", (64, 48)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep.png: found .*expected RGB"):
        run(network, tmp_path / "out", tmp_path / "deep.png")


def counting(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[int]:
    """Sizes of the batches that are predicted from now on; the process "ends" after so many."""
    batches: list[int] = []

    def counted(settings: EvaluationSettings, segmentor: object, images: list, size: object) -> np.ndarray:
        if len(batches) == stop_after:
            raise KeyboardInterrupt
        batches.append(len(images))
        return predict_with(settings, segmentor, images, size)

    monkeypatch.setattr(predicting, "predict_with", counted)
    return batches


def test_damage_that_shows_late_leaves_the_others_done(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(4):
        write_photograph(tmp_path / "in" / f"{seed}.png", seed)
    damaged = write_png_of_bad_pixels(tmp_path / "in" / "2.png")
    with pytest.raises(InputError, match=r"2.png: cannot be read .*; the other 3 inputs are predicted in .*"):
        run(network, tmp_path / "out", tmp_path / "in")
    assert not (tmp_path / "out").exists()
    write_photograph(damaged, 2)
    batches = counting(monkeypatch)
    run(network, tmp_path / "out", tmp_path / "in")
    assert batches == [1]
    monkeypatch.undo()
    run(network, tmp_path / "anew", tmp_path / "in")
    assert digests_below(tmp_path / "out") == digests_below(tmp_path / "anew")


def test_an_interrupted_prediction_goes_on_to_the_same_files(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = EvaluationSettings(scale=(96, 64), batch_size=2)
    for seed in range(7):
        write_photograph(tmp_path / "in" / f"{seed}.jpg", seed)
    options = {"settings": settings, "kinds": ("label_ids", "overlay")}
    counting(monkeypatch, stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        run(network, tmp_path / "out", tmp_path / "in", **options)
    assert not (tmp_path / "out").exists()
    # What was written last may be lost with a machine's power, and an input may go.
    damaged = unfinished(tmp_path / "out") / "label_ids" / "0.png"
    assert damaged.exists()
    damaged.write_bytes(b"")
    (tmp_path / "in" / "1.jpg").unlink()
    batches = counting(monkeypatch)
    run(network, tmp_path / "out", tmp_path / "in", **options)
    assert sum(batches) < 6
    monkeypatch.undo()
    run(network, tmp_path / "anew", tmp_path / "in", **options)
    assert digests_below(tmp_path / "out") == digests_below(tmp_path / "anew")
    batches = counting(monkeypatch)
    run(network, tmp_path / "out", tmp_path / "in", **options)
    assert batches == []
    with pytest.raises(InputError, match="already holds something else"):
        run(network, tmp_path / "out", tmp_path / "in", kinds=("color",), settings=settings)


def test_photographs_that_came_later_are_predicted_too(network: Path, tmp_path: Path) -> None:
    write_photograph(tmp_path / "in" / "0.jpg", 0)
    run(network, tmp_path / "out", tmp_path / "in")
    write_photograph(tmp_path / "in" / "1.jpg", 1)
    assert run(network, tmp_path / "out", tmp_path / "in") == ["label_ids/0.png", "label_ids/1.png"]


def test_the_command_says_what_it_wrote(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photograph(tmp_path / "in" / "0.jpg", 0)
    words = ["predict", str(network), str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    main([*words, "--set", "evaluation.scale=[96, 64]", "--device", "cpu"])
    assert capsys.readouterr().out == f"predicted 1 image: {tmp_path / 'out'}\n"
    line = json.loads((tmp_path / "out" / PREDICTIONS).read_text())
    assert (line["input"], line["width"], line["height"]) == (str(tmp_path / "in" / "0.jpg"), 64, 48)
    assert list(line["outputs"]) == ["label_ids/0.png", "overlay/0.jpg"]
    shutil.rmtree(tmp_path / "out")
    for option, message in (
        (("--write", "colour"), "found 'colour', expected one or more of label_ids, color, overlay, beside"),
        (("--device", "gpu"), "--device gpu: cannot be used"),
        (("--set", "evaluation.slide_stride=8"), "expected at most evaluation.slide_crop"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*words, *option])
        assert ended.value.code == 2 and message in capsys.readouterr().err
