"""Conversions that are killed, stopped or started twice: nothing is lost, repeated or left behind."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from datum.datasets.convert import convert
from datum.errors import InputError
from datum.one_writer import locked
from tests.datasets.small_datasets import files_below, random_ids, write_gta_label

DATUM = Path(sys.executable).with_name("datum")

LABELS = 300
"""A signal reaches a conversion long before its last."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index in range(LABELS):
        write_gta_label(tmp_path / "gta", f"{index:05d}.png", random_ids(index, 34, 96, 96))
    return tmp_path / "gta"


def start(root: Path, *options: str) -> subprocess.Popen[str]:
    command = [DATUM, "convert", "gta", root, "--workers", "1", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for_labels(root: Path, process: subprocess.Popen[str], count: int) -> None:
    while sum(1 for _ in (root / "labels").glob(".*.partial")) < count and process.poll() is None:
        time.sleep(0.001)


def converted_elsewhere(root: Path, place: Path) -> dict[str, bytes]:
    """What an uninterrupted conversion of a copy of `root` writes."""
    shutil.copytree(root, place)
    convert("gta", place, workers=1)
    return {
        name: data.replace(str(place).encode(), str(root).encode())
        for name, data in files_below(place).items()
    }


def test_killed_again_and_again_it_ends_with_the_same_files(root: Path, tmp_path: Path) -> None:
    expected = converted_elsewhere(root, tmp_path / "whole")
    moments, killed = random.Random(0), 0
    for done in sorted(moments.sample(range(1, 150), 4)):
        process = start(root)
        wait_for_labels(root, process, done)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        assert not list(root.glob("*.json"))
    assert killed
    said = start(root).communicate()[1]
    goes_on = re.search(rf"goes on after (\d+) of {LABELS} labels", said)
    # The label that was being written may be lost, none before it.
    assert goes_on and done - 1 <= int(goes_on[1]) < LABELS, said
    assert files_below(root) == expected


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_stopped_it_says_so_and_goes_on_from_there(root: Path, tmp_path: Path, name: signal.Signals) -> None:
    expected = converted_elsewhere(root, tmp_path / "whole")
    process = start(root)
    wait_for_labels(root, process, 40)
    process.send_signal(name)
    said = process.communicate()[1]
    assert process.returncode in (75, 130) and "Traceback" not in said
    assert "goes on after" in start(root).communicate()[1]
    assert files_below(root) == expected


def test_a_label_that_changed_after_it_was_converted_is_converted_again(root: Path, tmp_path: Path) -> None:
    process = start(root)
    wait_for_labels(root, process, 40)
    process.kill()
    process.wait()
    label = root / "labels/00003.png"
    before = label.stat()
    Image.fromarray(random_ids(1000, 34, 96, 96)).save(label)
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns))
    expected = converted_elsewhere(root, tmp_path / "whole")
    convert("gta", root, workers=1)
    assert {name for name, data in files_below(root).items() if expected.get(name) != data} == set()


def test_what_a_killed_conversion_left_of_a_label_that_is_gone_is_removed(root: Path) -> None:
    process = start(root)
    wait_for_labels(root, process, 10)
    process.kill()
    process.wait()
    for folder in ("images", "labels"):
        (root / folder / "00002.png").unlink()
    convert("gta", root, workers=1)
    assert not [name for name in files_below(root) if name.rpartition("/")[2].startswith(".")]


def test_a_second_conversion_at_the_same_time_says_who_works_and_changes_nothing(root: Path) -> None:
    before = files_below(root)
    with locked(root / ".datum-conversion"):
        process = start(root)
        said = process.communicate()[1]
    assert process.returncode == 2 and f"process {os.getpid()}" in said and len(said.splitlines()) == 1
    assert files_below(root) == before


def test_a_label_that_cannot_be_converted_leaves_nothing_of_an_earlier_killed_conversion(root: Path) -> None:
    process = start(root)
    wait_for_labels(root, process, 10)
    process.kill()
    process.wait()
    (root / f"labels/{LABELS - 1:05d}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=rf"{LABELS - 1:05d}\.png: cannot be read"):
        convert("gta", root, workers=1)
    assert not [name for name in files_below(root) if "TrainIds" in name or "conversion" in name]
