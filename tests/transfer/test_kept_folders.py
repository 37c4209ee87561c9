"""Folders of resumable state: whole or absent, and what they have in common kept once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datum.errors import InputError
from datum.kept_folder import INDEX_OF_KEPT, get_folder, put_folder
from datum.store import DamagedError, FolderStore, Store, open_store
from tests.transfer.folders import Proxy, content_of, index_of


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(f"file://{tmp_path / 'store'}")
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix")


def checkpoint(folder: Path, step: int) -> Path:
    files = {"model_index.json": b"{}", "unet/b c/weights": b"%d" % step, "vae/weights": b"v", "empty": b""}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_comes_back_as_it_was_put_and_may_be_put_again(store: Store, tmp_path: Path) -> None:
    for step in (1, 2):
        folder = checkpoint(tmp_path / "checkpoint", step)
        put_folder(store, folder, "checkpoint")
        assert get_folder(store, "checkpoint/", tmp_path / f"back-{step}")
        assert content_of(tmp_path / f"back-{step}") == content_of(folder)


def test_what_folders_have_in_common_is_uploaded_once(s3_bucket: str, proxy: Proxy, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3_bucket}/state")
    for step in (1, 2):
        put_folder(store, checkpoint(tmp_path / str(step), step), f"checkpoint-{step}")
    assert proxy.count("PUT", "/files/") == 5
    assert proxy.count("PUT", INDEX_OF_KEPT) == 2
    for step in (1, 2):
        get_folder(store, f"checkpoint-{step}", tmp_path / f"back-{step}")
        assert content_of(tmp_path / f"back-{step}") == content_of(tmp_path / str(step))


def test_a_folder_without_its_list_is_not_there(tmp_path: Path) -> None:
    class Dying(FolderStore):
        def swap_bytes(self, key: str, data: bytes, version: str) -> bool:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_folder(Dying(tmp_path / "dying"), checkpoint(tmp_path / "a", 1), "checkpoint-1")
    assert not get_folder(open_store(tmp_path / "dying"), "checkpoint-1", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_of_two_writers_one_wins_and_the_other_says_so(store: Store, tmp_path: Path) -> None:
    def put(step: int) -> str:
        try:
            put_folder(store, checkpoint(tmp_path / str(step), step), "checkpoint")
        except InputError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(put, (1, 2)))
    assert all(text == "" or "another process put the same folder meanwhile" in text for text in said)
    get_folder(store, "checkpoint", tmp_path / "back")
    winners = [step for step, text in zip((1, 2), said) if not text]
    assert content_of(tmp_path / "back") in [content_of(tmp_path / str(step)) for step in winners]


def test_a_damaged_content_is_not_taken(store: Store, tmp_path: Path) -> None:
    put_folder(store, checkpoint(tmp_path / "a", 1), "checkpoint")
    key = next(key for key in store.list("files/") if store.read_bytes(key) == b"v")
    store.write_bytes(key, b"w")
    with pytest.raises(DamagedError, match="damaged"):
        get_folder(store, "checkpoint", tmp_path / "back")
    put_folder(store, checkpoint(tmp_path / "a", 1), "checkpoint")
    assert get_folder(store, "checkpoint", tmp_path / "again")


def test_a_folder_is_told_from_one_whose_name_begins_alike(store: Store, tmp_path: Path) -> None:
    put_folder(store, checkpoint(tmp_path / "a", 1), "checkpoint-10")
    store.write_bytes("checkpoint-100/file", b"of datum 0.1")
    assert not get_folder(store, "checkpoint-1", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_folder_of_datum_0_1_is_read(s3_bucket: str, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3_bucket}")
    store.write_bytes("run/mark/", b"")
    store.write_bytes("run/mark/file", b"1")
    assert get_folder(store, "run", tmp_path / "back")
    assert content_of(tmp_path / "back") == {"mark/file": b"1"}


@pytest.mark.parametrize("names", [["../x"], ["a/../../x"], ["/x"], ["a//b"], ["./a"], ["a", "a/b"], ["a\0"]])
def test_a_list_that_would_leave_the_folder_is_refused(tmp_path: Path, names: list[str]) -> None:
    store = open_store(tmp_path / "store")
    store.write_bytes(f"run/{INDEX_OF_KEPT}", index_of(["fine", *names]))
    with pytest.raises(InputError, match="run/: found"):
        get_folder(store, "run", tmp_path / "back")
    assert not (tmp_path / "back").exists()
