"""One interface over a folder and a real S3 server."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datum.errors import InputError, TemporaryFaultError
from datum.store import Access, DamagedError, Store, open_store
from tests.conftest import ACCESS_KEY, SECRET_KEY

LARGE = bytes(range(256)) * 80_000
"""Some parts: 20 MB."""


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(f"file://{tmp_path / 'store'}")
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix")


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("content", [b"", b"short", LARGE], ids=["empty", "short", "large"])
def test_a_file_comes_back_as_it_was_put(store: Store, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    store.put(file, "deep/key", digest_of(content))
    store.get("deep/key", tmp_path / "back", digest_of(content))
    assert (tmp_path / "back").read_bytes() == content == store.read_bytes("deep/key")
    assert store.exists("deep/key")
    assert store.digest_of("deep/key") == digest_of(content)
    assert [entry.size for entry in store.entries()] == [len(content)]


def test_keys_are_listed_by_prefix_and_can_be_deleted(store: Store) -> None:
    for key in ("b/2", "a", "b/1"):
        store.write_bytes(key, key.encode())
    assert store.list() == ["a", "b/1", "b/2"]
    assert store.list("b/") == ["b/1", "b/2"]
    store.delete("b/1")
    store.delete("b/1")
    assert store.list("b/") == ["b/2"]


def test_entries_tell_sizes_and_change_with_the_content(store: Store) -> None:
    store.write_bytes("folder/a", b"12345")
    store.write_bytes("folder/b c", b"")
    before = {entry.key: entry for entry in store.entries("folder/")}
    assert {key: entry.size for key, entry in before.items()} == {"folder/a": 5, "folder/b c": 0}
    store.write_bytes("folder/a", b"54321")
    after = {entry.key: entry for entry in store.entries()}
    assert after["folder/a"].version != before["folder/a"].version
    assert after["folder/b c"] == before["folder/b c"]


def test_more_keys_than_one_answer_holds_are_all_listed_and_all_removed(store: Store) -> None:
    keys = [f"many/{index:04d}" for index in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.write_bytes(key, b""), keys))
    assert store.list("many/") == keys
    assert store.delete_all() == 1100
    assert store.list() == []


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_all_is_removed_of_one_store_and_nothing_beside_it(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    root = str(tmp_path) if kind == "folder" else f"s3://{request.getfixturevalue('s3_bucket')}"
    places = ("run", "run-2", "ru", "runs/run")
    for place in places:
        open_store(root).write_bytes(f"{place}/a/b", b"1")
    assert open_store(f"{root}/run").delete_all() == 1
    assert open_store(root).list() == [f"{place}/a/b" for place in sorted(places[1:])]
    assert open_store(f"{root}/run").delete_all() == 0


def test_a_key_that_is_not_there_raises_key_error(store: Store, tmp_path: Path) -> None:
    for read in (store.read_bytes, store.digest_of, lambda key: store.get(key, tmp_path / "file")):
        with pytest.raises(KeyError):
            read("missing")
    assert not (tmp_path / "file").exists()
    assert not store.exists("missing")


def test_writing_a_key_again_replaces_it(store: Store) -> None:
    store.write_bytes("key", b"old")
    store.write_bytes("key", b"new")
    assert store.read_bytes("key") == b"new"


def test_of_many_writers_that_saw_one_version_one_wins(store: Store) -> None:
    def race() -> None:
        seen = "".join(entry.version for entry in store.entries("key"))
        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(lambda number: store.swap_bytes("key", b"%d" % number, seen), range(4)))
        assert won.count(True) == 1
        assert store.read_bytes("key") == b"%d" % won.index(True)

    race()
    race()
    assert not store.swap_bytes("key", b"third", "")
    assert not store.swap_bytes("other", b"third", "1")
    assert not store.exists("other")


@pytest.mark.parametrize("content", [b"short", LARGE], ids=["short", "large"])
def test_what_is_not_what_its_digest_says_is_neither_put_nor_got(
    store: Store, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "file").write_bytes(content)
    if content == b"short":
        with pytest.raises(InputError, match="was changed since it was read first"):
            store.put(tmp_path / "file", "key", digest_of(b"other"))
        assert not store.exists("key")
    store.put(tmp_path / "file", "key")
    with pytest.raises(DamagedError, match="damaged"):
        store.get("key", tmp_path / "back", digest_of(b"other"))
    assert {file.name for file in tmp_path.iterdir()} <= {"file", "store"}


def test_a_large_file_that_changes_while_it_is_put_is_not_put(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(LARGE)
    read = os.pread

    def changing(handle: int, size: int, start: int) -> bytes:
        data = read(handle, size, start)
        with file.open("r+b") as stream:
            stream.seek(len(LARGE) - 1)
            stream.write(b"x")
        return data

    monkeypatch.setattr(os, "pread", changing)
    with pytest.raises(InputError, match="was changed since it was read first"):
        open_store(f"s3://{s3_bucket}").put(file, "key")
    assert open_store(f"s3://{s3_bucket}").list() == []


@pytest.mark.parametrize(
    "key", ["../x", "a/../../x", "a/./b", "/x", "a//b", "", "a\0b", "\ud800", "y" * 1025]
)
def test_a_key_that_could_be_elsewhere_is_refused(store: Store, tmp_path: Path, key: str) -> None:
    calls = (
        lambda: store.read_bytes(key),
        lambda: store.write_bytes(key, b"x"),
        lambda: store.exists(key),
        lambda: store.delete(key),
        lambda: store.swap_bytes(key, b"x", ""),
    )
    for call in calls:
        with pytest.raises(InputError, match="cannot be a key"):
            call()


def test_keys_that_differ_in_case_only_are_two(store: Store, tmp_path: Path) -> None:
    store.write_bytes("Image.png", b"upper")
    store.write_bytes("image.png", b"lower")
    assert store.list() == ["Image.png", "image.png"]
    (tmp_path / "back").mkdir()
    for key in store.list():
        store.get(key, tmp_path / "back" / key)
    assert (tmp_path / "back/Image.png").read_bytes() == b"upper"
    assert (tmp_path / "back/image.png").read_bytes() == b"lower"


def test_a_plain_path_is_a_folder_store(tmp_path: Path) -> None:
    open_store(tmp_path / "folder with spaces #1?").write_bytes("key", b"data")
    assert (tmp_path / "folder with spaces #1?" / "key").read_bytes() == b"data"


def test_links_below_a_folder_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"the user's")
    store = open_store(tmp_path / "store")
    store.write_bytes("own", b"1")
    (tmp_path / "store/folder").symlink_to(outside)
    (tmp_path / "store/file").symlink_to(outside / "kept")
    assert store.list() == ["own"]
    assert not store.exists("file")
    with pytest.raises(KeyError):
        store.read_bytes("file")
    for call in (lambda: store.write_bytes("folder/x", b"1"), lambda: store.delete("folder/kept")):
        with pytest.raises(InputError, match="a link leads out of"):
            call()
    store.write_bytes("file", b"2")
    assert store.delete_all() == 3
    assert (outside / "kept").read_bytes() == b"the user's" and not (tmp_path / "store").exists()


def test_what_a_killed_write_left_is_no_file_of_a_folder(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write_bytes("record.json", b"1")
    (tmp_path / ".datum-0123abcd.json").write_bytes(b"hal")
    assert store.list() == ["record.json"]
    store.delete_all()
    assert not list(tmp_path.glob("*"))


def test_a_wrong_secret_is_bad_input_and_never_shown(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    with pytest.raises(InputError) as failure:
        open_store(f"s3://{s3_bucket}/x").write_bytes("key", b"data")
    assert "a-wrong-secret" not in str(failure.value)


@pytest.mark.parametrize("region", ["", "us-east-1"])
def test_a_bucket_that_is_not_there_is_bad_input(
    s3_environment: str, monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    store = open_store("s3://no-such-bucket/x")
    for call in (lambda: store.read_bytes("key"), lambda: store.exists("key"), store.list):
        with pytest.raises(InputError, match="NoSuchBucket"):
            call()


def test_a_store_out_of_reach_is_a_temporary_fault(
    s3_environment: str, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(TemporaryFaultError, match=r"out of reach: .*Connection refused"):
        open_store("s3://bucket/x").read_bytes("key")


def test_an_access_is_taken_instead_of_the_environment_and_shows_no_key(
    s3_bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    access = Access(endpoint=s3_endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY, patient=False)
    store = open_store(f"s3://{s3_bucket}/x", access)
    store.write_bytes("key", b"data")
    assert store.read_bytes("key") == b"data"
    assert SECRET_KEY not in repr(access) and ACCESS_KEY not in repr(access).replace(s3_endpoint, "")
