"""Reading images: whole ones come back upright, others are named."""

import io
import os
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from datum.errors import InputError
from datum.label_files import read_label, read_synthia_label
from datum.photographs import image_header, open_image, open_one_shot_image, read_image
from datum.reporting.pictures import label_map, photograph

ROOT = Path(__file__).parents[1]
READERS: tuple[Callable[[Path], object], ...] = (
    image_header,
    open_image,
    read_image,
    read_label,
    read_synthia_label,
    open_one_shot_image,
    lambda file: photograph(file, 100),
    lambda file: label_map(file, 100),
)
"""Everything that opens an image file."""
every_reader = pytest.mark.parametrize("reader", READERS)


def _noise(file: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def refusal(reader: Callable[[Path], object], file: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        reader(file)
    assert "\n" not in str(error.value) and str(error.value).startswith(str(file))


@pytest.mark.parametrize("name", ["street.png", "street.jpg"])
def test_the_header_tells_size_and_mode_of_a_whole_file(tmp_path: Path, name: str) -> None:
    assert image_header(_noise(tmp_path / name)) == ((48, 64), "RGB")
    assert read_image(tmp_path / name).shape == (64, 48, 3)


@every_reader
@pytest.mark.parametrize("share", [0.0, 0.2, 0.99])
def test_a_file_that_is_cut_short_is_refused_by_name(
    tmp_path: Path, reader: Callable[[Path], object], share: float
) -> None:
    file = _noise(tmp_path / "street.png")
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    refusal(reader, file, "cannot be read as an image")


@every_reader
@pytest.mark.parametrize(
    "content",
    [
        b"no image",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(ran) (w) file closefile\nshowpage\n%%EOF\n",
        b"GIF89a\x01\x00\x01\x00\x00\x00\x00;",
        b"BM" + bytes(60),
        b"II*\x00\x08\x00\x00\x00" + bytes(40),
    ],
    ids=["text", "EPS", "GIF", "BMP", "TIFF"],
)
def test_no_other_format_is_opened_whatever_the_name_says(
    tmp_path: Path, reader: Callable[[Path], object], content: bytes
) -> None:
    (tmp_path / "x.png").write_bytes(content)
    refusal(reader, tmp_path / "x.png", "neither PNG nor JPEG")
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_images_are_opened_in_one_place_of_the_product() -> None:
    files = [file for top in ("datum", "components", "pipelines") for file in (ROOT / top).rglob("*.py")]
    opening = [file for file in files if re.search(r"Image\.open\(|cv2\.imread\(", file.read_text())]
    assert opening == [ROOT / "datum/photographs.py"]


def test_a_damaged_byte_anywhere_within_a_png_is_noticed(tmp_path: Path) -> None:
    data = _noise(tmp_path / "street.png").read_bytes()
    file = tmp_path / "damaged.png"
    for position in range(0, len(data), 97):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        file.write_bytes(bytes(damaged))
        refusal(open_image, file, "cannot be read|expected at most")


@pytest.mark.parametrize("name", ["phone.jpg", "phone.png"])
def test_bytes_after_the_end_are_no_damage(tmp_path: Path, name: str) -> None:
    file = _noise(tmp_path / name)
    whole = read_image(file)
    file.write_bytes(file.read_bytes() + b"ftypmp42" + bytes(3000))
    assert image_header(file) == ((48, 64), "RGB")
    assert (read_image(file) == whole).all()
    open_one_shot_image(file)


def test_the_end_of_a_preview_inside_a_jpeg_is_not_its_end(tmp_path: Path) -> None:
    preview = io.BytesIO()
    Image.new("RGB", (8, 8)).save(preview, "JPEG")
    file = tmp_path / "phone.jpg"
    Image.new("RGB", (48, 64)).save(file)
    data, block = file.read_bytes(), preview.getvalue()
    file.write_bytes(data[:2] + b"\xff\xe5" + struct.pack(">H", len(block) + 2) + block + data[2:])
    assert open_image(file).size == (48, 64)
    file.write_bytes(file.read_bytes()[:-2])
    for reader in (image_header, open_image):
        refusal(reader, file, "truncated JPEG")


def _turned(file: Path, orientation: int, shown: np.ndarray) -> Path:
    """The picture `shown`, stored in another position with a tag that says how to turn it."""
    stored = {1: shown, 3: shown[::-1, ::-1], 6: np.rot90(shown), 8: np.rot90(shown, -1)}[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(file, exif=exif)
    return file


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_photograph_is_read_as_every_viewer_shows_it(tmp_path: Path, orientation: int) -> None:
    shown = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    file = _turned(tmp_path / "phone.png", orientation, shown)
    assert (read_image(file) == shown).all()
    assert (np.asarray(open_one_shot_image(file)) == shown).all()
    assert image_header(file)[0] == (48, 64)
    assert (photograph(file, 100).width, photograph(file, 100).height) == (48, 64)
    assert open_one_shot_image(_turned(tmp_path / "phone.jpg", orientation, shown)).size == (48, 64)


def test_a_tag_after_the_pixels_of_a_png_counts_too(tmp_path: Path) -> None:
    shown = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    file = _turned(tmp_path / "phone.png", 6, shown)
    data = file.read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    file.write_bytes(data[:start] + data[end:-12] + data[start:end] + data[-12:])
    assert image_header(file)[0] == (48, 64)
    assert (read_image(file) == shown).all()


@pytest.mark.parametrize(
    "mode, saved",
    [
        ("RGB", {}),
        ("RGB", {"transparency": (1, 2, 3)}),
        ("RGB", {"icc_profile": b"no profile"}),
        ("RGBA", {}),
        ("L", {"transparency": 7}),
        ("P", {}),
    ],
)
@pytest.mark.parametrize("gamma", [45_455, 100_000])
def test_a_png_of_any_kind_is_read_as_pillow_reads_it(
    tmp_path: Path, mode: str, saved: dict[str, Any], gamma: int
) -> None:
    file, chunks = tmp_path / "street.png", PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", gamma))
    with Image.open(_noise(file)) as opened:
        opened.convert(mode).save(file, pnginfo=chunks, **saved)
    with Image.open(file) as opened:
        np.testing.assert_array_equal(read_image(file), np.asarray(opened.convert("RGB")))


def test_pixels_that_cannot_be_unpacked_are_refused_though_their_checksum_is_right(tmp_path: Path) -> None:
    file = _noise(tmp_path / "street.png")
    data = file.read_bytes()
    start = data.index(b"IDAT")
    length = int.from_bytes(data[start - 4 : start])
    chunk = data[start : start + 4] + bytes(length)
    file.write_bytes(
        data[:start] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[start + 4 + length + 4 :]
    )
    for reader in (read_image, open_image):
        refusal(reader, file, "cannot be read as an image")


def test_a_damaged_tag_turns_nothing(tmp_path: Path) -> None:
    file = tmp_path / "phone.jpg"
    Image.new("RGB", (48, 64)).save(file, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff broken")
    assert open_one_shot_image(file).size == (48, 64)


def _claiming(file: Path, width: int, height: int) -> Path:
    """A PNG of a few bytes that says it has this size."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b""))]
    body = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
        for k, d in [*chunks, (b"IEND", b"")]
    )
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return file


@every_reader
def test_an_image_that_is_too_large_is_refused_with_its_size_and_a_remedy(
    tmp_path: Path, reader: Callable[[Path], object]
) -> None:
    file = _claiming(tmp_path / "huge.png", 15_000, 13_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refusal(reader, file, r"found 15000x13000 pixels, expected at most 179 million; make it smaller")


def test_a_line_of_a_million_pixels_is_no_photograph(tmp_path: Path) -> None:
    Image.new("RGB", (1_000_000, 1)).save(tmp_path / "line.png")
    refusal(open_one_shot_image, tmp_path / "line.png", "found 1000000x1 pixels, expected a photograph")


@every_reader
def test_what_is_no_regular_file_is_named_and_not_waited_for(
    tmp_path: Path, reader: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name, message in (
        ("absent.png", "no such file|missing"),
        (".", "is a folder|missing"),
        ("pipe.png", "is a pipe|missing"),
        ("loop.png", "is a link that leads to itself|missing"),
    ):
        refusal(reader, tmp_path / name, message)
    refusal(open_image, Path("/dev/zero"), "is a device")
    refusal(open_image, tmp_path / ("x" * 300 + ".png"), "its name is too long")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_an_image_that_is_not_rgb_is_refused_with_its_mode(tmp_path: Path, mode: str) -> None:
    file = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new(mode, (8, 6)).save(file)
    refusal(open_one_shot_image, file, f"found mode {mode}, expected RGB")


def test_sixteen_bits_a_channel_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "deep.png"
    assert cv2.imwrite(str(file), np.zeros((6, 8, 3), np.uint16))
    refusal(open_one_shot_image, file, "found RGB with 16 bits per channel")


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    refusal(open_one_shot_image, tmp_path / "moving.png", "is an animation")


def test_a_jpeg_photograph_and_one_with_a_second_picture_are_accepted(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "street.jpg")
    Image.new("RGB", (8, 6)).save(
        tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (4, 3))]
    )
    assert open_one_shot_image(tmp_path / "street.jpg").size == (8, 6)
    assert open_one_shot_image(tmp_path / "phone.jpg").size == (8, 6)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG"]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
)
def test_any_damage_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, kind: str, edits: list[tuple[float, int]]
) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3)).save(stream, kind)
    data = bytearray(stream.getvalue())
    for place, value in edits:
        data[int(place * (len(data) - 1))] = value
    file = tmp_path_factory.getbasetemp() / "edited.png"
    file.write_bytes(bytes(data))
    for reader in (image_header, open_one_shot_image, read_label):
        try:
            reader(file)
        except InputError as error:
            assert "\n" not in str(error)
