"""Folders of scenes are named like those of GTA and Cityscapes, and are the same every time."""

from pathlib import Path

import numpy as np
from PIL import Image

from datum.streetscenes.drawing import (
    EMPHASIZED,
    SOURCE_DOMAIN,
    TARGET_DOMAIN,
    draw_scene,
    town_domain,
    write_cityscapes,
    write_gta,
)


def _files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_a_gta_folder_numbers_images_and_labels_alike(tmp_path: Path) -> None:
    write_gta(tmp_path, seeds=range(40, 43), height=32, width=48)
    names = ["00001.png", "00002.png", "00003.png"]
    assert list(_files(tmp_path)) == [f"{folder}/{name}" for folder in ("images", "labels") for name in names]
    expected = draw_scene(41, SOURCE_DOMAIN, height=32, width=48)
    label = Image.open(tmp_path / "labels" / "00002.png")
    assert label.mode == "P"
    assert np.array_equal(np.asarray(label), expected.label_ids)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "images" / "00002.png")), expected.image)


def test_every_second_scene_of_an_emphasized_set_shows_a_class_near_which_takes_turns(tmp_path: Path) -> None:
    count = 2 * len(EMPHASIZED)
    write_gta(tmp_path, seeds=range(count), height=64, width=64, domain_of=town_domain, emphasized=True)
    shown = []
    for seed in range(count):
        written = np.asarray(Image.open(tmp_path / "images" / f"{seed + 1:05d}.png"))
        plain = draw_scene(seed, town_domain(seed), height=64, width=64)
        assert np.array_equal(written, plain.image) == (seed % 2 == 0)
        shown += [
            name
            for name in EMPHASIZED
            if seed % 2
            and np.array_equal(
                written, draw_scene(seed, town_domain(seed), height=64, width=64, emphasis=name).image
            )
        ]
    assert shown == list(EMPHASIZED)


def test_a_cityscapes_folder_has_its_splits_city_and_file_names(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, train_seeds=range(2), val_seeds=range(10, 11), height=32, width=64)
    assert list(_files(tmp_path)) == [
        "gtFine/train/procedural/procedural_000000_000019_gtFine_labelIds.png",
        "gtFine/train/procedural/procedural_000001_000019_gtFine_labelIds.png",
        "gtFine/val/procedural/procedural_000000_000019_gtFine_labelIds.png",
        "leftImg8bit/train/procedural/procedural_000000_000019_leftImg8bit.png",
        "leftImg8bit/train/procedural/procedural_000001_000019_leftImg8bit.png",
        "leftImg8bit/val/procedural/procedural_000000_000019_leftImg8bit.png",
    ]
    expected = draw_scene(10, TARGET_DOMAIN, height=32, width=64)
    label = Image.open(tmp_path / "gtFine/val/procedural/procedural_000000_000019_gtFine_labelIds.png")
    assert label.mode == "L"
    assert np.array_equal(np.asarray(label), expected.label_ids)


def test_folders_have_the_same_bytes_every_time_and_with_any_number_of_workers(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("again", 1), ("two", 2)):
        write_gta(tmp_path / name, seeds=range(3), height=24, width=24, workers=workers)
    assert _files(tmp_path / "one") == _files(tmp_path / "again") == _files(tmp_path / "two")
