"""One interface over a folder and a real S3 server."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datum.errors import InputError, TemporaryFaultError
from datum.store import Access, FolderStore, Store, get_folder, open_store, put_folder
from tests.conftest import ACCESS_KEY, SECRET_KEY


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(f"file://{tmp_path / 'store'}")
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix")


def test_a_file_comes_back_as_it_was_put(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 40_000)
    store.put(file, "deep/key")
    store.get("deep/key", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == file.read_bytes()
    assert store.exists("deep/key")


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


def test_more_keys_than_one_answer_holds_are_all_listed(store: Store) -> None:
    keys = [f"many/{index:04d}" for index in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.write_bytes(key, b""), keys))
    assert store.list("many/") == keys


def test_a_key_that_is_not_there_raises_key_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        store.read_bytes("missing")
    with pytest.raises(KeyError):
        store.get("missing", tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert not store.exists("missing")


def test_writing_a_key_again_replaces_it(store: Store) -> None:
    store.write_bytes("key", b"old")
    store.write_bytes("key", b"new")
    assert store.read_bytes("key") == b"new"


def test_a_plain_path_is_a_folder_store(tmp_path: Path) -> None:
    open_store(tmp_path / "folder with spaces").write_bytes("key", b"data")
    assert (tmp_path / "folder with spaces" / "key").read_bytes() == b"data"


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "s3://a b/key", "s3://x"])
def test_what_cannot_be_a_bucket_is_bad_input(s3_environment: str, uri: str) -> None:
    with pytest.raises(InputError, match="cannot be a bucket, expected s3://bucket/prefix"):
        open_store(uri)


def test_an_unknown_scheme_is_bad_input() -> None:
    with pytest.raises(InputError, match="unknown scheme ftp://"):
        open_store("ftp://host/folder")


def test_an_s3_uri_without_its_environment_names_the_missing_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("S3_ENDPOINT", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(InputError, match="lacks S3_ENDPOINT, AWS_SECRET_ACCESS_KEY"):
        open_store("s3://bucket")


def test_a_wrong_secret_is_bad_input_and_never_shown(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    with pytest.raises(InputError) as failure:
        open_store(f"s3://{s3_bucket}/x").write_bytes("key", b"data")
    assert "a-wrong-secret" not in str(failure.value)


def test_a_bucket_that_is_not_there_is_bad_input(s3_environment: str) -> None:
    with pytest.raises(InputError, match="NoSuchBucket"):
        open_store("s3://no-such-bucket/x").read_bytes("key")


def test_a_store_out_of_reach_is_a_temporary_fault(
    s3_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(TemporaryFaultError, match="out of reach"):
        open_store("s3://bucket/x").read_bytes("key")


def a_report(folder: Path) -> dict[str, bytes]:
    files = {"a.json": b"1", "b c/nested/d": b"2", "z": b""}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return files


def content_of(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("prefix", ["", "run-1", "runs/1/"])
def test_a_folder_comes_back_as_it_was_put(store: Store, tmp_path: Path, prefix: str) -> None:
    files = a_report(tmp_path / "report")
    put_folder(store, tmp_path / "report", prefix)
    below = f"{prefix.rstrip('/')}/" if prefix else ""
    assert store.list() == [below + name for name in files]
    assert get_folder(store, prefix, tmp_path / "back")
    assert content_of(tmp_path / "back") == files


def test_of_a_folder_the_last_file_is_put_after_all_others(tmp_path: Path) -> None:
    a_report(tmp_path / "report")
    keys: list[str] = []

    class Noting(FolderStore):
        def put(self, file: Path, key: str) -> None:
            keys.append(key)

    put_folder(Noting(tmp_path), tmp_path / "report", "run", last="a.json")
    assert keys == ["run/b c/nested/d", "run/z", "run/a.json"]


def test_the_mark_of_a_folder_is_no_file(s3_bucket: str, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3_bucket}")
    store.write_bytes("run/mark/", b"")
    store.write_bytes("run/mark/file", b"1")
    assert get_folder(store, "run", tmp_path / "back")
    assert content_of(tmp_path / "back") == {"mark/file": b"1"}


def test_a_folder_is_told_from_one_whose_name_begins_alike(store: Store, tmp_path: Path) -> None:
    store.write_bytes("checkpoint-10/file", b"ten")
    assert not get_folder(store, "checkpoint-1", tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("names", [["../x"], ["a/../../x"], ["/x"], ["a//b"], ["./a"], ["a", "a/b"]])
def test_a_key_that_would_leave_the_folder_is_refused(tmp_path: Path, names: list[str]) -> None:
    class Malicious(FolderStore):
        def list(self, prefix: str = "") -> list[str]:
            return [f"{prefix}fine", *(prefix + name for name in names)]

    with pytest.raises(InputError, match="run: found"):
        get_folder(Malicious(tmp_path / "store"), "run", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_an_access_is_taken_instead_of_the_environment_and_shows_no_key(
    s3_bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    access = Access(endpoint=s3_endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY, retries=0)
    store = open_store(f"s3://{s3_bucket}/x", access)
    store.write_bytes("key", b"data")
    assert store.read_bytes("key") == b"data"
    assert SECRET_KEY not in repr(access) and ACCESS_KEY not in repr(access).replace(s3_endpoint, "")


@pytest.mark.parametrize(
    "endpoint", ["host:8333", "ftp://host", "http://", "http://host:port", "http://host:0"]
)
def test_an_endpoint_that_is_no_url_is_bad_input(endpoint: str) -> None:
    with pytest.raises(InputError, match=r"S3_ENDPOINT=.*: expected http://host:port"):
        Access(endpoint=endpoint, access_key="x", secret_key="y")
