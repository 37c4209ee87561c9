"""Reading label PNGs, and whether one fits its image."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum.errors import InputError
from datum.label_files import read_label, read_synthia_label, require_same_size


def test_color_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mode RGB, expected label ids"):
        read_label(_plain(tmp_path / "label.png", (48, 64)))


def test_a_palette_label_gives_its_ids(tmp_path: Path) -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.reshape(-1).tolist())
    image.save(tmp_path / "label.png")
    assert (read_label(tmp_path / "label.png") == ids).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_palette_of_few_colors_gives_its_indices_and_gray_of_few_bits_is_refused(
    tmp_path: Path, bits: int
) -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4) % 2**bits
    image = Image.fromarray(ids)
    image.putpalette([0, 0, 0, 255, 255, 255] * 128)
    image.save(tmp_path / "palette.png", bits=bits)
    assert (tmp_path / "palette.png").read_bytes()[24] == bits
    assert (read_label(tmp_path / "palette.png") == ids).all()
    # Pillow writes no gray of few bits: the same pixels under another header.
    data = bytearray((tmp_path / "palette.png").read_bytes())
    data[25] = 0
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    (tmp_path / "gray.png").write_bytes(bytes(data))
    with pytest.raises(InputError, match=rf"gray\.png: found {bits} bits a pixel, expected label ids"):
        read_label(tmp_path / "gray.png")


@pytest.mark.parametrize("reader", [read_label, read_synthia_label])
def test_a_jpeg_by_the_name_of_a_png_is_no_label(
    tmp_path: Path, reader: Callable[[Path], np.ndarray]
) -> None:
    Image.new("L", (8, 6)).save(tmp_path / "label.png", "JPEG")
    with pytest.raises(InputError, match=r"label\.png: found a JPEG, expected label ids in a PNG"):
        reader(tmp_path / "label.png")


def test_a_label_of_sixteen_bits_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((6, 8), np.uint16)).save(tmp_path / "label.png")
    with pytest.raises(InputError, match=r"label\.png: found an image of mode I;16"):
        read_label(tmp_path / "label.png")


def test_a_label_of_another_size_than_its_image_is_refused_with_both_sizes(tmp_path: Path) -> None:
    image, label = _plain(tmp_path / "image.png", (48, 64)), _plain(tmp_path / "label.png", (48, 64))
    assert require_same_size(image, label) == (48, 64)
    _plain(label, (24, 32))
    with pytest.raises(InputError, match=r"label\.png: found 24x32 pixels, expected 48x64, .*image\.png"):
        require_same_size(image, label)


def _plain(file: Path, size: tuple[int, int]) -> Path:
    Image.new("RGB", size).save(file)
    return file
