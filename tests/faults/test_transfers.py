"""Transfers through a network and to a server that fail at random, and writers that race.

In the suite a few of each, with fixed seeds. `DATUM_FAULT_TRIES=200` makes 200 transfers and
`DATUM_FAULT_RACES=50` fifty races.
"""

import os
import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datum.errors import InputError
from datum.kept_folder import get_folder, put_folder
from datum.store import Access, open_store
from datum.transfer import fetch, is_published, publish
from tests.conftest import ACCESS_KEY, SECRET_KEY, restarting_seaweedfs
from tests.faults.network import FAULTS, FaultyNetwork
from tests.transfer.folders import content_of

TRIES = int(os.environ.get("DATUM_FAULT_TRIES", "2"))
RACES = int(os.environ.get("DATUM_FAULT_RACES", "4"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, patient: None) -> None:
    """A connection that says nothing is given up after a second."""
    defaults = Access.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "timeout", (1.0, 1.0))


def random_folder(root: Path, chance: random.Random) -> Path:
    """Some small files and one that goes in parts."""
    for index in range(12):
        file = root / f"images/{index % 3}/{index:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(chance.randbytes(chance.randrange(60_000)))
    (root / "state.pt").write_bytes(chance.randbytes(9 * 2**20))
    return root


def test_nothing_is_lost_and_nothing_wrong_is_taken_through_a_network_that_fails(
    s3_bucket: str, s3_endpoint: str, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: dict[str, int] = dict.fromkeys(FAULTS, 0)
    for number in range(TRIES):
        chance = random.Random(number)
        place = tmp_path / str(number)
        folder = random_folder(place / "folder", chance)
        base = f"s3://{s3_bucket}/{number}"
        with FaultyNetwork(s3_endpoint, chance) as network:
            monkeypatch.setenv("S3_ENDPOINT", network.endpoint)
            uri = publish(folder, base, "data")
            copy = fetch(uri, place / "scratch")
            put_folder(open_store(base), folder, "kept")
            assert get_folder(open_store(base), "kept", place / "back")
        assert content_of(copy) == content_of(folder) == content_of(place / "back"), f"seed {number}"
        monkeypatch.setenv("S3_ENDPOINT", s3_endpoint)
        # And what lies in the store is right, seen without the network.
        assert content_of(fetch(uri, place / "second")) == content_of(folder), f"seed {number}"
        open_store(base).delete_all()
        shutil.rmtree(place)
        for fault, times in network.met.items():
            met[fault] += times
    print(f"{TRIES} transfers; faults met: {met}")
    assert TRIES < 100 or all(met.values())


def test_a_server_killed_and_started_again_loses_nothing(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    (tmp_path / "server").mkdir()
    with restarting_seaweedfs(tmp_path / "server") as server:
        from minio import Minio

        monkeypatch.setenv("S3_ENDPOINT", server.endpoint)
        address = server.endpoint.removeprefix("http://")
        Minio(address, access_key=ACCESS_KEY, secret_key=SECRET_KEY, secure=False).make_bucket("bucket")
        for number in range(max(1, TRIES // 50)):
            chance = random.Random(number)
            folder = random_folder(tmp_path / f"{number}/folder", chance)
            killing = threading.Timer(0.1 + 0.2 * chance.random(), server.kill_and_start)
            killing.start()
            uri = publish(folder, f"s3://bucket/{number}", "data")
            killing.join()
            killing = threading.Timer(0.05 + 0.1 * chance.random(), server.kill_and_start)
            killing.start()
            copy = fetch(uri, tmp_path / f"{number}/scratch")
            killing.join()
            assert content_of(copy) == content_of(folder)
            assert content_of(fetch(uri, tmp_path / f"{number}/second")) == content_of(folder)


def test_of_two_writers_that_race_one_wins_and_the_other_says_so(s3_bucket: str, tmp_path: Path) -> None:
    for number in range(RACES):
        chance = random.Random(number)
        folders = []
        for writer in range(2):
            folder = tmp_path / f"{number}-{writer}"
            folder.mkdir()
            (folder / "own").write_bytes(chance.randbytes(1000))
            (folder / "same").write_bytes(b"same")
            folders.append(folder)
        store, start = open_store(f"s3://{s3_bucket}/{number}"), threading.Barrier(2)

        def put(folder: Path, store=store, start=start) -> str:  # type: ignore[no-untyped-def]
            start.wait()
            try:
                put_folder(store, folder, "checkpoint")
            except InputError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(2) as pool:
            said = list(pool.map(put, folders))
        assert get_folder(store, "checkpoint", tmp_path / f"{number}-back")
        found = content_of(tmp_path / f"{number}-back")
        won = [content_of(folder) for folder, text in zip(folders, said) if not text]
        # Where one had ended before the other looked, the other replaced it: both were right.
        assert found in won
        assert all("another process put the same folder meanwhile" in text for text in said if text)


def test_of_two_that_publish_the_same_one_index_stays_and_both_may_be_read(
    s3_bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(RACES):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "file").write_bytes(random.Random(number).randbytes(1000))
        with ThreadPoolExecutor(2) as pool:
            uris = set(pool.map(lambda _, folder=folder: publish(folder, f"s3://{s3_bucket}", "x"), range(2)))
        assert len(uris) == 1 and is_published(uris.pop())
    said = [line for line in capsys.readouterr().err.splitlines() if "published the same meanwhile" in line]
    assert len(said) <= RACES
