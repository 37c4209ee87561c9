"""Images kept in a store, whatever has become of their records."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from datum.formats.generated import IMAGES, GeneratedImage, surviving_images
from datum.generation.kept_images import KeptImages
from datum.store import Store, open_store

COUNT = 4


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(tmp_path / "store")
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/state")


@pytest.fixture
def images(store: Store, tmp_path: Path) -> list[GeneratedImage]:
    """Some images that are kept in the store."""
    folder = tmp_path / "drawn"
    (folder / IMAGES).mkdir(parents=True)
    images = []
    for index in range(COUNT):
        content = b"image %d" % index
        image = GeneratedImage(
            index=index,
            prompt="a photo",
            seed=index,
            file=f"{IMAGES}/im_{index}_p0.png",
            sha256=hashlib.sha256(content).hexdigest(),
            model="0" * 64,
            redrawn=0,
        )
        (folder / image.file).write_bytes(content)
        KeptImages(store, GeneratedImage).keep(folder, image)
        images.append(image)
    return images


def restored(store: Store, folder: Path) -> list[GeneratedImage]:
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    KeptImages(store, GeneratedImage).restore(folder)
    return sorted(surviving_images(folder, GeneratedImage), key=lambda image: image.index)


def test_what_was_kept_is_restored_once(store: Store, images: list[GeneratedImage], tmp_path: Path) -> None:
    for _ in range(2):
        assert restored(store, tmp_path / "back") == images
    assert len((tmp_path / "back/manifest.jsonl").read_text().splitlines()) == COUNT


def test_an_image_that_is_damaged_here_is_brought_again(
    store: Store, images: list[GeneratedImage], tmp_path: Path
) -> None:
    restored(store, tmp_path / "back")
    (tmp_path / "back" / images[1].file).write_bytes(b"cut")
    assert restored(store, tmp_path / "back") == images


HOSTILE: list[Any] = [
    *(b"", b"\xff", b"{", b"[]", b"null", b"1", b"[" * 100_000, b"{}"),
    *(
        {"file": name}
        for name in ("../x", "/etc/x", "images/../x", "images/im_1_p0.png\0", "im_1_p0.png", "", 7)
    ),
    *({"file": "images/im_2_p0.png"}, {"sha256": "x"}, {"sha256": "0" * 64}, {"sha256": 1}, {"other": 1}),
]


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: str(change)[:30])
def test_an_image_whose_record_is_damaged_or_hostile_is_left_out(
    store: Store,
    images: list[GeneratedImage],
    tmp_path: Path,
    change: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = (
        change if isinstance(change, bytes) else json.dumps(dataclasses.asdict(images[1]) | change).encode()
    )
    store.write_bytes("records/00000001.json", record)
    (tmp_path / "place").mkdir()
    assert restored(store, tmp_path / "place/back") == [image for image in images if image.index != 1]
    assert [file.name for file in (tmp_path / "place").iterdir()] == ["back"]
    assert "is drawn again" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"image X"])
def test_an_image_that_is_gone_or_damaged_in_the_store_is_left_out(
    store: Store, images: list[GeneratedImage], tmp_path: Path, content: bytes | None
) -> None:
    if content is None:
        store.delete(images[1].file)
    else:
        store.write_bytes(images[1].file, content)
    assert restored(store, tmp_path / "back") == [image for image in images if image.index != 1]
