"""Disk and memory are looked at before the work."""

from pathlib import Path

import pytest

from datum.errors import TemporaryFaultError
from datum.room import require_disk, require_memory, size_in_words


def test_what_is_there_is_enough_and_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_disk(tmp_path / "not" / "yet", 1000, "drawing")
    require_memory(1000, "drawing")
    disk, memory = capsys.readouterr().err.splitlines()
    assert disk.startswith("drawing: needs 1 kB of disk in ") and disk.endswith(" are free")
    assert memory.startswith("drawing: needs 1 kB of memory, ") and memory.endswith(" are available")


def test_what_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TemporaryFaultError, match=r"are free, expected 1e\+09 GB for drawing; make room"):
        require_disk(tmp_path, 10**18, "drawing")
    with pytest.raises(TemporaryFaultError, match=r"memory: .* available, expected 1e\+09 GB for drawing"):
        require_memory(10**18, "drawing")


def test_sizes_are_said_in_the_unit_that_fits() -> None:
    assert [size_in_words(size) for size in (1, 4000, 250_000_000, 17_300_000_000)] == [
        "1 kB",
        "4 kB",
        "250 MB",
        "17.3 GB",
    ]
