"""Digests of what files hold: read once, and again where something changed."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from datum.contents import Checked, digest_of_set, read_digests
from datum.errors import InputError
from datum.outputs import sha256

LONG_AGO = 1_500_000_000


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("a", "b"):
        (tmp_path / "root" / name).mkdir(parents=True)
        (tmp_path / "root" / name / "1.png").write_text(name)
    return tmp_path / "root"


class Reads:
    """Counts the files that were read."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0

    def __call__(self, given: str = "") -> dict[str, str]:
        groups = [Checked(names=(f"{name}/1.png",), check=self.check) for name in ("a", "b")]
        return read_digests("check", self.root, groups, given=given)

    def check(self, contents: Sequence[bytes]) -> None:
        self.count += len(contents)
        if b"bad" in contents:
            raise InputError("bad")


def settle(root: Path) -> None:
    """Makes what is known look as if it had been read long after the files changed."""
    for record in (root.parent / "cache").rglob("*.json"):
        os.utime(record, (2 * LONG_AGO, 2 * LONG_AGO))


def test_digests_are_those_of_the_files_and_unchanged_ones_are_read_once(root: Path) -> None:
    read = Reads(root)
    digests = read()
    assert digests == {name: sha256(root / name) for name in ("a/1.png", "b/1.png")}
    settle(root)
    assert read() == digests and read.count == 2


def test_a_file_changed_in_place_with_its_time_set_back_is_read_again(root: Path) -> None:
    read, file = Reads(root), root / "a/1.png"
    before = file.stat()
    first = read()
    settle(root)
    file.write_text("c")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size and file.stat().st_mtime_ns == before.st_mtime_ns
    assert read()["a/1.png"] == sha256(file) != first["a/1.png"]
    assert read.count == 3


def test_a_file_that_had_just_changed_when_it_was_read_is_read_again(root: Path) -> None:
    read = Reads(root)
    read()
    read()
    assert read.count == 4


def test_a_file_is_read_again_where_its_check_depends_on_something_else(root: Path) -> None:
    read = Reads(root)
    read("one")
    settle(root)
    read("other")
    assert read.count == 4


def test_what_was_read_before_a_failure_is_not_read_again(root: Path) -> None:
    read = Reads(root)
    (root / "b/1.png").write_text("bad")
    with pytest.raises(InputError, match="bad"):
        read()
    settle(root)
    (root / "b/1.png").write_text("good")
    read()
    assert read.count == 3


@pytest.mark.parametrize(
    "damage", ["", "[]", '{"given": "", "files": {"a/1.png": [["x"], 1]}}', "[" * 100_000]
)
def test_a_damaged_record_is_no_record(root: Path, damage: str) -> None:
    read = Reads(root)
    digests = read()
    (record,) = (root.parent / "cache").rglob("*.json")
    record.write_text(damage)
    settle(root)
    assert read() == digests and read.count == 4
    assert set(json.loads(record.read_text())["files"]) == {"a/1.png", "b/1.png"}


def test_without_a_place_for_the_record_every_start_reads(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root.parent / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent / "file"))
    read = Reads(root)
    assert read() == read() and read.count == 4


def test_the_digest_of_a_set_depends_on_names_and_contents_alone() -> None:
    digest = digest_of_set({"a": "1", "b": "2"})
    assert digest == digest_of_set({"b": "2", "a": "1"})
    assert len({digest, digest_of_set({"a": "2", "b": "1"}), digest_of_set({"a": "1"})}) == 3
