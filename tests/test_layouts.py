"""Finding the files of a data set, and the quick check of its root."""

from pathlib import Path

import pytest
from PIL import Image

from datum.errors import InputError
from datum.layouts import Listing, check_dataset, find_pairs, find_train_images
from datum.methods import DatasetName


def write(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3)).save(root / file)
    return root


CITYSCAPES = (
    "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png",
    "leftImg8bit/val/munster/munster_000000_000019_leftImg8bit.png",
    "gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png",
)


@pytest.mark.parametrize(
    ("dataset", "files"),
    [
        ("gta", ("images/00001.png", "labels/00001.png")),
        ("synthia", ("RGB/0000000.png", "GT/LABELS/0000000.png")),
        ("cityscapes", CITYSCAPES),
    ],
)
def test_a_complete_root_passes(tmp_path: Path, dataset: DatasetName, files: tuple[str, ...]) -> None:
    needed, pairs = check_dataset(dataset, write(tmp_path, *files))
    assert sorted(needed) == sorted(files)
    assert len(pairs) == 1
    assert check_dataset(dataset, Listing("s3://bucket/data", files)) == (needed, pairs)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_of_cityscapes_is_found_by_itself(tmp_path: Path, split: str) -> None:
    write(tmp_path, *(file for file in CITYSCAPES if f"/{split}/" in file))
    if split == "train":
        assert find_train_images(tmp_path) == [CITYSCAPES[0]]
    else:
        assert [pair.label for pair in find_pairs("cityscapes", tmp_path, split="val")] == [CITYSCAPES[2]]
    with pytest.raises(InputError, match="no such folder"):
        check_dataset("cityscapes", tmp_path)


@pytest.mark.parametrize(
    ("dataset", "files", "message"),
    [
        ("gta", ("labels/00001.png",), r"/images: no such folder; expected GTA's layout, images and labels"),
        (
            "gta",
            ("images/00001.png", "labels/00001_color.png"),
            r"/labels: found no file named \*<digit>\.png",
        ),
        ("gta", ("images/1.png", "images/2.png", "labels/1.png"), r"images/2\.png: its label is missing"),
        ("gta", ("images/1.png", "labels/1.png", "labels/2.png"), r"labels/2\.png: its image is missing"),
        (
            "synthia",
            ("RGB/1.png", "GT/COLOR/1.png"),
            r"/GT/LABELS: no such folder; expected SYNTHIA's layout",
        ),
        ("cityscapes", CITYSCAPES[1:], r"/leftImg8bit/train: no such folder; expected Cityscapes's layout"),
        ("cityscapes", CITYSCAPES[:2], r"/gtFine/val: no such folder"),
        (
            "cityscapes",
            (*CITYSCAPES, "gtFine/val/munster/munster_000001_000019_gtFine_labelIds.png"),
            r"munster_000001_000019_gtFine_labelIds\.png: its image is missing, expected .*leftImg8bit/val/",
        ),
    ],
)
def test_what_is_missing_is_named_in_one_line(
    tmp_path: Path, dataset: DatasetName, files: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        check_dataset(dataset, write(tmp_path, *files))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError) as of_listing:
        check_dataset(dataset, Listing("s3://bucket/data", files))
    assert str(of_listing.value) == str(error.value).replace(str(tmp_path), "s3://bucket/data")


def test_an_empty_split_is_named(tmp_path: Path) -> None:
    write(tmp_path, *CITYSCAPES)
    (tmp_path / CITYSCAPES[0]).unlink()
    with pytest.raises(InputError, match=r"/leftImg8bit/train: found no file named \*_leftImg8bit\.png"):
        check_dataset("cityscapes", tmp_path)


def test_converted_and_hidden_files_are_no_labels(tmp_path: Path) -> None:
    files = "images/1.png", "labels/1.png", "labels/1_labelTrainIds.png", "labels/.2.png"
    assert check_dataset("gta", write(tmp_path, *files))[0] == ["images/1.png", "labels/1.png"]
    assert check_dataset("gta", Listing("s3://bucket/data", files))[0] == ["images/1.png", "labels/1.png"]


def test_a_path_below_the_working_directory_is_named_as_it_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "gta", "images/1.png", "labels/2.png")
    monkeypatch.chdir(tmp_path / "gta")
    with pytest.raises(InputError, match=r"^images/1\.png: its label is missing, expected labels/1\.png"):
        check_dataset("gta", Path())
