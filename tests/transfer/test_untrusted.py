"""Indexes and keys that nobody vouches for."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datum.errors import InputError, TemporaryFaultError
from datum.store import open_store
from datum.transfer import INDEX, fetch, publish
from tests.transfer.folders import Proxy, content_of, folder_of, index_of


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "a//b", "./x", "", "x\0", "\ud800", "y" * 256, "a/"]
)
def test_an_index_that_leads_out_of_the_folder_is_refused(base: str, tmp_path: Path, name: str) -> None:
    store = open_store(f"{base}/bad")
    store.write_bytes(INDEX, index_of(["fine", name]))
    store.write_bytes("fine", b"x")
    with pytest.raises(InputError, match="found an object named"):
        fetch(f"{base}/bad", tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_a_file_and_a_folder_of_one_name_are_refused(base: str, tmp_path: Path) -> None:
    open_store(f"{base}/bad").write_bytes(INDEX, index_of(["a/b/c", "a/b"]))
    with pytest.raises(InputError, match="found both a/b and a/b/c"):
        fetch(f"{base}/bad", tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.text("ab./\\~\0\né\udc80:", max_size=8) | st.text(max_size=8),
        min_size=1,
        max_size=4,
    )
)
def test_no_index_whatsoever_writes_outside_of_scratch(
    s3_bucket: str, tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    place = tmp_path_factory.mktemp("place")
    uri = f"s3://{s3_bucket}/any"
    store = open_store(uri)
    store.write_bytes(INDEX, index_of(names))
    written = []
    for name in names:
        if all(part not in ("", ".", "..") for part in name.split("/")) and "\0" not in name:
            try:
                store.write_bytes(name, b"x")
                written.append(name)
            except (InputError, TemporaryFaultError, UnicodeEncodeError):
                pass  # the server refuses the name too
    try:
        copy = fetch(uri, place / "scratch")
    except (InputError, TemporaryFaultError):
        pass
    else:
        assert set(content_of(copy)) == set(names)
    assert {entry.name for entry in place.iterdir()} <= {"scratch"}
    for name in written:
        store.delete(name)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"a": 1}', b'{"files": {}}', b'{"files": {"a": {"size": -1, "sha256": ""}}}', b"\xff"],
)
def test_a_file_of_the_indexs_name_that_is_none_is_refused(base: str, tmp_path: Path, content: bytes) -> None:
    open_store(f"{base}/raw").write_bytes(INDEX, content)
    with pytest.raises(InputError, match=f"{base}/raw/{INDEX}: not the index"):
        fetch(f"{base}/raw", tmp_path)


def test_an_index_that_is_not_of_its_folder_is_refused(base: str, tmp_path: Path) -> None:
    uri = publish(folder_of(tmp_path / "folder", 3), base, "gta")
    open_store(uri).write_bytes(INDEX, index_of(["other"]))
    with pytest.raises(InputError, match="lists other files than were published"):
        fetch(uri, tmp_path)


def test_a_folder_that_does_not_fit_is_refused_before_anything_is_fetched(
    base: str, proxy: Proxy, tmp_path: Path
) -> None:
    open_store(f"{base}/huge").write_bytes(INDEX, index_of(["a", "b"], size=10**18))
    with pytest.raises(
        TemporaryFaultError, match=r"GB of disk are free, expected 2e\+09 GB for a copy of s3:"
    ):
        fetch(f"{base}/huge", tmp_path / "scratch")
    assert proxy.count("GET", "huge/a") == 0
