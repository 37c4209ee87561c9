"""One line that names the file for every kind of bad label or image, and nothing written."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum.datasets.convert import convert
from datum.errors import InputError
from tests.datasets.small_datasets import (
    files_below,
    random_ids,
    write_image,
    write_large_labels,
    write_synthia_label,
)


def damage_missing_labels_folder(root: Path) -> str:
    for file in (root / "labels").iterdir():
        file.unlink()
    (root / "labels").rmdir()
    return r"gta/labels: no such folder"


def damage_empty_labels_folder(root: Path) -> str:
    for file in (root / "labels").iterdir():
        file.unlink()
    return r"gta/labels: found no file named \*<digit>\.png"


def damage_image_without_label(root: Path) -> str:
    (root / "labels/00002.png").unlink()
    return r"gta/images/00002\.png: its label is missing, expected .*gta/labels/00002\.png"


def damage_label_without_image(root: Path) -> str:
    (root / "images/00002.png").unlink()
    return r"gta/labels/00002\.png: its image is missing, expected .*gta/images/00002\.png"


def damage_size(root: Path) -> str:
    Image.fromarray(random_ids(0, 34, 9, 15)).save(root / "labels/00002.png")
    return r"gta/labels/00002\.png: found 15x9 pixels, expected 14x9"


def damage_ids(root: Path) -> str:
    ids = random_ids(0, 34)
    ids[3, 3] = 35
    Image.fromarray(ids).save(root / "labels/00002.png")
    return r"gta/labels/00002\.png: found label id 35, expected ids of GTA, from 0 to 34"


def damage_label_bytes(root: Path) -> str:
    file = root / "labels/00002.png"
    file.write_bytes(file.read_bytes()[:-40])
    return r"gta/labels/00002\.png: cannot be read as an image"


def damage_image_bytes(root: Path) -> str:
    file = root / "images/00002.png"
    file.write_bytes(file.read_bytes()[:-30])
    return r"gta/images/00002\.png: cannot be read as an image"


def damage_empty_file(root: Path) -> str:
    (root / "labels/00002.png").write_bytes(b"")
    return r"gta/labels/00002\.png: cannot be read as an image"


def damage_color_label(root: Path) -> str:
    Image.new("RGB", (14, 9)).save(root / "labels/00002.png")
    return r"gta/labels/00002\.png: found an image of mode RGB, expected label ids in one 8-bit channel"


@pytest.mark.parametrize(
    "damage",
    [function for name, function in list(globals().items()) if name.startswith("damage_")],
    ids=lambda function: function.__name__,
)
def test_bad_input_is_one_line_that_names_the_file_and_nothing_is_written(
    gta: Path, damage: Callable[[Path], str]
) -> None:
    message = damage(gta)
    before = files_below(gta)
    with pytest.raises(InputError, match=message) as error:
        convert("gta", gta, workers=1)
    assert "\n" not in str(error.value)
    assert files_below(gta) == before


def test_a_bad_label_seen_by_another_process_is_reported_and_nothing_is_written(tmp_path: Path) -> None:
    write_large_labels(tmp_path)
    Image.fromarray(np.full((3000, 3025), 40, np.uint8)).save(tmp_path / "labels/00003.png")
    before = files_below(tmp_path)
    with pytest.raises(InputError, match=r"00003\.png: found label id 40"):
        convert("gta", tmp_path, workers=2)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("ids", "found"),
    [(23, "found label id 23"), (300, "found label id 300"), (65535, "found label id 65535")],
)
def test_synthia_ids_outside_its_space_are_refused(tmp_path: Path, ids: int, found: str) -> None:
    label_ids = np.full((4, 6), ids, np.uint16)
    write_synthia_label(tmp_path, "0000000.png", label_ids, np.zeros((4, 6), np.uint16))
    with pytest.raises(InputError, match=rf"0000000\.png: {found}, expected ids of SYNTHIA, from 0 to 22"):
        convert("synthia", tmp_path, workers=1)
    assert not list(tmp_path.rglob("*.json"))


def test_a_synthia_label_with_one_channel_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "RGB/0000000.png", 4, 6)
    (tmp_path / "GT/LABELS").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "GT/LABELS/0000000.png")
    with pytest.raises(
        InputError, match=r"found an array of shape \(4, 6\), expected SYNTHIA's three channels"
    ):
        convert("synthia", tmp_path, workers=1)


def test_a_synthia_label_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 23, (24, 24), dtype=np.uint8)
    write_synthia_label(tmp_path, "0000000.png", ids, rng.integers(0, 65536, (24, 24), dtype=np.uint16))
    label = tmp_path / "GT/LABELS/0000000.png"
    data = label.read_bytes()
    for end in itertools.chain(range(0, len(data), 97), [len(data) - 1]):
        label.write_bytes(data[:end])
        with pytest.raises(InputError, match=r"0000000\.png: cannot be read as an image"):
            convert("synthia", tmp_path, workers=1)


def test_an_unknown_data_set_and_a_missing_root_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'kitti': unknown, expected one of gta, synthia, cityscapes"):
        convert("kitti", tmp_path, workers=1)  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match=r"nowhere: no such folder; expected GTA's layout, images and labels"
    ):
        convert("gta", tmp_path / "nowhere", workers=1)


def test_a_number_of_workers_below_one_is_refused(gta: Path) -> None:
    with pytest.raises(InputError, match="--workers 0: expected a number of processes, 1 or more"):
        convert("gta", gta, workers=0)
