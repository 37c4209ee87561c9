"""The labeled validation images of a data set in Cityscapes' layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum.errors import InputError
from datum.segmentation.validation import find_validation_images, load_label
from datum.streetscenes.drawing import write_cityscapes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_cityscapes(tmp_path / "cityscapes", train_seeds=range(1), val_seeds=range(4), height=32, width=48)
    return tmp_path / "cityscapes"


def test_the_validation_set_is_the_val_split(root: Path, tmp_path: Path) -> None:
    found = find_validation_images(root)
    assert len(found) == 4
    assert all("/val/" in str(v.image) and "_labelIds" in v.label.name and v.size == (48, 32) for v in found)
    with pytest.raises(InputError, match=r"leftImg8bit/val: no such folder; expected Cityscapes"):
        find_validation_images(tmp_path)


def test_a_validation_image_without_its_label_is_named(root: Path) -> None:
    missing = find_validation_images(root)[2]
    missing.label.unlink()
    with pytest.raises(
        InputError, match=f"{missing.image.name}: its label is missing, .*{missing.label.name}"
    ):
        find_validation_images(root)


def test_a_label_of_another_size_is_named_with_both_sizes(root: Path) -> None:
    label = find_validation_images(root)[0].label
    Image.new("L", (24, 16)).save(label)
    with pytest.raises(InputError, match=f"{label.name}: found 24x16 pixels, expected 48x32"):
        find_validation_images(root)


def test_ids_outside_the_label_space_are_refused(root: Path) -> None:
    label = find_validation_images(root)[0].label
    Image.fromarray(np.full((32, 48), 77, np.uint8)).save(label)
    with pytest.raises(
        InputError, match=f"{label.name}: found label id 77, expected ids of Cityscapes, from 0 to 34"
    ):
        load_label(label)
