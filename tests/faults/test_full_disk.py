"""Disks that are full, or cannot be written to: one line, the right status, and the work goes on later.

Needs the right to mount, as root or in a user's own namespace. By default two stages are tried;
`DATUM_FAULTS=all` (as `make faults` sets it) tries all.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.faults.kills import bytes_below, difference, last_line, run_undisturbed
from tests.faults.world import ALL, STAGES, Stage, World, clean_environment, snapshot

TRIED = STAGES if ALL else ("convert", "ingest")
SHARES = (0.02, 0.5, 0.9) if ALL else (0.5,)
"""Of what is written, what there is room for."""
UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--mount", "--map-root-user")
SCRIPT = """
mount -t tmpfs -o size="$SIZE" tmpfs "$PLACE"
test -z "$BEFORE" || cp -a "$BEFORE/." "$PLACE"
status=0; "$@" >"$FIRST" 2>&1 || status=$?; echo $status >"$FIRST.status"
mount -o remount,size=4g "$PLACE"
status=0; "$@" >"$SECOND" 2>&1 || status=$?; echo $status >"$SECOND.status"
cp -a "$PLACE/." "$RESULT"
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("disks"))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", TRIED)
def test_a_full_disk_is_one_line_and_75_and_the_work_goes_on_when_there_is_room(
    world: World, tmp_path: Path, name: str, share: float
) -> None:
    stage = world.stage(name)
    whole = run_undisturbed(stage, tmp_path)
    stage.fresh()
    before = bytes_below(stage.place)
    size = before + int(share * (whole.bytes_written - before))
    first, second = on_small_disk(stage, size, tmp_path)
    said = (tmp_path / "first").read_text()
    assert "Traceback" not in said
    # Where all that is needed is computed, nothing may be begun; and what is left may be enough.
    assert first == 75 or (first == 0 and share == 0.9), said
    if first:
        assert last_line(tmp_path / "first").startswith("datum: "), said
    assert second == 0, (tmp_path / "second").read_text()
    assert difference(snapshot(tmp_path / "result"), whole.snapshot) == ""


def on_small_disk(stage: Stage, size: int, folder: Path) -> tuple[int, int]:
    """Statuses of the command on a disk of `size` bytes, and again once it is larger."""
    (folder / "result").mkdir()
    before = ""
    if any(stage.place.iterdir()):
        before = str(stage.place.rename(folder / "before"))
        stage.place.mkdir()
    environment = {
        "SIZE": str(size),
        "PLACE": str(stage.place),
        "BEFORE": before,
        "RESULT": str(folder / "result"),
        "FIRST": str(folder / "first"),
        "SECOND": str(folder / "second"),
    }
    subprocess.run(
        [*UNSHARE, "sh", "-euc", SCRIPT, "sh"] + list(stage.words),
        env=clean_environment() | environment,
        check=True,
        timeout=300,
    )
    first, second = (int((folder / f"{name}.status").read_text()) for name in ("first", "second"))
    return first, second


@pytest.mark.parametrize("name", TRIED)
def test_an_output_that_cannot_be_written_to_is_one_line_and_2(
    world: World, tmp_path: Path, name: str
) -> None:
    stage = world.stage(name)
    stage.fresh()
    script = 'mount --bind "$PLACE" "$PLACE"; mount -o remount,bind,ro "$PLACE"; exec "$@"'
    ended = subprocess.run(
        [*UNSHARE, "sh", "-euc", script, "sh", *stage.words],
        env=clean_environment() | {"PLACE": str(stage.place)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith("datum: ")


def test_a_file_above_the_output_is_one_line_and_2(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    stage = world.stage("ingest")
    ended = subprocess.run(
        [*stage.words[:-1], str(tmp_path / "file/out")],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
