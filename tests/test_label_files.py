"""Reading label PNGs, and whether one fits its image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum.errors import InputError
from datum.label_files import read_label, require_same_size


def test_color_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mode RGB, expected label ids"):
        read_label(_plain(tmp_path / "label.png", (48, 64)))


def test_a_palette_label_gives_its_ids(tmp_path: Path) -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.reshape(-1).tolist())
    image.save(tmp_path / "label.png")
    assert (read_label(tmp_path / "label.png") == ids).all()


def test_a_label_of_another_size_than_its_image_is_refused_with_both_sizes(tmp_path: Path) -> None:
    image, label = _plain(tmp_path / "image.png", (48, 64)), _plain(tmp_path / "label.png", (48, 64))
    assert require_same_size(image, label) == (48, 64)
    _plain(label, (24, 32))
    with pytest.raises(InputError, match=r"label\.png: found 24x32 pixels, expected 48x64, .*image\.png"):
        require_same_size(image, label)


def _plain(file: Path, size: tuple[int, int]) -> Path:
    Image.new("RGB", size).save(file)
    return file
