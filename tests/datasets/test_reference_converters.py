"""Conversion against DAFormer's own `tools/convert_datasets/{gta,synthia,cityscapes}.py`.

`golden/daformer_converters.npz` holds the bytes of the files that those scripts (DAFormer e6f6e04, with
cityscapesScripts 2.3.0 and Pillow 13.0.0) wrote for the trees below, each called as in DAFormer's README from
the folder above `data/`, with one process. What they import of mmcv 1.x, the listing of folders and the
progress bar, was mmengine's, where it lives today. The listing was sorted, as ours is: DAFormer takes
Cityscapes' frames in the file system's order.
"""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as cityscapes_labels
from cityscapesscripts.preparation.json2labelImg import json2labelImg
from PIL import Image

from datum.datasets.convert import convert
from datum.methods import DatasetName

GOLDEN = Path(__file__).parent / "golden/daformer_converters.npz"
WIDTH, HEIGHT = 48, 32


def blocks(seed: int, largest: int) -> np.ndarray:
    """Label ids in blocks of 8 x 8 pixels, with single pixels of every id from 0 to `largest` among them."""
    random = np.random.RandomState(seed)
    ids = random.randint(0, largest + 1, (HEIGHT // 8, WIDTH // 8)).repeat(8, 0).repeat(8, 1)
    ids.ravel()[random.permutation(ids.size)[: largest + 1]] = np.arange(largest + 1)
    return ids.astype(np.uint8)


def write_image(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (90, 100, 110)).save(file)


def write_gta(root: Path) -> None:
    """Plain gray labels, one with a palette, one void alone and one in a sub-folder."""
    labels = {
        "00003.png": blocks(0, 34),
        "00001.png": blocks(1, 34),
        "00010.png": np.full((HEIGHT, WIDTH), 3, np.uint8),
        "night/00002.png": blocks(2, 34),
    }
    for name, ids in labels.items():
        write_image(root / "images" / name)
        label = Image.fromarray(ids)
        if name == "00001.png":
            label.putpalette(np.random.RandomState(3).randint(0, 256, 768).astype(np.uint8).tobytes())
        (root / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
        label.save(root / "labels" / name)


def write_synthia(root: Path) -> None:
    """Labels of three 16-bit channels: the id, the instance, nothing."""
    (root / "GT/LABELS").mkdir(parents=True)
    for index in range(3):
        write_image(root / f"RGB/{index:07d}.png")
        ids = blocks(10 + index, 22).astype(np.uint16)
        instances = np.random.RandomState(20 + index).randint(0, 65536, ids.shape).astype(np.uint16)
        blue_green_red = np.stack([np.zeros_like(ids), instances, ids], axis=2)
        assert cv2.imwrite(str(root / f"GT/LABELS/{index:07d}.png"), blue_green_red)


def write_cityscapes(root: Path) -> None:
    """Polygons of every class and of groups, and the label ids that cityscapesScripts draws from them."""
    frames = [
        ("train", "aachen_000000_000019"),
        ("train", "aachen_000001_000019"),
        ("train", "bochum_000000_000019"),
        ("val", "munster_000000_000019"),
        ("test", "berlin_000000_000019"),
    ]
    names = [label.name for label in cityscapes_labels] + ["cargroup", "persongroup"]
    for seed, (split, frame) in enumerate(frames):
        random = np.random.RandomState(30 + seed)
        city = frame.partition("_")[0]
        write_image(root / f"leftImg8bit/{split}/{city}/{frame}_leftImg8bit.png")
        objects = [
            {
                "label": names[random.randint(len(names))],
                "polygon": np.column_stack(
                    [random.randint(0, WIDTH, 4), random.randint(0, HEIGHT, 4)]
                ).tolist(),
            }
            for _ in range(30)
        ]
        polygons = root / f"gtFine/{split}/{city}/{frame}_gtFine_polygons.json"
        polygons.parent.mkdir(parents=True, exist_ok=True)
        polygons.write_text(json.dumps({"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": objects}))
        json2labelImg(str(polygons), str(polygons).replace("_polygons.json", "_labelIds.png"), "ids")


WRITERS: dict[DatasetName, Callable[[Path], None]] = {
    "gta": write_gta,
    "synthia": write_synthia,
    "cityscapes": write_cityscapes,
}
TEXTS = ("sample_class_stats*.json", "samples_with_class.json", "train.txt", "val.txt", "test.txt")


@dataclasses.dataclass(frozen=True)
class Converted:
    """Files by their path below the root: what our conversion wrote, and what DAFormer's did."""

    ours: dict[str, bytes]
    daformers: dict[str, bytes]


def written_files(root: Path) -> dict[str, bytes]:
    """The files of a converted `root` that a converter wrote."""
    files = sorted(file for pattern in ("**/*_labelTrainIds.png", *TEXTS) for file in root.glob(pattern))
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def decoded(label: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(label)) as image:
        assert image.mode == "L"
        return np.asarray(image)


@pytest.fixture(params=list(WRITERS))
def converted(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Converted:
    """A data set's tree, converted in the folder above `data/`."""
    monkeypatch.chdir(tmp_path)
    root = Path("data", request.param)
    WRITERS[request.param](root)
    convert(request.param, root, workers=1)
    prefix = f"{request.param}/"
    with np.load(GOLDEN) as arrays:
        names = [name for name in arrays.files if name.startswith(prefix)]
        expected = {name.removeprefix(prefix): arrays[name].tobytes() for name in names}
    return Converted(written_files(root), expected)


def test_the_files_written_are_daformers(converted: Converted) -> None:
    assert converted.ours.keys() == converted.daformers.keys()


def test_labels_have_the_pixels_of_daformers(converted: Converted) -> None:
    for name, label in converted.daformers.items():
        if name.endswith(".png"):
            assert np.array_equal(decoded(converted.ours[name]), decoded(label)), name


def test_labels_have_the_bytes_of_daformers(converted: Converted) -> None:
    for name, label in converted.daformers.items():
        if name.endswith(".png"):
            # Bytes are those of the Pillow in requirements.lock: another may compress the same pixels
            # otherwise, and then fails here alone.
            assert converted.ours[name] == label, name


def test_indices_and_lists_of_frames_have_the_text_of_daformers(converted: Converted) -> None:
    for name, text in converted.daformers.items():
        if not name.endswith(".png"):
            assert converted.ours[name].decode() == text.decode(), name
