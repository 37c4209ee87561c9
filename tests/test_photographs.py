"""Reading images: whole ones come back, broken ones are named."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datum.errors import InputError
from datum.label_files import read_label
from datum.photographs import image_header, open_image, open_one_shot_image, read_image


def _noise(file: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


@pytest.mark.parametrize("name", ["street.png", "street.jpg"])
def test_the_header_tells_size_and_mode_of_a_whole_file(tmp_path: Path, name: str) -> None:
    assert image_header(_noise(tmp_path / name)) == ((48, 64), "RGB")
    assert read_image(tmp_path / name).shape == (64, 48, 3)


@pytest.mark.parametrize("reader", [image_header, open_image, read_image, read_label, open_one_shot_image])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.99])
def test_a_file_that_is_cut_short_is_refused_by_name(tmp_path: Path, reader: object, share: float) -> None:
    file = _noise(tmp_path / "street.png")
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"street\.png: cannot be read as an image") as error:
        reader(file)  # type: ignore[operator]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("reader", [image_header, open_image, open_one_shot_image])
def test_a_text_file_is_refused_by_name(tmp_path: Path, reader: object) -> None:
    file = tmp_path / "image.png"
    file.write_text("no image")
    with pytest.raises(InputError, match=r"image\.png: cannot be read as an image"):
        reader(file)  # type: ignore[operator]


def test_a_damaged_byte_within_a_png_is_noticed(tmp_path: Path) -> None:
    file = _noise(tmp_path / "street.png")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"street\.png: cannot be read"):
        open_image(file)


def test_a_missing_one_shot_image_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_one_shot_image(tmp_path / "absent.png")
    with pytest.raises(InputError, match="is a folder"):
        open_one_shot_image(tmp_path)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_an_image_that_is_not_rgb_is_refused_with_its_mode(tmp_path: Path, mode: str) -> None:
    file = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new(mode, (8, 6)).save(file)
    with pytest.raises(InputError, match=rf"found mode {mode}, expected RGB") as error:
        open_one_shot_image(file)
    assert "\n" not in str(error.value)


def test_sixteen_bits_a_channel_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "deep.png"
    assert cv2.imwrite(str(file), np.zeros((6, 8, 3), np.uint16))
    with pytest.raises(InputError, match=r"deep\.png: found RGB with 16 bits per channel"):
        open_one_shot_image(file)


def test_a_jpeg_photograph_is_accepted(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "street.jpg")
    open_one_shot_image(tmp_path / "street.jpg")
