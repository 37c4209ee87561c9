"""A data set that one task of a cluster has fetched is there for the next."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from datum import data_cache
from datum.store import open_store
from datum.transfer import fetch, publish
from tests.transfer.folders import Proxy, content_of, folder_of

FETCH = """
import sys
from pathlib import Path
from datum.transfer import fetch
print(fetch(sys.argv[1], Path(sys.argv[2])))
"""
WITHOUT_LOCKS = """
import datum.data_cache

class NoLocks:
    LOCK_EX, LOCK_NB = 1, 2

    @staticmethod
    def flock(stream, how):
        raise OSError(37, "No locks available")

datum.data_cache.fcntl = NoLocks
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv(data_cache.CACHE, str(folder))
    return folder


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.is_dir())


def aged(cache: Path, seconds: float = 2 * data_cache.IDLE_SECONDS) -> None:
    """Lets time pass for what is in the cache."""
    before = time.time() - seconds
    for path in cache.iterdir():
        os.utime(path, (before, before))


def test_the_next_task_fetches_nothing_and_its_own_disk_stays_empty(
    base: str, proxy: Proxy, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "folder")
    uri = publish(folder, base, "gta")
    first = fetch(uri, tmp_path / "first")
    assert "kept there for the next task" in capsys.readouterr().err
    proxy.requests.clear()
    assert fetch(uri, tmp_path / "second") == first
    assert "need not be fetched" in capsys.readouterr().err
    assert content_of(first) == content_of(folder) and first.is_relative_to(cache)
    assert proxy.count("GET", ".png") == 0
    assert not (tmp_path / "first").exists() and not (tmp_path / "second").exists()
    assert len(entries(cache)) == 1


def test_what_may_change_at_its_uri_is_not_kept(base: str, tmp_path: Path, cache: Path) -> None:
    open_store(f"{base}/model").write_bytes("model_index.json", b"{}")
    assert fetch(f"{base}/model", tmp_path / "scratch").is_relative_to(tmp_path / "scratch")
    assert entries(cache) == []


def test_an_entry_that_is_damaged_is_fetched_again(base: str, tmp_path: Path, cache: Path) -> None:
    folder = folder_of(tmp_path / "folder")
    uri = publish(folder, base, "gta")
    copy = fetch(uri, tmp_path / "scratch")
    next(copy.rglob("*.png")).write_bytes(b"half")
    next(reversed(list(copy.rglob("*.png")))).unlink()
    assert content_of(fetch(uri, tmp_path / "scratch")) == content_of(folder)
    assert len(entries(cache)) == 1


def fetched_at_once(uri: str, folder: Path, script: str = FETCH) -> Path:
    """Where three tasks at once find the folder."""
    command = [sys.executable, "-c", script, uri]
    tasks = [
        subprocess.Popen([*command, str(folder / str(number))], stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    places = {task.communicate(timeout=60)[0].strip() for task in tasks}
    assert [task.returncode for task in tasks] == [0, 0, 0]
    (place,) = places
    return Path(place)


def test_of_tasks_at_once_one_fetches_and_the_others_wait(
    base: str, proxy: Proxy, tmp_path: Path, cache: Path
) -> None:
    folder = folder_of(tmp_path / "folder")
    uri = publish(folder, base, "gta")
    proxy.requests.clear()
    place = fetched_at_once(uri, tmp_path)
    assert content_of(place) == content_of(folder)
    assert proxy.count("GET", ".png") == len(list(folder.rglob("*.png")))


def test_without_locks_tasks_at_once_all_find_the_whole(base: str, tmp_path: Path, cache: Path) -> None:
    folder = folder_of(tmp_path / "folder")
    uri = publish(folder, base, "gta")
    place = fetched_at_once(uri, tmp_path, WITHOUT_LOCKS + FETCH)
    assert content_of(place) == content_of(folder)
    assert len(entries(cache)) == 1


def with_free(monkeypatch: pytest.MonkeyPatch, cache: Path, size: int) -> None:
    """Gives the cache a disk of `size` bytes."""
    true = shutil.disk_usage

    def usage(path: Path) -> object:
        if path != cache:
            return true(path)
        return SimpleNamespace(free=size - sum(file.stat().st_size for file in cache.rglob("*.png")))

    monkeypatch.setattr(shutil, "disk_usage", usage)


def test_room_is_made_of_what_is_unused_for_longest_and_never_of_what_is_in_use(
    base: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [folder_of(tmp_path / f"folder {number}", 6 + number) for number in range(4)]
    sizes = [sum(len(data) for data in content_of(folder).values()) for folder in folders]
    uris = [publish(folder, base, f"set-{number}") for number, folder in enumerate(folders)]
    with_free(monkeypatch, cache, sizes[0] + sizes[2])
    first, second = (fetch(uri, tmp_path / "scratch") for uri in uris[:2])
    aged(cache)
    assert fetch(uris[0], tmp_path / "scratch") == first
    third = fetch(uris[2], tmp_path / "scratch")
    assert third.is_relative_to(cache) and first.is_dir() and not second.exists()
    # All is in use by now.
    fourth = fetch(uris[3], tmp_path / "scratch")
    assert fourth.is_relative_to(tmp_path / "scratch")
    assert content_of(fourth) == content_of(folders[3])
    assert first.is_dir() and third.is_dir()


def test_what_a_killed_task_has_left_is_removed_when_room_is_needed(
    base: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "folder")
    uri = publish(folder, base, "gta")
    left = cache / "0123456789abcdef.01234567"
    shutil.copytree(folder, left)
    left.with_name(f"{left.name}.used").touch()
    size = sum(len(data) for data in content_of(folder).values())
    with_free(monkeypatch, cache, size)
    assert fetch(uri, tmp_path / "scratch").is_relative_to(tmp_path / "scratch"), "it may be at work"
    aged(cache)
    assert fetch(uri, tmp_path / "other").is_relative_to(cache)
    assert not left.exists() and not left.with_name(f"{left.name}.used").exists()


@pytest.mark.parametrize("kind", ["absent", "a file"])
def test_a_cache_that_cannot_be_used_costs_a_fetch_and_no_task(
    base: str, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "folder")
    uri = publish(folder, base, "gta")
    if kind == "a file":
        (tmp_path / "cache").touch()
    monkeypatch.setenv(data_cache.CACHE, str(tmp_path / "cache"))
    copy = fetch(uri, tmp_path / "scratch")
    assert content_of(copy) == content_of(folder) and copy.is_relative_to(tmp_path / "scratch")
    assert "cannot be used" in capsys.readouterr().err
