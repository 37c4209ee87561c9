"""Folders go to a store and come back as they were."""

import re
from pathlib import Path

import pytest

from datum.errors import InputError
from datum.store import open_store
from datum.transfer import INDEX, fetch, is_published, publish
from tests.transfer.folders import Proxy, content_of, folder_of


def test_a_published_folder_comes_back_as_it_was(base: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "folder")
    uri = publish(folder, base, "gta")
    assert re.fullmatch(re.escape(base) + "/gta-[0-9a-f]{16}", uri)
    copy = fetch(uri, tmp_path / "scratch")
    assert content_of(copy) == content_of(folder)
    assert copy.name == uri.rpartition("/")[2]
    assert list(tmp_path.joinpath("scratch").glob("*.partial")) == []


def test_what_many_threads_fetch_is_as_readable_as_any_new_file(base: str, tmp_path: Path) -> None:
    uri = publish(folder_of(tmp_path / "folder", 100), base, "gta")
    copy = fetch(uri, tmp_path / "scratch")
    (tmp_path / "new").touch()
    modes = {file.stat().st_mode for file in copy.rglob("*") if file.is_file()}
    assert modes == {(tmp_path / "new").stat().st_mode}


def test_the_uri_is_that_of_the_content_and_its_names(base: str, tmp_path: Path) -> None:
    one, same, other = (folder_of(tmp_path / name, 3) for name in ("one", "same", "other"))
    (other / "images/city 0/00000.png").rename(other / "images/city 0/renamed.png")
    uris = [publish(folder, base, "x") for folder in (one, same, other)]
    assert uris[0] == uris[1] != uris[2]
    (other / "images/city 0/renamed.png").write_bytes(b"changed")
    assert publish(other, base, "x") not in uris


def test_publishing_again_uploads_nothing_and_fetching_again_downloads_nothing(
    base: str, proxy: Proxy, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "folder")
    uri = publish(folder, base, "gta")
    copy = fetch(uri, tmp_path / "scratch")
    proxy.requests.clear()
    assert publish(folder, base, "gta") == uri
    assert fetch(uri, tmp_path / "scratch") == copy
    assert proxy.count("PUT") == 0 and proxy.count("GET", ".png") == 0


def test_links_are_followed_and_files_may_stay_behind(base: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "user", 3)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "a.png").symlink_to(folder / "images/city 0/00000.png")
    (linked / "images").symlink_to(folder / "images")
    (linked / "provenance.json").write_text("{}")
    copy = fetch(publish(linked, base, "x", leaving_out=["provenance.json"]), tmp_path / "scratch")
    assert set(content_of(copy)) == {"a.png", *(f"images/city {i}/0000{i}.png" for i in range(3))}


def test_a_part_is_fetched_without_the_rest(base: str, proxy: Proxy, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "folder")
    uri = publish(folder, base, "gta")
    proxy.requests.clear()
    part = fetch(uri, tmp_path / "scratch", only=["images/city 1/"])
    expected = {name: data for name, data in content_of(folder).items() if "city 1/" in name}
    assert content_of(part) == expected
    assert proxy.count("GET", ".png") == len(expected)
    assert content_of(fetch(uri, tmp_path / "scratch")) == content_of(folder)
    assert content_of(part) == expected


def test_a_users_own_folder_and_a_single_file_are_fetched_without_an_index(base: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model")
    store = open_store(f"{base}/model")
    for name in content_of(folder):
        store.put(folder / name, name)
    store.write_bytes("folder mark/", b"")
    assert content_of(fetch(f"{base}/model/", tmp_path / "scratch")) == content_of(folder)
    single = fetch(f"{base}/model/images/city 1/00001.png", tmp_path / "scratch")
    assert single.name == "00001.png"
    assert single.read_bytes() == (folder / "images/city 1/00001.png").read_bytes()


def test_a_users_folder_that_changed_is_fetched_anew(base: str, tmp_path: Path) -> None:
    store = open_store(f"{base}/raw")
    store.write_bytes("a.png", b"old")
    assert (fetch(f"{base}/raw", tmp_path) / "a.png").read_bytes() == b"old"
    store.write_bytes("a.png", b"new")
    assert (fetch(f"{base}/raw", tmp_path) / "a.png").read_bytes() == b"new"


def test_two_folders_of_one_name_do_not_meet(base: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        open_store(f"{base}/{name}/data").write_bytes("file", b"equal" if name == "one" else b"other")
    copies = [fetch(f"{base}/{name}/data", tmp_path) for name in ("one", "two")]
    assert [(copy / "file").read_bytes() for copy in copies] == [b"equal", b"other"]


def test_a_local_path_is_returned_as_it_is(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    assert fetch(str(tmp_path), scratch) == tmp_path
    assert fetch(f"file://{tmp_path}/a%20b", scratch) == tmp_path / "a b"
    assert fetch(f"file://{tmp_path}#0123456789abcdef", scratch) == tmp_path
    assert not scratch.exists()


def test_a_folder_can_be_published_on_a_mounted_volume(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "folder", 5)
    uri = publish(folder, f"file://{tmp_path}/volume", "x")
    assert is_published(uri)
    copy = content_of(fetch(uri, tmp_path / "scratch"))
    assert INDEX in copy and {k: v for k, v in copy.items() if k != INDEX} == content_of(folder)


def test_nothing_at_a_uri_is_bad_input(base: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: found no object, expected a file or a folder"):
        fetch(f"{base}/nowhere", tmp_path)
    with pytest.raises(InputError, match="found no object"):
        fetch(base.removesuffix("/datasets"), tmp_path)
    with pytest.raises(InputError, match="found no object that starts with val/"):
        fetch(publish(folder_of(tmp_path / "folder", 1), base, "x"), tmp_path, only=["val/"])
    assert not list(tmp_path.glob("*.partial"))


def test_an_empty_folder_and_one_with_the_indexs_name_are_not_published(base: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no file"):
        publish(tmp_path / "empty", base, "x")
    (tmp_path / "empty" / INDEX).touch()
    (tmp_path / "empty/file").touch()
    with pytest.raises(InputError, match="rename it"):
        publish(tmp_path / "empty", base, "x")
