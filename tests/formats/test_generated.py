"""Manifests of drawn images, as any hand may have written them."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from datum.errors import InputError
from datum.formats.generated import (
    GeneratedImage,
    read_drawings,
    read_manifest,
    remove_other_files,
    surviving_images,
    verify_images,
)

CONTENT = b"an image"
IMAGE = GeneratedImage(
    index=3,
    prompt="a photo of sks cars",
    seed=7,
    file="images/im_3_p1.png",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    model="0" * 64,
    redrawn=0,
)
LINE = dataclasses.asdict(IMAGE)

HOSTILE: dict[str, Any] = {
    "above": LINE | {"file": "../../secret.png"},
    "absolute": LINE | {"file": "/etc/passwd"},
    "hidden above": LINE | {"file": "images/../../secret.png"},
    "no text": LINE | {"file": "images/im_3_p1.png\0"},
    "another index": LINE | {"file": "images/im_4_p1.png"},
    "index in words": LINE | {"index": "3"},
    "index of truth": LINE | {"index": True},
    "negative index": LINE | {"index": -3},
    "huge index": LINE | {"index": 10**30},
    "no digest": LINE | {"sha256": "x"},
    "list of prompts": LINE | {"prompt": ["a"]},
    "one field more": LINE | {"more": 1},
    "a list": [],
    "a number": 1e999,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one image, whose manifest is yet to be written; a secret lies above it."""
    (tmp_path / "secret.png").write_bytes(CONTENT)
    folder = tmp_path / "output"
    (folder / "images").mkdir(parents=True)
    (folder / IMAGE.file).write_bytes(CONTENT)
    return folder


def hostile_lines() -> dict[str, bytes]:
    return {name: json.dumps(line).encode() for name, line in HOSTILE.items()} | {
        "not UTF-8": b'{"index": 3, "prompt": "\xff"}',
        "deep": b"[" * 60_000,
        "huge": b'{"index": 3, "prompt": "' + b"a" * 10**6 + b'"}',
        "half": json.dumps(LINE).encode()[:50],
        "many digits": b'{"index": ' + b"9" * 5000 + b"}",
    }


@pytest.mark.parametrize("line", hostile_lines().values(), ids=hostile_lines())
def test_a_hostile_line_is_passed_over_in_unfinished_work_and_named_in_finished(
    folder: Path, line: bytes
) -> None:
    manifest = folder / "manifest.jsonl"
    manifest.write_bytes(line + b"\n" + json.dumps(LINE).encode() + b"\n")
    assert surviving_images(folder, GeneratedImage) == [IMAGE]
    with pytest.raises(InputError, match=r"manifest\.jsonl, line 1: .*; generate the folder again") as raised:
        read_manifest(folder)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    "name", ["above", "absolute", "hidden above", "no text", "list of prompts", "a list"]
)
def test_no_drawing_lies_outside_of_its_folder(folder: Path, name: str) -> None:
    (folder / "manifest.jsonl").write_text(json.dumps(HOSTILE[name]) + "\n")
    with pytest.raises(InputError, match=r"manifest\.jsonl, line 1"):
        read_drawings(folder)


def test_an_image_named_twice_is_refused(folder: Path) -> None:
    (folder / "manifest.jsonl").write_text(2 * (json.dumps(LINE) + "\n"))
    assert surviving_images(folder, GeneratedImage) == [IMAGE]
    with pytest.raises(InputError, match=r"line 2: names image 3 again"):
        read_manifest(folder)


def test_a_link_is_no_image(folder: Path, tmp_path: Path) -> None:
    (folder / IMAGE.file).unlink()
    (folder / IMAGE.file).symlink_to(tmp_path / "secret.png")
    (folder / "manifest.jsonl").write_text(json.dumps(LINE) + "\n")
    assert surviving_images(folder, GeneratedImage) == []
    with pytest.raises(InputError, match=r"im_3_p1\.png: is a link"):
        verify_images(folder, read_manifest(folder))


def test_other_files_than_the_images_are_removed_and_a_link_in_their_place_is_not_followed(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "images/.datum-01234567.png").write_bytes(b"half an im")
    remove_other_files(folder, [IMAGE])
    assert [file.name for file in (folder / "images").iterdir()] == ["im_3_p1.png"]
    (folder / "images").rename(tmp_path / "elsewhere")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    remove_other_files(folder, [])
    assert list((folder / "images").iterdir()) == []
    assert [file.name for file in (tmp_path / "elsewhere").iterdir()] == ["im_3_p1.png"]
