"""What adaptation accepts, and how it refuses the rest: one line, before anything is written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum.adaptation.inputs import find_source, find_target, input_digests
from datum.errors import InputError
from datum.formats.generated import GeneratedImage, append_image
from datum.outputs import sha256
from datum.segmentation.validation import find_validation_images

MakeSource = Callable[[list[np.ndarray]], Path]
GTA = "gta-to-cityscapes"


@pytest.fixture
def source(make_source: MakeSource) -> Path:
    return make_source([np.full((8, 8), 3, np.uint8), np.full((8, 8), 255, np.uint8)])


def digests(source: Path, target: Path | None = None) -> dict[str, str]:
    images = find_target("daformer", target)[0] if target else []
    validation = find_validation_images(target) if target else []
    return input_digests(source, find_source(GTA, source), images, None, target, validation)


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
        digests(source)


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_a_truncated_file_is_named(source: Path, folder: str) -> None:
    file = sorted((source / folder).iterdir())[0]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match=rf"{file.name}: .*truncated"):
        digests(source)


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_a_file_damaged_in_its_middle_is_named(source: Path, folder: str) -> None:
    file = sorted((source / folder).iterdir())[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(InputError, match=rf"{file.name}: .*(damaged|truncated)"):
        digests(source)


def test_an_id_that_is_no_train_id_is_named(source: Path) -> None:
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(source / "labels" / "1_labelTrainIds.png")
    with pytest.raises(InputError, match=r"1_labelTrainIds\.png: found id 77, expected train ids 0 to 18"):
        digests(source)


def test_statistics_of_other_labels_are_refused(source: Path) -> None:
    Image.fromarray(np.full((8, 8), 5, np.uint8)).save(source / "labels" / "1_labelTrainIds.png")
    with pytest.raises(InputError, match=r"1_labelTrainIds\.png: holds other classes than the statistics"):
        digests(source)


def test_the_same_data_in_another_place_are_the_same_and_other_contents_are_others(
    scenes: Path, tmp_path: Path
) -> None:
    shutil.copytree(scenes, tmp_path / "copy")
    one, two = (digests(root / "gta", root / "cityscapes") for root in (scenes, tmp_path / "copy"))
    assert one == two and set(one) == {"source", "target", "validation"}
    for name, folder, file in (
        ("source", "gta", "images/*.png"),
        ("target", "cityscapes", "leftImg8bit/train/*/*.png"),
        ("validation", "cityscapes", "gtFine/val/*/*_labelIds.png"),
    ):
        changed = next((tmp_path / "copy" / folder).glob(file))
        Image.fromarray(np.asarray(Image.open(changed))[::-1]).save(changed)
        two = digests(tmp_path / "copy" / "gta", tmp_path / "copy" / "cityscapes")
        assert {key for key in one if one[key] != two[key]} == {name}
        one = two


def test_one_target_image_is_the_same_by_any_name(scenes: Path, tmp_path: Path) -> None:
    image = next((scenes / "cityscapes").rglob("*_leftImg8bit.png"))
    shutil.copy(image, tmp_path / "one_shot.png")
    found = {
        input_digests(scenes / "gta", [], find_target("one-image", file)[0], None, None, [])["target"]
        for file in (image, tmp_path / "one_shot.png")
    }
    assert found == {sha256(image)}


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


@pytest.mark.parametrize(
    "text",
    [
        *("{", "", "{}", "null", "[1]", "[[]]", '[{"0": 3}]', '[{"file": 1}]', "[" * 100_000),
        *(
            f'[{{"file": "labels/1_labelTrainIds.png", {entry}}}]'
            for entry in (
                *('"0": -1', '"0": 0', '"0": true', '"0": null', '"0": "3"', '"0": [3]', '"0": 1.5'),
                *('"0": NaN', '"0": Infinity', '"0": 1e999', '"0": 1' + "0" * 30, '"0": 1' + "0" * 5000),
                *(
                    '"19": 1',
                    '"255": 1',
                    '"-1": 1',
                    '"00": 1',
                    '"road": 1',
                    '"": 1',
                    '"1' + "0" * 400 + '": 1',
                ),
            )
        ),
        '[{"file": "a/labels/1.png", "0": 3}, {"file": "b/labels/1.png", "0": 3}]',
    ],
)
def test_statistics_of_another_kind_are_refused(source: Path, text: str) -> None:
    (source / "sample_class_stats.json").write_text(text)
    with pytest.raises(InputError, match=r"not the list of class counts.*run `datum convert gta") as error:
        find_source(GTA, source)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_statistics_that_are_a_folder_or_no_text_are_refused(source: Path) -> None:
    (source / "sample_class_stats.json").write_bytes(b"[\xff]")
    with pytest.raises(InputError, match="not the list of class counts"):
        find_source(GTA, source)
    (source / "sample_class_stats.json").unlink()
    (source / "sample_class_stats.json").mkdir()
    with pytest.raises(InputError, match="not the list of class counts"):
        find_source(GTA, source)


def test_unknown_benchmark_and_method_are_refused_with_the_known_ones(source: Path) -> None:
    with pytest.raises(InputError, match="gta-to-cityscapes, synthia-to-cityscapes"):
        find_source("gta", source)
    with pytest.raises(InputError, match="source-only, source-only-reference, daformer"):
        find_target("magic", source)


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


def test_what_a_killed_write_or_a_mac_left_is_no_target_image(source: Path) -> None:
    images = sorted((source / "images").iterdir())
    for name in ("._1.png", ".datum-0123abcd.png", ".im_0.1a2b3c4d.png"):
        (source / "images" / name).write_bytes(images[0].read_bytes())
    assert find_target("daformer", source)[0] == images


def test_of_generated_images_those_of_the_manifest_count_as_they_were_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "generated"
    (folder / "images").mkdir(parents=True)
    for index in range(3):
        file = folder / "images" / f"im_{index}_p0.png"
        Image.new("RGB", (8, 8), (index, 0, 0)).save(file)
        if index < 2:
            line = {"index": index, "prompt": "a", "seed": index, "file": f"images/{file.name}"}
            append_image(folder, GeneratedImage(**line, sha256=sha256(file), model="0" * 64, redrawn=0))
    images, _ = find_target("daformer", folder)
    assert [image.name for image in images] == ["im_0_p0.png", "im_1_p0.png"]
    input_digests(tmp_path, [], images, None, None, [])
    Image.new("RGB", (8, 8), "white").save(images[0])
    with pytest.raises(InputError, match=r"im_0_p0\.png: is not the image of manifest\.jsonl"):
        input_digests(tmp_path, [], images, None, None, [])
    images[0].unlink()
    with pytest.raises(InputError, match=r"im_0_p0\.png: is missing, but .*manifest\.jsonl names it"):
        find_target("daformer", folder)
