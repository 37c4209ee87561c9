"""Data sets by URI: ingested once through a real S3 server, fetched elsewhere, and trained on."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum.adaptation.inputs import find_source, input_digests
from datum.adaptation.sampling import TrainingSamples
from datum.config import DatasetSettings
from datum.datasets.convert import convert
from datum.datasets.one_shot import one_shot_images
from datum.datasets.remote import (
    fetch_validation,
    ingest_uri,
    one_shot_image,
)
from datum.errors import InputError
from datum.label_files import read_label
from datum.segmentation.validation import find_validation_images
from datum.store import open_store
from datum.transfer import fetch, publish, remote_files
from tests.adaptation.small_training import RULES

SETTINGS = DatasetSettings(height=64, width=64, source_scenes=6, target_train_scenes=5, target_val_scenes=3)


def write(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def source_of_user(root: Path, images: str = "images", labels: str = "labels") -> Path:
    for index in range(3):
        random = np.random.default_rng(index)
        write(root / f"{images}/{index:05d}.png", random.integers(0, 256, (32, 48, 3), dtype=np.uint8))
        write(root / f"{labels}/{index:05d}.png", random.integers(7, 20, (32, 48), dtype=np.uint8))
    return root


def target_of_user(root: Path) -> Path:
    for split in ("train", "val", "test"):
        for index in range(4):
            stem = f"{split}/aachen/aachen_{index:06d}_000019"
            write(root / f"leftImg8bit/{stem}_leftImg8bit.png", np.full((32, 48, 3), index, np.uint8))
            write(root / f"gtFine/{stem}_gtFine_labelIds.png", np.full((32, 48), 7, np.uint8))
    return root


def uploaded(root: Path, uri: str) -> str:
    store = open_store(uri)
    for file in root.rglob("*"):
        if file.is_file():
            store.put(file, file.relative_to(root).as_posix())
    return uri


def names_below(uri: str) -> set[str]:
    return set(remote_files(uri))


@pytest.fixture
def datasets(s3_bucket: str) -> str:
    return f"s3://{s3_bucket}/datum/datasets"


@pytest.fixture
def raw(s3_bucket: str) -> str:
    return f"s3://{s3_bucket}/raw"


def test_drawn_data_sets_are_ingested_fetched_elsewhere_and_trained_on(datasets: str, tmp_path: Path) -> None:
    uris = [
        ingest_uri("gta", "", datasets, tmp_path / "a", settings=SETTINGS),
        ingest_uri("cityscapes", "", datasets, tmp_path / "a", settings=SETTINGS),
    ]
    source = find_source("gta-to-cityscapes", fetch(uris[0], tmp_path / "b"))
    assert len(source) == SETTINGS.source_scenes
    for image in source:
        assert tmp_path / "b" in image.image.parents
        ids, counts = np.unique(read_label(image.label), return_counts=True)
        assert image.class_pixels == {int(i): int(n) for i, n in zip(ids, counts) if i != 255}
    samples = TrainingSamples(source=source, target=[], rules=RULES, temperature=0.01, seed=0)
    assert samples[0][0].shape == (32, 32, 3)
    validation = fetch_validation(uris[1], tmp_path / "b")
    assert len(find_validation_images(validation)) == SETTINGS.target_val_scenes
    assert not (validation / "leftImg8bit/train").exists()


def test_the_statistics_name_no_path_of_the_machine_that_made_them(datasets: str, tmp_path: Path) -> None:
    uri = ingest_uri("gta", "", datasets, tmp_path / "a", settings=SETTINGS)
    copy = fetch(uri, tmp_path / "b")
    entries = json.loads((copy / "sample_class_stats.json").read_text())
    assert all((copy / entry["file"]).is_file() for entry in entries)
    assert not any(str(tmp_path).encode() in file.read_bytes() for file in copy.rglob("*") if file.is_file())


def test_the_same_content_has_the_same_uri_wherever_it_was_ingested(
    datasets: str, s3_bucket: str, tmp_path: Path
) -> None:
    root = source_of_user(tmp_path / "user")
    one = ingest_uri("gta", str(root), datasets, tmp_path / "a", settings=SETTINGS)
    os.utime(root / "images/00000.png", (1, 1))
    elsewhere = f"s3://{s3_bucket}/elsewhere"
    other = ingest_uri("gta", str(root), elsewhere, tmp_path / "b", settings=SETTINGS)
    remote = uploaded(root, f"s3://{s3_bucket}/raw")
    third = ingest_uri("gta", remote, datasets, tmp_path / "c", settings=SETTINGS)
    assert one == third
    assert one.rpartition("/")[2] == other.rpartition("/")[2]


@pytest.mark.parametrize("kind", ["drawn", "mounted", "remote"])
def test_a_second_ingestion_of_the_same_input_makes_nothing(
    datasets: str, raw: str, tmp_path: Path, kind: str
) -> None:
    root = source_of_user(tmp_path / "user")
    source = {"drawn": "", "mounted": str(root), "remote": raw}[kind]
    if kind == "remote":
        uploaded(root, raw)
    first = ingest_uri("gta", source, datasets, tmp_path / "a", settings=SETTINGS)
    before = open_store(datasets).entries()
    assert ingest_uri("gta", source, datasets, tmp_path / "b", settings=SETTINGS) == first
    assert open_store(datasets).entries() == before
    assert not (tmp_path / "b").exists(), "nothing was fetched or converted"


@pytest.mark.parametrize("kind", ["mounted", "remote"])
def test_a_changed_input_is_ingested_anew(datasets: str, raw: str, tmp_path: Path, kind: str) -> None:
    root = source_of_user(tmp_path / "user")
    source = str(root) if kind == "mounted" else uploaded(root, raw)
    first = ingest_uri("gta", source, datasets, tmp_path / "a", settings=SETTINGS)
    write(root / "labels/00001.png", np.full((32, 48), 8, np.uint8))
    uploaded(root, raw)
    second = ingest_uri("gta", source, datasets, tmp_path / "a", settings=SETTINGS)
    assert first != second
    converted = fetch(second, tmp_path / "c") / "labels/00001_labelTrainIds.png"
    assert set(np.unique(read_label(converted))) == {1}


def test_other_settings_of_drawn_scenes_make_another_data_set(datasets: str, tmp_path: Path) -> None:
    first = ingest_uri("cityscapes", "", datasets, tmp_path, settings=SETTINGS)
    fewer = DatasetSettings(height=64, width=64, target_train_scenes=4, target_val_scenes=3)
    assert ingest_uri("cityscapes", "", datasets, tmp_path, settings=fewer) != first


def test_an_incomplete_result_is_made_again(datasets: str, tmp_path: Path) -> None:
    uri = ingest_uri("gta", "", datasets, tmp_path / "a", settings=SETTINGS)
    store = open_store(uri)
    store.delete("labels/00001.png")
    assert ingest_uri("gta", "", datasets, tmp_path / "b", settings=SETTINGS) == uri
    assert store.exists("labels/00001.png")
    store.delete("dataset.json")
    assert ingest_uri("gta", "", datasets, tmp_path / "c", settings=SETTINGS) == uri
    assert store.exists("dataset.json")


def test_only_the_needed_folders_of_a_users_data_set_are_fetched(
    datasets: str, raw: str, tmp_path: Path
) -> None:
    root = source_of_user(tmp_path / "user", "RGB", "GT/LABELS")
    for label in (root / "GT/LABELS").iterdir():
        write(label, np.stack([read_label(label)] * 3, axis=2))
    write(root / "Depth/00000.png", np.zeros((4, 4), np.uint8))
    uploaded(root, f"{raw}/synthia")
    uri = ingest_uri("synthia", f"{raw}/synthia", datasets, tmp_path / "a", settings=SETTINGS)
    assert not list((tmp_path / "a").rglob("Depth"))
    assert len(find_source("synthia-to-cityscapes", fetch(uri, tmp_path / "b"))) == 3

    uploaded(target_of_user(tmp_path / "target"), f"{raw}/cityscapes")
    uri = ingest_uri("cityscapes", f"{raw}/cityscapes", datasets, tmp_path / "c", settings=SETTINGS)
    assert not list((tmp_path / "c").rglob("test"))
    assert not [name for name in names_below(uri) if name.startswith(("gtFine/train", "leftImg8bit/test"))]
    assert len(find_validation_images(fetch_validation(uri, tmp_path / "d"))) == 4


def test_an_ingested_data_set_may_be_named_as_input(datasets: str, tmp_path: Path) -> None:
    source = ingest_uri("gta", "", datasets, tmp_path / "a", settings=SETTINGS)
    target = ingest_uri("cityscapes", "", datasets, tmp_path / "a", settings=SETTINGS)
    before = open_store(datasets).entries()
    assert ingest_uri("gta", source, datasets, tmp_path / "b", settings=SETTINGS) == source
    assert ingest_uri("cityscapes", target, datasets, tmp_path / "b", settings=SETTINGS) == target
    assert open_store(datasets).entries() == before and not (tmp_path / "b").exists()
    with pytest.raises(InputError, match="RGB: no such folder; expected SYNTHIA's layout"):
        ingest_uri("synthia", source, datasets, tmp_path / "b", settings=SETTINGS)


def test_a_published_data_set_that_was_not_converted_is_ingested(datasets: str, tmp_path: Path) -> None:
    published = publish(source_of_user(tmp_path / "user"), datasets, "mine")
    uri = ingest_uri("gta", published, datasets, tmp_path / "a", settings=SETTINGS)
    assert uri != published and "labels/00000_labelTrainIds.png" in names_below(uri)


def test_a_mounted_source_that_is_converted_is_used_in_place(datasets: str, tmp_path: Path) -> None:
    root = source_of_user(tmp_path / "my data" / "gta")
    convert("gta", root, workers=1)
    scratch = tmp_path / "scratch"
    uri = ingest_uri("gta", str(root), datasets, scratch, settings=SETTINGS)
    assert fetch(uri, scratch) == root
    assert not scratch.exists() and open_store(datasets).list() == []
    assert ingest_uri("gta", str(root), datasets, scratch, settings=SETTINGS) == uri
    os.utime(root / "labels/00001_labelTrainIds.png", (1, 1))
    assert ingest_uri("gta", str(root), datasets, scratch, settings=SETTINGS) == uri
    write(root / "labels/00001_labelTrainIds.png", np.full((32, 48), 3, np.uint8))
    changed = ingest_uri("gta", str(root), datasets, scratch, settings=SETTINGS)
    assert changed != uri and fetch(changed, scratch) == root


@pytest.mark.parametrize("damage", ["no statistics", "no label", "other labels", "no JSON"])
def test_a_mounted_source_that_is_converted_in_part_is_converted_elsewhere(
    datasets: str, tmp_path: Path, damage: str
) -> None:
    root = source_of_user(tmp_path / "gta")
    convert("gta", root, workers=1)
    match damage:
        case "no statistics":
            (root / "samples_with_class.json").unlink()
        case "no label":
            (root / "labels/00002_labelTrainIds.png").unlink()
        case "other labels":
            stats = json.loads((root / "sample_class_stats.json").read_text())
            (root / "sample_class_stats.json").write_text(json.dumps(stats[:2]))
        case "no JSON":
            (root / "sample_class_stats.json").write_text("[{")
    uri = ingest_uri("gta", str(root), datasets, tmp_path / "a", settings=SETTINGS)
    assert uri.startswith(datasets)
    assert len(find_source("gta-to-cityscapes", fetch(uri, tmp_path / "b"))) == 3


@pytest.mark.parametrize("kind", ["mounted", "remote"])
def test_a_source_is_stored_as_training_resizes_it_and_gives_the_same_samples(
    datasets: str, raw: str, tmp_path: Path, kind: str
) -> None:
    root = source_of_user(tmp_path / "user")  # 48x32
    scale, rules = (40, 24), dataclasses.replace(RULES, size=16, source_scale=(40, 24), class_max_ratio=0.75)
    named = str(root) if kind == "mounted" else uploaded(root, raw)
    uri = ingest_uri("gta", named, datasets, tmp_path / "a", settings=SETTINGS, scale=scale)
    stored = fetch(uri, tmp_path / "b")
    assert "labels/00000.png" not in names_below(uri), "labels of another size than the images"
    assert Image.open(stored / "images/00000.png").size == (36, 24)
    convert("gta", root, workers=1)
    sources = [find_source("gta-to-cityscapes", folder) for folder in (root, stored)]
    assert [image.class_pixels for image in sources[0]] == [image.class_pixels for image in sources[1]]
    original, smaller = (
        TrainingSamples(source=source, target=[], rules=rules, temperature=0.01, seed=0) for source in sources
    )
    for index in range(20):
        assert all(np.array_equal(*parts) for parts in zip(original[index], smaller[index]))
    assert input_digests(stored, sources[1], [], None, None, [])


def test_a_source_is_stored_anew_for_another_scale_and_as_it_came_where_it_is_no_larger(
    datasets: str, tmp_path: Path
) -> None:
    root = str(source_of_user(tmp_path / "user"))

    def ingested(source: str, *scale: int) -> str:
        return ingest_uri(
            "gta", source, datasets, tmp_path / "a", settings=SETTINGS, scale=(scale[0], scale[1])
        )

    small, whole = ingested(root, 40, 24), ingested(root, 48, 32)
    assert small != whole
    assert whole == ingest_uri("gta", root, datasets, tmp_path / "b", settings=SETTINGS)
    assert ingested(small, 40, 24) == small and ingested(whole, 40, 24) == whole
    with pytest.raises(InputError, match=f"{small}: was stored to fit within 40x24, .* needs it at 80x48"):
        ingested(small, 80, 48)
    with pytest.raises(InputError, match="40x24, and this run needs it in full size; name the original"):
        ingest_uri("gta", small, datasets, tmp_path / "a", settings=SETTINGS)
    with pytest.raises(InputError, match=r"40x24, .* needs it at 48x32; name the original"):
        find_source("gta-to-cityscapes", fetch(small, tmp_path / "c"), (48, 32))


def test_a_stored_label_that_holds_what_was_not_counted_is_refused(datasets: str, tmp_path: Path) -> None:
    root = source_of_user(tmp_path / "user")
    write(root / "labels/00001.png", np.full((32, 48), 8, np.uint8))
    uri = ingest_uri("gta", str(root), datasets, tmp_path / "a", settings=SETTINGS, scale=(40, 24))
    stored = fetch(uri, tmp_path / "b")
    write(stored / "labels/00001_labelTrainIds.png", np.full((24, 36), 5, np.uint8))
    with pytest.raises(InputError, match=r"00001_labelTrainIds\.png: holds other classes than"):
        input_digests(stored, find_source("gta-to-cityscapes", stored), [], None, None, [])


def test_a_mounted_target_is_checked_and_used_in_place(datasets: str, tmp_path: Path) -> None:
    root, scratch = target_of_user(tmp_path / "cityscapes"), tmp_path / "scratch"
    uri = ingest_uri("cityscapes", str(root), datasets, scratch, settings=SETTINGS)
    assert fetch_validation(uri, scratch) == root and not scratch.exists()
    label = root / "gtFine/val/aachen/aachen_000000_000019_gtFine_labelIds.png"
    write(label, np.full((32, 48), 77, np.uint8))
    with pytest.raises(InputError, match=rf"{label}: found label id 77"):
        ingest_uri("cityscapes", str(root), datasets, scratch, settings=SETTINGS)


def test_a_data_set_that_lacks_a_label_is_refused_before_it_is_fetched(
    datasets: str, raw: str, tmp_path: Path
) -> None:
    root = source_of_user(tmp_path / "user")
    (root / "labels/00001.png").unlink()
    uploaded(root, f"{raw}/gta")
    with pytest.raises(
        InputError, match=rf"{raw}/gta/images/00001\.png: its label is missing, expected {raw}"
    ):
        ingest_uri("gta", f"{raw}/gta", datasets, tmp_path / "scratch", settings=SETTINGS)
    with pytest.raises(InputError, match=f"{raw}/nothing/leftImg8bit/train: no such folder"):
        ingest_uri("cityscapes", f"{raw}/nothing", datasets, tmp_path / "scratch", settings=SETTINGS)
    assert not (tmp_path / "scratch").exists() and open_store(datasets).list() == []


def test_a_bad_label_is_named_by_its_uri_and_nothing_is_published(
    datasets: str, raw: str, tmp_path: Path
) -> None:
    root = source_of_user(tmp_path / "user")
    write(root / "labels/00001.png", np.full((32, 48), 77, np.uint8))
    uploaded(root, f"{raw}/gta")
    with pytest.raises(InputError, match=rf"{raw}/gta/labels/00001\.png: found label id 77"):
        ingest_uri("gta", f"{raw}/gta", datasets, tmp_path / "scratch", settings=SETTINGS)
    assert open_store(datasets).list() == []


def test_a_remote_target_gives_the_images_that_a_local_one_gives(
    datasets: str, raw: str, tmp_path: Path
) -> None:
    root = target_of_user(tmp_path / "user")
    uploaded(root, raw)
    uri = ingest_uri("cityscapes", raw, datasets, tmp_path / "a", settings=SETTINGS)
    seeds = [3, 1, 2]
    expected = one_shot_images(root, seeds)
    for position in range(3):
        for target in (str(root), f"file://{root}#0123456789abcdef", raw, uri):
            image = one_shot_image(target, seeds, position, [], tmp_path / "b")
            assert image.name == expected[position].name
            assert image.read_bytes() == expected[position].read_bytes()
    fetched = [file for file in (tmp_path / "b").rglob("*.png") if uri.rpartition("/")[2] in str(file)]
    assert len(fetched) == 3, "one image per seed, and no more"


def test_named_images_may_be_of_the_target_of_a_uri_and_of_a_volume(
    datasets: str, raw: str, tmp_path: Path
) -> None:
    root = target_of_user(tmp_path / "user")
    uploaded(root, raw)
    write(tmp_path / "street.png", np.full((8, 8, 3), 9, np.uint8))
    open_store(raw).put(tmp_path / "street.png", "elsewhere/street.png")
    inside = "aachen/aachen_000002_000019_leftImg8bit.png"
    named = [inside, f"{raw}/elsewhere/street.png", str(tmp_path / "street.png")]
    for target in (raw, str(root)):
        images = [one_shot_image(target, [1, 2, 3], i, named, tmp_path / "scratch") for i in range(3)]
        assert images[0].read_bytes() == (root / "leftImg8bit/train" / inside).read_bytes()
        assert images[1].read_bytes() == images[2].read_bytes() == (tmp_path / "street.png").read_bytes()


def test_a_protocol_takes_its_images_of_a_remote_target_and_of_a_mounted_one(
    raw: str, tmp_path: Path
) -> None:
    root = target_of_user(tmp_path / "user")
    uploaded(root, raw)
    with pytest.raises(InputError, match=rf"aachen_000004_000019_leftImg8bit\.png is not in {raw}/leftImg8"):
        one_shot_image(raw, range(5), 0, ["sm-ppm"], tmp_path / "scratch")
    last = "leftImg8bit/train/aachen/aachen_000004_000019_leftImg8bit.png"
    write(root / last, np.full((32, 48, 3), 4, np.uint8))
    open_store(raw).put(root / last, last)
    expected = one_shot_images(root, range(10), [Path("sm-ppm")])
    for position in (0, 4, 6):
        for target in (raw, str(root)):
            image = one_shot_image(target, range(10), position, ["sm-ppm"], tmp_path / "scratch")
            assert image.read_bytes() == expected[position].read_bytes()
    with pytest.raises(InputError, match="sm-ppm: found 4 seeds, expected a multiple of 5"):
        one_shot_image(raw, range(4), 0, ["sm-ppm"], tmp_path / "scratch")


def test_one_shot_images_that_cannot_be_are_refused(raw: str, tmp_path: Path) -> None:
    root = target_of_user(tmp_path / "user")
    uploaded(root, raw)
    with pytest.raises(InputError, match="found 1 named images for 2 seeds"):
        one_shot_image(raw, [1, 2], 0, ["a.png"], tmp_path / "scratch")
    with pytest.raises(InputError, match=rf"{raw}/leftImg8bit/train: found 4 images, expected at least 5"):
        one_shot_image(raw, [1, 2, 3, 4, 5], 0, [], tmp_path / "scratch")
    with pytest.raises(InputError, match=r"nowhere\.png: no such file"):
        one_shot_image(raw, [1], 0, ["nowhere.png"], tmp_path / "scratch")
