"""Finding the files of a data set, and the quick check of its root."""

from pathlib import Path

import pytest
from PIL import Image

from datum.errors import InputError
from datum.layouts import Listing, check_dataset, describe_passed_over, find_pairs, find_train_images
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


def test_frames_of_a_target_may_have_any_name_and_need_no_city(tmp_path: Path) -> None:
    names = "leftImg8bit/train/a_leftImg8bit.png", "leftImg8bit/val/b_leftImg8bit.png"
    files, pairs = check_dataset("cityscapes", write(tmp_path, *names, "gtFine/val/b_gtFine_labelIds.png"))
    assert files[:1] == [names[0]] and [pair.frame for pair in pairs] == ["b"]


def test_frames_of_one_name_in_two_cities_are_refused_where_predictions_would_replace_each_other(
    tmp_path: Path,
) -> None:
    write(tmp_path, *CITYSCAPES)
    for city in ("a", "b"):
        write(
            tmp_path, f"leftImg8bit/val/{city}/1_leftImg8bit.png", f"gtFine/val/{city}/1_gtFine_labelIds.png"
        )
        write(tmp_path, f"leftImg8bit/train/{city}/1_leftImg8bit.png")
    for call in (check_dataset, find_pairs):
        with pytest.raises(InputError, match=r"leftImg8bit/val/b/1: has the same name as .*val/a/1"):
            call("cityscapes", tmp_path)


def test_files_that_look_like_part_of_the_data_set_and_are_passed_over_are_said(tmp_path: Path) -> None:
    write(tmp_path, "images/1.png", "labels/1.png", "labels/1_labelTrainIds.png", "images/._1.png")
    _, pairs = check_dataset("gta", tmp_path)
    assert describe_passed_over("gta", tmp_path, pairs) == ""
    write(tmp_path, "images/1 copy.png", "labels/2.PNG", "images/2.PNG")
    assert check_dataset("gta", tmp_path)[1] == pairs
    assert describe_passed_over("gta", tmp_path, pairs) == (
        f"{tmp_path}: 3 files are passed over, such as images/1 copy.png: GTA's are "
        "images/*<digit>.png and labels/*<digit>.png"
    )


def test_what_cityscapes_itself_holds_beside_labels_is_not_said(tmp_path: Path) -> None:
    stem = "gtFine/val/munster/munster_000000_000019_gtFine"
    write(
        tmp_path, *CITYSCAPES, *(f"{stem}_{kind}.png" for kind in ("color", "instanceIds", "labelTrainIds"))
    )
    assert describe_passed_over("cityscapes", tmp_path, check_dataset("cityscapes", tmp_path)[1]) == ""


def test_an_image_that_is_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    write(tmp_path, "images/1.png", "labels/1.png")
    (tmp_path / "images/2.png").symlink_to(tmp_path / "absent.png")
    with pytest.raises(InputError, match=r"images/2\.png: is a link that leads nowhere"):
        check_dataset("gta", tmp_path)


def test_names_that_differ_in_case_alone_are_refused_everywhere(tmp_path: Path) -> None:
    files = "images/a1.png", "images/A1.png", "labels/a1.png", "labels/A1.png"
    for root in (write(tmp_path, *files), Listing("s3://bucket/data", files)):
        with pytest.raises(
            InputError, match=r"images/a1\.png: differs from A1\.png in case|from a1\.png in case"
        ):
            check_dataset("gta", root)
