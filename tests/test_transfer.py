"""Folders to and from a real S3 server: whole, verified, resumed, and never outside of scratch."""

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datum.errors import InputError, TemporaryFaultError
from datum.store import open_store
from datum.transfer import INDEX, fetch, is_published, publish

FILES = 40


def folder_of(root: Path, count: int = FILES, size: int = 5_000) -> Path:
    for index in range(count):
        file = root / f"images/city {index % 3}/{index:05d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(index.to_bytes(4, "big") * (size // 4))
    (root / "empty").touch()
    return root


def content_of(root: Path) -> dict[str, bytes]:
    return {f.relative_to(root).as_posix(): f.read_bytes() for f in root.rglob("*") if f.is_file()}


class Proxy:
    """An HTTP proxy before the S3 server that counts requests and answers some of them itself."""

    def __init__(self, endpoint: str) -> None:
        proxy, upstream = self, urlsplit(endpoint).netloc
        self.requests: list[tuple[str, str]] = []
        self.busy: Literal["never", "once", "always"] = "never"
        """How often every single request is answered with 503 SlowDown."""
        self.cut_answers = 0
        """So many downloads of images break off in the middle."""
        self.delay = 0.0
        """Seconds that every request waits."""
        self._at_work: set[int] = set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                proxy._at_work.add(threading.get_ident())
                try:
                    self.pass_on()
                finally:
                    proxy._at_work.discard(threading.get_ident())

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                again = (self.command, self.path) in proxy.requests
                proxy.requests.append((self.command, self.path))
                time.sleep(proxy.delay)
                if proxy.busy == "always" or (proxy.busy == "once" and not again):
                    xml = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
                    self.answer(503, [("Content-Type", "application/xml")], xml)
                    return
                connection = http.client.HTTPConnection(upstream)
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                response = connection.getresponse()
                headers = [
                    (name, value)
                    for name, value in response.getheaders()
                    if name.lower() not in ("content-length", "connection", "transfer-encoding")
                ]
                content = response.read()
                if self.command == "HEAD":
                    headers.append(("Content-Length", response.getheader("Content-Length") or "0"))
                self.answer(response.status, headers, content)
                connection.close()

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward  # noqa: N815 - the base class's names

            def answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command == "GET" and ".png" in self.path and proxy.cut_answers > 0:
                    proxy.cut_answers -= 1
                    self.close_connection = True
                    content = content[: len(content) // 2]
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def settle(self) -> None:
        """Waits for the requests of a client that was killed."""
        time.sleep(0.3)
        while self._at_work:
            time.sleep(0.01)

    def count(self, method: str, part: str = "") -> int:
        return sum(1 for m, path in self.requests if m == method and part in path)


@pytest.fixture
def base(s3_bucket: str) -> str:
    return f"s3://{s3_bucket}/datasets"


@pytest.fixture
def proxy(s3_environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The store's endpoint, from here on."""
    proxy = Proxy(s3_environment)
    monkeypatch.setenv("S3_ENDPOINT", proxy.endpoint)
    yield proxy
    proxy.close()


def started(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )


PUBLISH = (
    "import sys; from pathlib import Path; from datum.transfer import publish;"
    "publish(Path(sys.argv[1]), sys.argv[2], 'gta')"
)
FETCH = (
    "import sys; from pathlib import Path; from datum.transfer import fetch;"
    "fetch(sys.argv[1], Path(sys.argv[2]))"
)


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
    assert fetch(f"file://{tmp_path}#fingerprint", scratch) == tmp_path
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


def test_a_killed_publication_is_incomplete_and_goes_on_where_it_was(
    base: str, proxy: Proxy, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "folder", 150)
    proxy.delay = 0.05
    process = started(PUBLISH, folder, base)
    while proxy.count("PUT") < 60 and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    proxy.settle()
    keys = open_store(base).list()
    assert 0 < len(keys) < 150 and not any(key.endswith(INDEX) for key in keys)
    proxy.delay = 0
    proxy.requests.clear()
    uri = publish(folder, base, "gta")
    assert proxy.count("PUT") == 151 - len(keys) + 1
    assert content_of(fetch(uri, tmp_path / "scratch")) == content_of(folder)


def test_a_killed_fetch_leaves_nothing_whole_and_goes_on_where_it_was(
    base: str, proxy: Proxy, tmp_path: Path
) -> None:
    folder, scratch = folder_of(tmp_path / "folder", 150), tmp_path / "scratch"
    uri = publish(folder, base, "gta")
    proxy.delay = 0.05
    process = started(FETCH, uri, scratch)
    while len(list(scratch.glob("*.partial/images/*/*.png"))) < 60 and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    proxy.settle()
    assert not list(scratch.glob("*/gta-*"))
    there = len(list(scratch.glob("*.partial/images/*/*.png")))
    proxy.delay = 0
    proxy.requests.clear()
    copy = fetch(uri, scratch)
    assert proxy.count("GET", ".png") == 150 - there
    assert content_of(copy) == content_of(folder)
    assert {entry.suffix for entry in scratch.iterdir()} == {"", ".lock"}


def test_ctrl_c_ends_a_fetch_at_once(base: str, proxy: Proxy, tmp_path: Path) -> None:
    uri = publish(folder_of(tmp_path / "folder", 60), base, "gta")
    proxy.requests.clear()
    process = started(FETCH, uri, tmp_path / "scratch")
    while proxy.count("GET", INDEX) < 1 and process.poll() is None:
        time.sleep(0.005)
    proxy.delay = 30
    time.sleep(0.3)
    interrupted = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    assert time.monotonic() - interrupted < 5
    assert process.stderr and "KeyboardInterrupt" in process.stderr.read()


def test_two_processes_fetch_one_uri_into_one_folder(base: str, proxy: Proxy, tmp_path: Path) -> None:
    folder, scratch = folder_of(tmp_path / "folder"), tmp_path / "scratch"
    uri = publish(folder, base, "gta")
    proxy.requests.clear()
    processes = [started(FETCH, uri, scratch) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    assert proxy.count("GET", ".png") == FILES, "the second waits for the first and takes its copy"
    assert content_of(fetch(uri, scratch)) == content_of(folder)


def test_a_busy_server_is_asked_again(base: str, proxy: Proxy, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "folder")
    proxy.busy = "once"
    uri = publish(folder, base, "gta")
    proxy.requests.clear()
    assert content_of(fetch(uri, tmp_path / "scratch")) == content_of(folder)
    assert proxy.count("GET", ".png") == 2 * FILES


def test_a_server_that_stays_busy_is_a_temporary_fault(
    base: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda self: 0)
    proxy.busy = "always"
    with pytest.raises(TemporaryFaultError, match="SlowDown"):
        open_store(base).read_bytes("key")
    assert len(proxy.requests) == 7


def test_a_download_that_breaks_off_is_fetched_again(base: str, proxy: Proxy, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "folder", 8, size=200_000)
    uri = publish(folder, base, "gta")
    proxy.cut_answers = 3
    proxy.requests.clear()
    assert content_of(fetch(uri, tmp_path / "scratch")) == content_of(folder)
    assert proxy.count("GET", ".png") == 8 + 3


def test_what_breaks_off_is_a_temporary_fault_and_no_file(base: str, proxy: Proxy, tmp_path: Path) -> None:
    store = open_store(base)
    store.write_bytes("a.png", bytes(3_000_000))
    proxy.cut_answers = 2
    with pytest.raises(TemporaryFaultError, match="out of reach"):
        store.read_bytes("a.png")
    with pytest.raises(TemporaryFaultError, match="out of reach"):
        store.get("a.png", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_object_is_named_and_leaves_nothing_whole(base: str, proxy: Proxy, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "folder")
    uri = publish(folder, base, "gta")
    name = "images/city 1/00007.png"
    content = (folder / name).read_bytes()
    open_store(uri).write_bytes(name, b"x" + content[1:])
    proxy.requests.clear()
    with pytest.raises(TemporaryFaultError, match=rf"{uri}/{name}: damaged: found 5000 bytes with SHA-256"):
        fetch(uri, tmp_path / "scratch")
    assert proxy.count("GET", "00007.png") == 2
    assert not list((tmp_path / "scratch").glob("*/gta-*"))
    open_store(uri).write_bytes(name, content)
    assert content_of(fetch(uri, tmp_path / "scratch")) == content_of(folder)


def test_an_object_that_is_gone_is_named_and_publishing_again_mends_it(base: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "folder")
    uri = publish(folder, base, "gta")
    open_store(uri).delete("images/city 1/00007.png")
    assert not is_published(uri)
    with pytest.raises(InputError, match=r"00007\.png: is gone"):
        fetch(uri, tmp_path / "scratch")
    assert publish(folder, base, "gta") == uri
    assert content_of(fetch(uri, tmp_path / "scratch")) == content_of(folder)


def test_the_threads_end_soon_after_an_error(base: str, tmp_path: Path) -> None:
    uri = publish(folder_of(tmp_path / "folder", 200), base, "gta")
    open_store(uri).delete("images/city 0/00000.png")
    before = threading.active_count()
    with pytest.raises(InputError):
        fetch(uri, tmp_path / "scratch")
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
    assert len(list((tmp_path / "scratch").glob("*.partial/images/*/*.png"))) < 190


def test_a_wrong_secret_is_bad_input(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "folder", 3)
    uri = publish(folder, base, "gta")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    for call in (lambda: publish(folder, base, "x"), lambda: fetch(uri, tmp_path / "scratch")):
        with pytest.raises(InputError, match="check the bucket and the secret") as failure:
            call()
        assert "a-wrong-secret" not in str(failure.value)


def index_of(names: list[str], size: int = 1) -> bytes:
    entry = {"size": size, "sha256": hashlib.sha256(b"x").hexdigest()}
    return json.dumps({"files": dict.fromkeys(names, entry)}).encode()


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
    with pytest.raises(InputError, match=r"needs 2e\+09 GB, found .* GB free in .*; give the scratch volume"):
        fetch(f"{base}/huge", tmp_path / "scratch")
    assert proxy.count("GET", "huge/a") == 0
