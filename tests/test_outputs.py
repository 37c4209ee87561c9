"""Outputs are whole or absent, and resumed only by the same command."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datum.errors import InputError
from datum.outputs import building, is_complete, place, replacing, sha256, write_json
from datum.provenance import PROVENANCE as FILE
from datum.provenance import Provenance

PROVENANCE = Provenance(stage="test", settings={"scale": (1, 2)})


def test_an_output_appears_under_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with building(output, PROVENANCE) as folder:
        (folder / "result").write_text("whole")
        assert not output.exists()
    assert (output / "result").read_text() == "whole"
    assert not (tmp_path / "output.partial").exists()
    assert is_complete(output, PROVENANCE)


def test_an_interrupted_output_is_found_again_by_the_same_command_only(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with pytest.raises(KeyboardInterrupt), building(output, PROVENANCE) as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    assert not output.exists()
    with building(output, PROVENANCE) as folder:
        assert (folder / "half").exists()
    other = tmp_path / "other"
    with pytest.raises(KeyboardInterrupt), building(other, PROVENANCE) as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    with building(other, dataclasses.replace(PROVENANCE, stage="another")) as folder:
        assert not (folder / "half").exists()


def test_a_folder_with_something_else_in_it_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(InputError, match="already holds something else"):
        is_complete(tmp_path, PROVENANCE)


def test_an_empty_folder_may_be_the_output(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    assert not is_complete(output, PROVENANCE)
    with building(output, PROVENANCE):
        pass
    assert is_complete(output, PROVENANCE)


def test_a_file_replaced_by_a_failing_writer_keeps_its_content(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text("old")
    with pytest.raises(ValueError, match="no"), replacing(file) as temporary:
        temporary.write_text("new, but half")
        raise ValueError("no")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_placed_folder_has_the_same_content_and_replaces_older_files(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_text("new")
    destination = tmp_path / "destination"
    (destination / "deep").mkdir(parents=True)
    (destination / "deep" / "file").write_text("old")
    place(source, destination)
    assert sha256(destination / "deep" / "file") == sha256(source / "deep" / "file")


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is no folder that can be written to"):
        is_complete(tmp_path / "file" / "output", PROVENANCE)


def test_a_replaceable_output_gives_way_to_a_newer_one_of_its_stage_only(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with building(output, PROVENANCE) as folder:
        (folder / "result").write_text("old")
    newer = dataclasses.replace(PROVENANCE, settings={"scale": (3, 4)})
    with pytest.raises(InputError, match="already holds something else"):
        is_complete(output, newer)
    assert not is_complete(output, newer, replaceable=True)
    with building(output, newer) as folder:
        (folder / "result").write_text("new")
        assert (output / "result").read_text() == "old"
    assert (output / "result").read_text() == "new"
    with pytest.raises(InputError, match="already holds something else"):
        is_complete(output, dataclasses.replace(newer, stage="another"), replaceable=True)


def test_the_provenance_holds_the_digests_of_all_that_came_out(tmp_path: Path) -> None:
    with building(tmp_path / "output", PROVENANCE) as folder:
        (folder / "deep").mkdir()
        for name in ("a.bin", "deep/b"):
            (folder / name).write_text(name)
        (folder / "the same").hardlink_to(folder / "a.bin")
    outputs = json.loads((tmp_path / "output" / FILE).read_text())["outputs"]
    files = ("a.bin", "deep/b", "the same")
    assert outputs == {name: sha256(tmp_path / "output" / name) for name in files}


def test_what_a_killed_write_left_is_gone_before_the_work_goes_on(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with pytest.raises(KeyboardInterrupt), building(output, PROVENANCE) as folder:
        (folder / "images").mkdir()
        (folder / "images" / ".datum-0123abcd.png").write_text("ha")
        (folder / "images" / "whole.png").write_text("whole")
        raise KeyboardInterrupt
    with building(output, PROVENANCE) as folder:
        assert [file.name for file in (folder / "images").iterdir()] == ["whole.png"]


def test_more_than_a_minute_of_other_work_is_set_aside_and_less_is_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, other = tmp_path / "output", dataclasses.replace(PROVENANCE, seed=2)
    for seconds in (3600, 3600, 0):
        with pytest.raises(KeyboardInterrupt), building(output, other) as folder:
            (folder / "half").write_text(f"{seconds}")
            os.utime(folder / "half", (time.time() + seconds,) * 2)
            raise KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt), building(output, PROVENANCE) as folder:
            assert not (folder / "half").exists()
            raise KeyboardInterrupt
    aside = sorted(path.name for path in tmp_path.iterdir())
    assert aside == ["output.partial", "output.set-aside-1", "output.set-aside-2"]
    assert (tmp_path / "output.set-aside-2" / "half").read_text() == "3600"
    said = capsys.readouterr().err
    assert "set aside as" in said and "(seed 2, not null)" in said and "are deleted" in said


def test_what_others_left_under_the_names_of_our_own_files_is_kept(tmp_path: Path) -> None:
    (tmp_path / "output.lock").write_text("versions of packages")
    (tmp_path / "output.partial").mkdir()
    (tmp_path / "output.partial" / "thesis.txt").write_text("three years of work")
    with building(tmp_path / "output", PROVENANCE):
        pass
    assert (tmp_path / "output.lock").read_text() == "versions of packages"
    assert (tmp_path / "output.set-aside-1" / "thesis.txt").read_text() == "three years of work"


def test_a_link_to_an_empty_folder_stays_and_leads_to_the_output(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assert not is_complete(tmp_path / "link", PROVENANCE)
    with building(tmp_path / "link", PROVENANCE) as folder:
        (folder / "result").write_text("whole")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "result").exists()
    assert is_complete(tmp_path / "link", PROVENANCE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]


def test_a_place_that_no_folder_can_take_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for output in (Path(), Path(".."), tmp_path):
        with pytest.raises(InputError, match="is the folder that this command runs in or one above it"):
            is_complete(output, PROVENANCE)
    with pytest.raises(InputError, match="is a mount point"):
        is_complete(Path("/proc"), PROVENANCE)


def test_a_second_process_says_who_works_on_an_output(tmp_path: Path) -> None:
    output = tmp_path / "output"
    program = (
        "import sys, time; from pathlib import Path; from datum.outputs import building;"
        "from datum.provenance import Provenance\n"
        "with building(Path(sys.argv[1]), Provenance(stage='test', settings={'scale': (1, 2)})):\n"
        "    print('building', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout and first.stdout.readline() == "building\n"
        who = f"output: process {first.pid} on .* works on it; wait until it ends"
        with pytest.raises(InputError, match=who):
            is_complete(output, PROVENANCE)
        with pytest.raises(InputError, match=who), building(output, PROVENANCE):
            pass
        first.kill()
    assert not is_complete(output, PROVENANCE)
    with building(output, PROVENANCE):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


def test_a_lock_that_a_killed_process_left_beside_a_finished_output_is_removed(tmp_path: Path) -> None:
    with building(tmp_path / "output", PROVENANCE):
        pass
    (tmp_path / "output.datum-lock").write_text("process 1 on a machine that is gone")
    assert is_complete(tmp_path / "output", PROVENANCE)
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"miou": float("nan")})
    assert not any(tmp_path.iterdir())
