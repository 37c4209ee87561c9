"""Outputs are whole or absent, and resumed only by the same command."""

import dataclasses
import json
from pathlib import Path

import pytest

from datum.errors import InputError
from datum.outputs import building, is_complete, place, replacing, sha256
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


def test_the_provenance_holds_the_digests_of_what_came_out(tmp_path: Path) -> None:
    with building(tmp_path / "output", PROVENANCE, digests=["*.bin", "deep/*"]) as folder:
        (folder / "deep").mkdir()
        for name in ("a.bin", "deep/b", "log.txt"):
            (folder / name).write_text(name)
    outputs = json.loads((tmp_path / "output" / FILE).read_text())["outputs"]
    assert outputs == {name: sha256(tmp_path / "output" / name) for name in ("a.bin", "deep/b")}
