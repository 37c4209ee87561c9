"""The pipeline's working copies of the source and the target."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum.config import DatasetSettings
from datum.datasets.working_copy import ingest_dataset
from datum.errors import InputError
from datum.layouts import check_dataset, find_pairs

SETTINGS = DatasetSettings(height=64, width=64, source_scenes=6, target_train_scenes=4, target_val_scenes=3)


def write(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def source_of_user(root: Path, frames: int = 3) -> Path:
    for index in range(frames):
        ids = np.random.default_rng(index).integers(0, 35, (6, 8), dtype=np.uint8)
        write(root / f"images/{index:05d}.png", np.zeros((6, 8, 3), np.uint8))
        write(root / f"labels/{index:05d}.png", ids)
    return root


def target_of_user(root: Path) -> Path:
    for split in ("train", "val"):
        for index in range(3):
            stem = f"{split}/aachen/aachen_{index:06d}_000019"
            write(root / f"leftImg8bit/{stem}_leftImg8bit.png", np.zeros((6, 8, 3), np.uint8))
            write(root / f"gtFine/{stem}_gtFine_labelIds.png", np.full((6, 8), 7, np.uint8))
    return root


def state_of(root: Path) -> dict[str, tuple[int, int]]:
    return {str(f): (f.lstat().st_size, f.lstat().st_mtime_ns) for f in sorted(root.rglob("*"))}


def files_of(root: Path) -> set[str]:
    return {str(f.relative_to(root)) for f in root.rglob("*") if f.is_file()}


def test_a_users_source_is_linked_converted_and_never_written_to(tmp_path: Path) -> None:
    root, output = source_of_user(tmp_path / "user"), tmp_path / "out/source"
    before = state_of(root)
    ingest_dataset("gta", root, output, settings=SETTINGS, workers=1)
    assert state_of(root) == before
    check_dataset("gta", output)
    assert (output / "images/00000.png").readlink() == root.resolve() / "images/00000.png"
    stats = json.loads((output / "sample_class_stats.json").read_text())
    assert [entry["file"] for entry in stats] == [
        str(output / f"labels/{index:05d}_labelTrainIds.png") for index in range(3)
    ]
    assert all(Path(entry["file"]).is_file() and not Path(entry["file"]).is_symlink() for entry in stats)


def test_json_paths_hold_in_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_of_user(tmp_path / "user")
    monkeypatch.chdir(tmp_path)
    ingest_dataset("gta", Path("user"), Path("out/source"), settings=SETTINGS, workers=1)
    monkeypatch.chdir("/")
    stats = json.loads((tmp_path / "out/source/sample_class_stats.json").read_text())
    assert all(Path(entry["file"]).is_file() for entry in stats)
    assert (tmp_path / "out/source/labels/00000.png").is_file()


def test_a_users_target_keeps_train_images_and_val_pairs_but_no_train_labels(tmp_path: Path) -> None:
    root, output = target_of_user(tmp_path / "user"), tmp_path / "target"
    before = state_of(root)
    ingest_dataset("cityscapes", root, output, settings=SETTINGS, workers=1)
    assert state_of(root) == before
    check_dataset("cityscapes", output)
    assert not (output / "gtFine/train").exists()
    converted = sorted(output.rglob("*_labelTrainIds.png"))
    assert len(converted) == 3
    assert all(np.all(np.asarray(Image.open(file)) == 0) for file in converted)


def test_scenes_are_drawn_where_no_data_set_is_given(tmp_path: Path) -> None:
    ingest_dataset("gta", None, tmp_path / "source", settings=SETTINGS, workers=1)
    ingest_dataset("cityscapes", None, tmp_path / "target", settings=SETTINGS, workers=1)
    check_dataset("gta", tmp_path / "source")
    check_dataset("cityscapes", tmp_path / "target")
    assert len(json.loads((tmp_path / "source/sample_class_stats.json").read_text())) == 6
    assert len(list((tmp_path / "target/leftImg8bit/train").rglob("*.png"))) == 4
    assert len(list((tmp_path / "target").rglob("*_labelTrainIds.png"))) == 3


def test_no_scene_is_drawn_twice_over_source_train_and_val(tmp_path: Path) -> None:
    ingest_dataset("gta", None, tmp_path / "source", settings=SETTINGS, workers=1)
    ingest_dataset("cityscapes", None, tmp_path / "target", settings=SETTINGS, workers=1)
    # The layout of a scene does not depend on its domain, so equal seeds would give equal labels.
    labels = [
        np.asarray(Image.open(file)).tobytes()
        for pattern in ("source/labels/*[0-9].png", "target/gtFine/*/*/*_labelIds.png")
        for file in tmp_path.glob(pattern)
    ]
    assert len(labels) == len(set(labels)) == 6 + 4 + 3


def test_the_same_settings_draw_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ingest_dataset("gta", None, tmp_path / name, settings=SETTINGS, workers=1)
    for file in (tmp_path / "a").rglob("*.png"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


def test_a_whole_output_is_kept_and_another_data_set_does_not_overwrite_it(tmp_path: Path) -> None:
    root, output = source_of_user(tmp_path / "user"), tmp_path / "source"
    ingest_dataset("gta", root, output, settings=SETTINGS, workers=1)
    before = state_of(output)
    ingest_dataset("gta", root, output, settings=SETTINGS, workers=1)
    assert state_of(output) == before
    write(root / "labels/00001.png", np.full((6, 8), 11, np.uint8))
    with pytest.raises(InputError, match="already holds something else"):
        ingest_dataset("gta", root, output, settings=SETTINGS, workers=1)
    assert state_of(output) == before


def test_bad_labels_are_named_where_the_user_keeps_them_and_nothing_is_left(tmp_path: Path) -> None:
    root = source_of_user(tmp_path / "user")
    write(root / "labels/00001.png", np.full((6, 8), 77, np.uint8))
    with pytest.raises(InputError, match=rf"{root}/labels/00001\.png: found label id 77"):
        ingest_dataset("gta", root, tmp_path / "out", settings=SETTINGS, workers=1)
    assert {file.name for file in tmp_path.iterdir()} == {"user"}


def test_an_empty_target_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    root = target_of_user(tmp_path / "user")
    for file in (root / "leftImg8bit/train").rglob("*.png"):
        file.unlink()
    with pytest.raises(InputError, match="leftImg8bit/train: found no file"):
        ingest_dataset("cityscapes", root, tmp_path / "out", settings=SETTINGS, workers=1)
    assert {file.name for file in tmp_path.iterdir()} == {"user"}


def test_scenes_in_synthia_s_layout_are_those_of_gta_s(tmp_path: Path) -> None:
    for dataset in ("gta", "synthia"):
        ingest_dataset(dataset, None, tmp_path / dataset, settings=SETTINGS, workers=1)
    gta, synthia = (find_pairs(dataset, tmp_path / dataset) for dataset in ("gta", "synthia"))
    assert len(gta) == len(synthia) == SETTINGS.source_scenes
    for one, other in zip(gta, synthia):
        for file, same in ((one.image, other.image), (one.train_ids, other.train_ids)):
            np.testing.assert_array_equal(
                *(np.asarray(Image.open(f)) for f in (tmp_path / "gta" / file, tmp_path / "synthia" / same))
            )


@pytest.mark.parametrize("scale, begun", [(None, "00000.png"), ((4, 3), ".00000.png.partial")])
def test_killed_anywhere_and_started_again_it_gives_the_same_files(
    tmp_path: Path, scale: tuple[int, int] | None, begun: str
) -> None:
    root, output = source_of_user(tmp_path / "user", frames=150), tmp_path / "killed/source"
    script = (
        "import sys; from pathlib import Path; from datum.config import DatasetSettings;"
        "from datum.datasets.working_copy import ingest_dataset;"
        "ingest_dataset('gta', Path(sys.argv[1]), Path(sys.argv[2]), settings=DatasetSettings(), workers=1,"
        f"scale={scale})"
    )
    partial = output.with_name("source.partial")
    root_files = state_of(root)
    for milestone in (f"images/{begun}", "labels/.00080_labelTrainIds.png.partial"):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(root), str(output)], stderr=subprocess.DEVNULL
        )
        while not os.path.lexists(partial / milestone) and process.poll() is None:
            time.sleep(0.0005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
        assert not output.exists()
    whole = tmp_path / "whole"
    for made in (output, whole):
        ingest_dataset("gta", root, made, settings=DatasetSettings(), workers=1, scale=scale)
    assert files_of(output) == files_of(whole)
    for name in files_of(whole) - {"provenance.json"}:
        expected = (whole / name).read_bytes().replace(str(whole).encode(), str(output).encode())
        assert (output / name).read_bytes() == expected
    assert not partial.exists()
    assert state_of(root) == root_files


def test_what_was_converted_before_a_kill_is_not_converted_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, output = source_of_user(tmp_path / "user", frames=150), tmp_path / "source"
    script = (
        "import sys; from pathlib import Path; from datum.config import DatasetSettings;"
        "from datum.datasets.working_copy import ingest_dataset;"
        "ingest_dataset('gta', Path(sys.argv[1]), Path(sys.argv[2]), settings=DatasetSettings(), workers=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, root, output], stderr=subprocess.DEVNULL)
    labels = tmp_path / "source.partial/labels"
    while not (labels / ".00080_labelTrainIds.png.partial").exists() and process.poll() is None:
        time.sleep(0.0005)
    process.kill()
    process.wait()
    ingest_dataset("gta", root, output, settings=DatasetSettings(), workers=1)
    said = capsys.readouterr().err
    done = re.search(r"goes on after (\d+) of 150 labels", said)
    assert done and int(done[1]) >= 79
    assert not [name for name in files_of(output) if name.rpartition("/")[2].startswith(".")]


def test_a_disk_without_links_gets_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = source_of_user(tmp_path / "user")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setattr(os, "link", refuse)
    ingest_dataset("gta", root, tmp_path / "source", settings=SETTINGS, workers=1)
    check_dataset("gta", tmp_path / "source")
    copy = tmp_path / "source/images/00000.png"
    assert not copy.is_symlink() and copy.read_bytes() == (root / "images/00000.png").read_bytes()
    assert "has no links, 6 files are copied" in capsys.readouterr().err


def test_a_damaged_image_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    root = target_of_user(tmp_path / "user")
    image = next((root / "leftImg8bit/train").rglob("*.png"))
    data = bytearray(image.read_bytes())
    data[len(data) // 2] ^= 0xFF
    image.write_bytes(data)
    with pytest.raises(InputError, match=rf"{image.name}: cannot be read as an image"):
        ingest_dataset("cityscapes", root, tmp_path / "out", settings=SETTINGS, workers=1)
    assert {file.name for file in tmp_path.iterdir()} == {"user"}


def test_the_same_data_moved_elsewhere_are_the_same(tmp_path: Path) -> None:
    root, output = source_of_user(tmp_path / "user"), tmp_path / "source"
    ingest_dataset("gta", root, output, settings=SETTINGS, workers=1)
    before = state_of(output / "labels")
    shutil.copytree(root, tmp_path / "moved")
    ingest_dataset("gta", tmp_path / "moved", output, settings=SETTINGS, workers=1)
    assert state_of(output / "labels") == before
