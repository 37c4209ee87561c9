"""What adaptation accepts, and how it refuses the rest: one line, before anything is written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum.adaptation.inputs import find_source, find_target
from datum.errors import InputError

MakeSource = Callable[[list[np.ndarray]], Path]
GTA = "gta-to-cityscapes"


@pytest.fixture
def source(make_source: MakeSource) -> Path:
    return make_source([np.full((8, 8), 3, np.uint8), np.full((8, 8), 255, np.uint8)])


def test_a_converted_source_gives_images_labels_and_class_pixels(scenes: Path) -> None:
    found = find_source(GTA, scenes / "gta")
    assert len(found) == 8
    for entry in found:
        assert entry.label.name == f"{entry.image.stem}_labelTrainIds.png"
        label = np.asarray(Image.open(entry.label))
        assert entry.class_pixels == {c: int((label == c).sum()) for c in range(19) if (label == c).any()}


def test_synthia_keeps_its_own_folders(source: Path) -> None:
    (source / "GT").mkdir()
    (source / "images").rename(source / "RGB")
    (source / "labels").rename(source / "GT" / "LABELS")
    statistics = json.loads((source / "sample_class_stats.json").read_text())
    for entry in statistics:
        entry["file"] = entry["file"].replace("labels/", "GT/LABELS/")
    (source / "sample_class_stats.json").write_text(json.dumps(statistics))
    assert [s.class_pixels for s in find_source("synthia-to-cityscapes", source)] == [{3: 64}, {}]


def test_an_unconverted_source_names_the_command(source: Path) -> None:
    (source / "sample_class_stats.json").unlink()
    with pytest.raises(InputError, match=r"sample_class_stats\.json is missing.* run `datum convert gta "):
        find_source(GTA, source)


def test_an_image_without_its_label_is_named(source: Path) -> None:
    (source / "labels" / "1_labelTrainIds.png").unlink()
    with pytest.raises(InputError, match=r"images/1\.png: no converted label"):
        find_source(GTA, source)


def test_a_label_of_another_size_is_named(source: Path) -> None:
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(source / "labels" / "1_labelTrainIds.png")
    with pytest.raises(InputError, match=r"1_labelTrainIds\.png: found 9x8 pixels, expected 8x8"):
        find_source(GTA, source)


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_a_truncated_file_is_named(source: Path, folder: str) -> None:
    file = sorted((source / folder).iterdir())[0]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match=rf"{file.name}: .*(truncated|damaged)"):
        find_source(GTA, source)


@pytest.mark.parametrize("missing", [".", "images", "labels"])
def test_a_missing_source_folder_is_named(source: Path, missing: str) -> None:
    shutil.rmtree(source / missing)
    with pytest.raises(InputError, match=r"no such folder; expected GTA's layout|no converted label"):
        find_source(GTA, source)


def test_a_source_without_images_is_refused(source: Path) -> None:
    for file in (source / "images").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="found no file named"):
        find_source(GTA, source)


@pytest.mark.parametrize("text", ["{", "[1]", '[{"0": 3}]'])
def test_statistics_of_another_kind_are_refused(source: Path, text: str) -> None:
    (source / "sample_class_stats.json").write_text(text)
    with pytest.raises(InputError, match="not the list of class counts"):
        find_source(GTA, source)


def test_unknown_benchmark_and_method_are_refused_with_the_known_ones(source: Path) -> None:
    with pytest.raises(InputError, match="gta-to-cityscapes, synthia-to-cityscapes"):
        find_source("gta", source)
    with pytest.raises(InputError, match="source-only, daformer, one-image"):
        find_target("dacs", source)


def test_generated_images_stay_as_they_are_and_street_images_are_resized(
    source: Path, scenes: Path, tmp_path: Path
) -> None:
    # `source` has its images in `images`, as the output of `datum generate` has.
    assert find_target("daformer", source) == (sorted((source / "images").iterdir()), None)
    assert find_target("daformer", source / "images")[1] is None
    streets, scale = find_target("daformer", scenes / "cityscapes")
    assert len(streets) == 4 and scale == (1024, 512)
    one, scale = find_target("one-image", streets[0])
    assert one == streets[:1] and scale == (1024, 512)
    assert find_target("source-only", None) == ([], None)


def test_an_empty_or_missing_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--target .*: holds no image"):
        find_target("daformer", tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        find_target("daformer", tmp_path / "absent")
    with pytest.raises(InputError, match="--target: missing"):
        find_target("daformer", None)


def test_one_image_means_one(source: Path) -> None:
    with pytest.raises(InputError, match="holds 2 images, expected exactly one"):
        find_target("one-image", source)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_a_target_image_that_is_not_rgb_is_refused(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "one.png"
    Image.new(mode, (8, 8)).save(file)
    with pytest.raises(InputError, match=rf"one\.png: mode {mode}, expected an RGB image"):
        find_target("one-image", file)


def test_a_text_file_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "im_0.png").write_text("not an image")
    with pytest.raises(InputError, match=r"im_0\.png: cannot be read as an image"):
        find_target("daformer", tmp_path)
