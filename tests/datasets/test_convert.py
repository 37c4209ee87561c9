"""Conversion to train ids, against maps and JSON layouts written down independently of `datum`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as cityscapes_labels
from cityscapesscripts.preparation.json2labelImg import json2labelImg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datum.datasets.convert import convert
from datum.methods import DatasetName
from tests.datasets.small_datasets import (
    files_below,
    random_ids,
    write_gta_label,
    write_image,
    write_large_labels,
    write_synthia_label,
)

CITYSCAPES_MAP = {label.id: label.trainId for label in cityscapes_labels if 0 <= label.trainId < 255}
# DAFormer's table for SYNTHIA, id -> train id.
SYNTHIA_MAP = dict(
    zip(
        (3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11),
        range(19),
    )
)


def naive(label_ids: np.ndarray, id_to_train_id: dict[int, int]) -> np.ndarray:
    train_ids = np.full(label_ids.shape, 255, np.uint8)
    for label_id, train_id in id_to_train_id.items():
        train_ids[label_ids == label_id] = train_id
    return train_ids


def naive_counts(train_ids: np.ndarray) -> dict[str, int]:
    return {str(c): n for c in range(19) if (n := int((train_ids == c).sum())) > 0}


def png_bytes(train_ids: np.ndarray, tmp_path: Path) -> bytes:
    file = tmp_path / "expected.png"
    Image.fromarray(train_ids).save(file)
    return file.read_bytes()


def test_every_gta_id_maps_as_cityscapes_labels_do_and_the_bytes_are_pillows(tmp_path: Path) -> None:
    ids = np.arange(35, dtype=np.uint8).reshape(5, 7)
    write_gta_label(tmp_path / "gta", "00001.png", ids)
    convert("gta", tmp_path / "gta", workers=1)
    written = (tmp_path / "gta/labels/00001_labelTrainIds.png").read_bytes()
    assert written == png_bytes(naive(ids, CITYSCAPES_MAP), tmp_path)


def test_a_palette_label_is_read_by_its_indices(tmp_path: Path) -> None:
    ids = random_ids(0, 34)
    write_gta_label(tmp_path / "gta", "00001.png", ids)
    image = Image.fromarray(ids)
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(tmp_path / "gta/labels/00001.png")
    convert("gta", tmp_path / "gta", workers=1)
    written = (tmp_path / "gta/labels/00001_labelTrainIds.png").read_bytes()
    assert written == png_bytes(naive(ids, CITYSCAPES_MAP), tmp_path)


def test_synthia_ids_come_from_the_first_16_bit_channel(tmp_path: Path) -> None:
    ids = np.arange(23, dtype=np.uint8).reshape(1, 23)
    instances = np.arange(23, dtype=np.uint16)[None] * 2800
    write_synthia_label(tmp_path / "synthia", "0000000.png", ids, instances)
    convert("synthia", tmp_path / "synthia", workers=1)
    written = (tmp_path / "synthia/GT/LABELS/0000000_labelTrainIds.png").read_bytes()
    assert written == png_bytes(naive(ids, SYNTHIA_MAP), tmp_path)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), dataset=st.sampled_from(["gta", "synthia"]))
def test_the_lookup_agrees_with_one_mask_a_class_on_any_label(
    data: st.DataObject, dataset: DatasetName, tmp_path_factory: pytest.TempPathFactory
) -> None:
    largest, id_map = {"gta": (34, CITYSCAPES_MAP), "synthia": (22, SYNTHIA_MAP)}[dataset]
    height, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    ids = data.draw(st.lists(st.integers(0, largest), min_size=height * width, max_size=height * width))
    label_ids = np.array(ids, dtype=np.uint8).reshape(height, width)
    root = tmp_path_factory.mktemp("root")
    if dataset == "gta":
        write_gta_label(root, "1.png", label_ids)
    else:
        write_synthia_label(root, "1.png", label_ids, np.full((height, width), 65535, np.uint16))
    convert(dataset, root, workers=1)
    (converted,) = root.rglob("*_labelTrainIds.png")
    train_ids = np.asarray(Image.open(converted))
    assert np.array_equal(train_ids, naive(label_ids, id_map))
    (stats,) = json.loads((root / "sample_class_stats.json").read_text())
    assert stats == {**naive_counts(train_ids), "file": str(converted)}


def test_the_json_files_are_those_of_daformer_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # 7 road, 8 sidewalk, 33 bicycle, 0 void; the second label meets a class before the first does
    write_gta_label(Path("data/gta"), "00001.png", np.array([[33, 7, 7]], np.uint8))
    write_gta_label(Path("data/gta"), "00002.png", np.array([[8, 7, 0]], np.uint8))
    convert("gta", Path("data/gta/"), workers=1)
    assert Path("data/gta/sample_class_stats.json").read_text() == (
        '[\n  {\n    "0": 2,\n    "18": 1,\n    "file": "data/gta/labels/00001_labelTrainIds.png"\n  },\n'
        '  {\n    "0": 1,\n    "1": 1,\n    "file": "data/gta/labels/00002_labelTrainIds.png"\n  }\n]'
    )
    assert Path("data/gta/sample_class_stats_dict.json").read_text() == (
        '{\n  "data/gta/labels/00001_labelTrainIds.png": {\n    "0": 2,\n    "18": 1\n  },\n'
        '  "data/gta/labels/00002_labelTrainIds.png": {\n    "0": 1,\n    "1": 1\n  }\n}'
    )
    assert Path("data/gta/samples_with_class.json").read_text() == (
        '{\n  "0": [\n    [\n      "data/gta/labels/00001_labelTrainIds.png",\n      2\n    ],\n'
        '    [\n      "data/gta/labels/00002_labelTrainIds.png",\n      1\n    ]\n  ],\n'
        '  "18": [\n    [\n      "data/gta/labels/00001_labelTrainIds.png",\n      1\n    ]\n  ],\n'
        '  "1": [\n    [\n      "data/gta/labels/00002_labelTrainIds.png",\n      1\n    ]\n  ]\n}'
    )


def write_cityscapes_frame(root: Path, split: str, frame: str, seed: int) -> Path:
    """An image and its annotation as polygons and, drawn by cityscapesScripts, as label ids."""
    rng = np.random.default_rng(seed)
    height, width = 48, 96
    names = [label.name for label in cityscapes_labels] + ["cargroup", "persongroup"]
    objects = [
        {
            "label": str(rng.choice(names)),
            "polygon": np.column_stack([rng.integers(0, width, 5), rng.integers(0, height, 5)]).tolist(),
        }
        for _ in range(25)
    ]
    city = frame.partition("_")[0]
    stem = root / "gtFine" / split / city / frame
    stem.parent.mkdir(parents=True, exist_ok=True)
    polygons = stem.with_name(f"{frame}_gtFine_polygons.json")
    polygons.write_text(json.dumps({"imgHeight": height, "imgWidth": width, "objects": objects}))
    json2labelImg(str(polygons), str(stem) + "_gtFine_labelIds.png", "ids")
    write_image(root / "leftImg8bit" / split / city / f"{frame}_leftImg8bit.png", height, width)
    return polygons


def test_cityscapes_labels_are_the_bytes_that_cityscapesscripts_draws_from_polygons(tmp_path: Path) -> None:
    root = tmp_path / "cityscapes"
    polygons = [
        write_cityscapes_frame(root, "train", "bochum_000000_000019", 1),
        write_cityscapes_frame(root, "train", "aachen_000001_000019", 2),
        write_cityscapes_frame(root, "val", "munster_000000_000019", 3),
    ]
    convert("cityscapes", root, workers=1)
    for file in polygons:
        json2labelImg(str(file), str(tmp_path / "expected.png"), "trainIds")
        converted = Path(str(file).replace("_polygons.json", "_labelTrainIds.png"))
        assert converted.read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_cityscapes_statistics_count_the_training_split_and_split_files_list_the_frames(
    tmp_path: Path,
) -> None:
    write_cityscapes_frame(tmp_path, "train", "bochum_000000_000019", 1)
    write_cityscapes_frame(tmp_path, "train", "aachen_000001_000019", 2)
    write_cityscapes_frame(tmp_path, "val", "munster_000000_000019", 3)
    convert("cityscapes", tmp_path, workers=1)
    stats = json.loads((tmp_path / "sample_class_stats.json").read_text())
    files = [
        tmp_path / "gtFine/train/aachen/aachen_000001_000019_gtFine_labelTrainIds.png",
        tmp_path / "gtFine/train/bochum/bochum_000000_000019_gtFine_labelTrainIds.png",
    ]
    assert stats == [{**naive_counts(np.asarray(Image.open(file))), "file": str(file)} for file in files]
    assert (
        tmp_path / "train.txt"
    ).read_text() == "aachen/aachen_000001_000019\nbochum/bochum_000000_000019\n"
    assert (tmp_path / "val.txt").read_text() == "munster/munster_000000_000019\n"
    assert not (tmp_path / "test.txt").exists()


def test_cityscapes_training_images_may_come_without_labels(tmp_path: Path) -> None:
    write_cityscapes_frame(tmp_path, "val", "munster_000000_000019", 3)
    write_image(tmp_path / "leftImg8bit/train/bochum/bochum_000000_000019_leftImg8bit.png", 8, 8)
    convert("cityscapes", tmp_path, workers=1)
    assert len(list(tmp_path.rglob("*_labelTrainIds.png"))) == 1


def test_processes_change_neither_bytes_nor_order(tmp_path: Path) -> None:
    write_large_labels(tmp_path / "one/gta")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    convert("gta", tmp_path / "one/gta", workers=1)
    convert("gta", tmp_path / "two/gta", workers=2)
    one, two = files_below(tmp_path / "one"), files_below(tmp_path / "two")
    assert len(one) == 3 * 4 + 3
    place = str(tmp_path / "two").encode()
    assert one == {name: data.replace(place, str(tmp_path / "one").encode()) for name, data in two.items()}


def test_converting_twice_gives_the_same_files_and_follows_changed_labels(gta: Path) -> None:
    convert("gta", gta, workers=1)
    first = files_below(gta)
    convert("gta", gta, workers=1)
    assert files_below(gta) == first
    changed = np.full((9, 14), 7, np.uint8)
    Image.fromarray(changed).save(gta / "labels/00001.png")
    convert("gta", gta, workers=1)
    stats = json.loads((gta / "sample_class_stats.json").read_text())
    assert stats[1] == {"0": 126, "file": str(gta / "labels/00001_labelTrainIds.png")}
    assert np.all(np.asarray(Image.open(gta / "labels/00001_labelTrainIds.png")) == 0)


def test_labels_folder_may_be_a_link_to_another_place(gta: Path, tmp_path: Path) -> None:
    (gta / "labels").rename(tmp_path / "elsewhere")
    (gta / "labels").symlink_to(tmp_path / "elsewhere")
    convert("gta", gta, workers=1)
    assert (tmp_path / "elsewhere/00000_labelTrainIds.png").is_file()


def test_a_killed_conversion_leaves_no_index_and_the_next_one_completes_it(tmp_path: Path) -> None:
    root, whole = tmp_path / "gta", tmp_path / "whole"
    for index in range(120):
        write_gta_label(root, f"{index:05d}.png", random_ids(index, 34, 96, 96))
    shutil.copytree(root, whole)
    script = "from datum.datasets.convert import convert; from pathlib import Path; import sys; "
    script += "convert('gta', Path(sys.argv[1]), workers=1)"
    process = subprocess.Popen([sys.executable, "-c", script, str(root)], stderr=subprocess.DEVNULL)
    while not any((root / "labels").glob(".*")) and process.poll() is None:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the conversion ended before it could be killed"
    assert not list(root.glob("*.json"))
    convert("gta", root, workers=1)
    convert("gta", whole, workers=1)
    place = str(whole).encode()
    expected = {n: data.replace(place, str(root).encode()) for n, data in files_below(whole).items()}
    assert files_below(root) == expected
