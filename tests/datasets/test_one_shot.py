"""Selection of the one-shot images."""

from pathlib import Path

import pytest
from PIL import Image

from datum.datasets.one_shot import one_shot_images
from datum.errors import InputError


def target(root: Path, count: int = 12) -> Path:
    folder = root / "leftImg8bit/train/aachen"
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (8, 6), (index, 0, 0)).save(folder / f"aachen_{index:06d}_000019_leftImg8bit.png")
    return root


def test_drawn_images_are_these_on_every_machine(tmp_path: Path) -> None:
    images = one_shot_images(target(tmp_path), [1, 2, 3])
    assert [image.name for image in images] == [
        f"aachen_{index:06d}_000019_leftImg8bit.png" for index in (10, 4, 1)
    ]


def test_the_choice_does_not_depend_on_where_the_target_lies(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here, there = target(tmp_path / "a"), target(tmp_path / "b")
    first = [image.relative_to(here) for image in one_shot_images(here, [1, 2, 3])]
    assert first == [image.relative_to(there) for image in one_shot_images(there, [1, 2, 3])]


def test_as_many_seeds_as_images_take_every_image_once(tmp_path: Path) -> None:
    images = one_shot_images(target(tmp_path), list(range(12)))
    assert len(set(images)) == 12


def test_seeds_draw_different_images_over_many_runs(tmp_path: Path) -> None:
    root = target(tmp_path)
    drawn = [one_shot_images(root, [seed])[0].name for seed in range(60)]
    assert len(set(drawn)) >= 10


def test_named_images_are_taken_in_their_order(tmp_path: Path) -> None:
    root = target(tmp_path)
    inside = Path("aachen/aachen_000004_000019_leftImg8bit.png")
    outside = tmp_path / "street.png"
    Image.new("RGB", (8, 6)).save(outside)
    assert one_shot_images(root, [1, 2], [outside, inside]) == [outside, root / "leftImg8bit/train" / inside]


def test_a_protocol_repeats_its_published_images_in_turn(tmp_path: Path) -> None:
    root = target(tmp_path)
    images = one_shot_images(root, range(1, 11), [Path("sm-ppm")])
    names = [f"aachen/aachen_{number:06d}_000019_leftImg8bit.png" for number in range(5)]
    assert [str(image.relative_to(root / "leftImg8bit/train")) for image in images] == [*names, *names]


@pytest.mark.parametrize("seeds", [1, 3, 4, 6])
def test_a_protocol_takes_no_seeds_of_which_some_images_had_more(tmp_path: Path, seeds: int) -> None:
    with pytest.raises(InputError, match=rf"sm-ppm: found {seeds} seeds, expected a multiple of 5"):
        one_shot_images(target(tmp_path), range(seeds), [Path("sm-ppm")])


def test_a_published_image_that_the_target_lacks_is_named(tmp_path: Path) -> None:
    root = target(tmp_path)
    (root / "leftImg8bit/train/aachen/aachen_000003_000019_leftImg8bit.png").unlink()
    message = r"sm-ppm: aachen/aachen_000003_000019_leftImg8bit\.png is not in .*/leftImg8bit/train; name"
    with pytest.raises(InputError, match=message):
        one_shot_images(root, [1, 2, 3, 4, 5], [Path("sm-ppm")])


def test_an_empty_target_and_one_with_too_few_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit/train").mkdir(parents=True)
    with pytest.raises(InputError, match=r"leftImg8bit/train: found no file named \*_leftImg8bit\.png"):
        one_shot_images(tmp_path, [1])
    (tmp_path / "two").mkdir()
    with pytest.raises(InputError, match=r"leftImg8bit/train: found 2 images, expected at least 3"):
        one_shot_images(target(tmp_path / "two", count=2), [1, 2, 3])


def test_another_number_of_named_images_than_seeds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 1 named images for 2 seeds"):
        one_shot_images(target(tmp_path), [1, 2], [Path("aachen/aachen_000004_000019_leftImg8bit.png")])


def test_a_damaged_a_missing_and_a_drawn_gray_image_are_refused(tmp_path: Path) -> None:
    root = target(tmp_path, count=1)
    with pytest.raises(InputError, match=r"nowhere\.png: no such file"):
        one_shot_images(root, [1], [Path("nowhere.png")])
    (file,) = root.rglob("*_leftImg8bit.png")
    data = file.read_bytes()
    file.write_bytes(data[:50])
    with pytest.raises(InputError, match=r"_leftImg8bit\.png: cannot be read as an image"):
        one_shot_images(root, [1])
    Image.new("L", (8, 6)).save(file)
    with pytest.raises(InputError, match=r"_leftImg8bit\.png: found mode L"):
        one_shot_images(root, [1])
