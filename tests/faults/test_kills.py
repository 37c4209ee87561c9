"""Stages that are killed, stopped, or started twice: same results, no debris, and nothing done again.

A few kills of a few stages, chosen for the time they take; `make faults` tries all stages with the numbers
that the README states (`DATUM_FAULTS=all`, and `tests.faults.run` for the kills).
"""

import os
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.faults.kills import difference, last_line, run_undisturbed, try_kills
from tests.faults.world import ALL, STAGES, World, snapshot


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("name", ["convert", "adapt"])
def test_a_killed_stage_ends_as_if_it_had_not_been_killed(world: World, tmp_path: Path, name: str) -> None:
    tally = try_kills(world.stage(name), 1, how=signal.SIGKILL, seed=1, logs=tmp_path)
    assert tally.holds(), tally.row()


def test_a_stopped_training_ends_with_75_and_goes_on(world: World, tmp_path: Path) -> None:
    tally = try_kills(world.stage("adapt"), 1, how=signal.SIGTERM, seed=1, logs=tmp_path)
    assert tally.holds(), tally.row()


@pytest.mark.parametrize("name", STAGES if ALL else ["ingest"])
def test_of_two_writers_one_wins_and_the_other_says_who(world: World, tmp_path: Path, name: str) -> None:
    stage = world.stage(name)
    whole = run_undisturbed(stage, tmp_path)
    stage.fresh()
    logs = [tmp_path / "one.log", tmp_path / "other.log"]
    statuses = [process.wait(timeout=300) for process in [stage.start(log) for log in logs]]
    assert sorted(statuses) in ([0, 2], [0, 0])
    for status, log in zip(statuses, logs):
        said = last_line(log)
        if status == 2:
            assert "works on it; wait until it ends" in said or "completed by another process" in said
    assert difference(snapshot(stage.place), whole.snapshot) == ""


def test_a_clock_set_back_changes_nothing(world: World, tmp_path: Path) -> None:
    stage = world.stage("ingest")
    whole = run_undisturbed(stage, tmp_path)
    stage.fresh()
    process = stage.start(tmp_path / "killed.log", DATUM_FAULT_KILL_AT=str(whole.operations // 2))
    assert process.wait(timeout=120) == -signal.SIGKILL
    year = 365 * 24 * 3600.0
    assert stage.run(tmp_path / "back.log", DATUM_FAULT_CLOCK=str(-year)) == 0
    assert difference(snapshot(stage.place), whole.snapshot) == ""
    assert stage.run(tmp_path / "again.log", DATUM_FAULT_CLOCK=str(-2 * year)) == 0
    assert "already complete" in (tmp_path / "again.log").read_text()


def test_a_label_changed_in_place_is_noticed_though_its_size_and_time_are_the_same(
    world: World, tmp_path: Path
) -> None:
    stage = world.stage("convert")
    whole = run_undisturbed(stage, tmp_path)
    label = sorted((stage.place / "out/labels").glob("*[0-9].png"))[0]
    change_in_place(label)
    assert stage.run(tmp_path / "again.log") == 0
    changed = {name for name, digest in snapshot(stage.place).items() if digest != whole.snapshot[name]}
    converted = label.with_name(f"{label.stem}_labelTrainIds.png")
    assert f"out/labels/{converted.name}" in changed and "out/sample_class_stats.json" in changed


def change_in_place(label: Path) -> None:
    """Another label of the same size in bytes, with the times of the one before."""
    before = label.stat()
    with Image.open(label) as image:
        pixels, palette = np.full((image.height, image.width), 7, np.uint8), image.getpalette()
    road = Image.fromarray(pixels)
    road.putpalette(palette or [])
    road.save(label)
    content = label.read_bytes()
    filling = b"fiLl" + bytes(before.st_size - len(content) - 12)
    chunk = struct.pack(">I", len(filling) - 4) + filling + struct.pack(">I", zlib.crc32(filling))
    label.write_bytes(content[:-12] + chunk + content[-12:])
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (label.stat().st_size, label.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
