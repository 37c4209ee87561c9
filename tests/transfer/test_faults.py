"""Transfers that are killed, cut off, or refused."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from datum.errors import InputError, TemporaryFaultError
from datum.store import DamagedError, open_store
from datum.transfer import INDEX, fetch, is_published, publish
from tests.transfer.folders import FETCH, FILES, PUBLISH, Proxy, content_of, folder_of, started


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


def test_a_busy_server_is_asked_again(base: str, proxy: Proxy, tmp_path: Path, patient: None) -> None:
    folder = folder_of(tmp_path / "folder")
    proxy.busy = "once"
    uri = publish(folder, base, "gta")
    proxy.requests.clear()
    assert content_of(fetch(uri, tmp_path / "scratch")) == content_of(folder)
    assert proxy.count("GET", ".png") == 2 * FILES


def test_a_server_that_stays_busy_is_a_temporary_fault_when_patience_ends(
    base: str,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    patient: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    proxy.busy = "always"
    monkeypatch.setattr("datum.patience.patience_ends", lambda: time.monotonic() + 0.5)
    with pytest.raises(TemporaryFaultError, match="SlowDown"):
        open_store(base).read_bytes("key")
    tries = [
        line for line in capsys.readouterr().err.splitlines() if "SlowDown" in line and "again in" in line
    ]
    assert len(tries) > 3 and len(proxy.requests) == len(tries) + 2


def test_a_server_that_is_away_for_a_time_is_waited_for_and_one_thread_says_so(
    base: str, proxy: Proxy, tmp_path: Path, patient: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "folder")
    proxy.busy = "always"
    back = threading.Timer(0.5, lambda: setattr(proxy, "busy", "never"))
    back.start()
    uri = publish(folder, base, "gta")
    assert content_of(fetch(uri, tmp_path / "scratch")) == content_of(folder)
    tries = [line for line in capsys.readouterr().err.splitlines() if "again in" in line]
    assert 3 < len(tries) < 20, "one line a try, whatever the number of threads"


def test_a_download_that_breaks_off_is_fetched_again(
    base: str, proxy: Proxy, tmp_path: Path, patient: None
) -> None:
    folder = folder_of(tmp_path / "folder", 8, size=200_000)
    uri = publish(folder, base, "gta")
    proxy.cut_answers = 3
    proxy.requests.clear()
    assert content_of(fetch(uri, tmp_path / "scratch")) == content_of(folder)
    assert proxy.count("GET", ".png") == 8 + 3


def test_what_breaks_off_is_a_temporary_fault_and_no_file(
    base: str, proxy: Proxy, tmp_path: Path, impatient: None
) -> None:
    store = open_store(base)
    store.write_bytes("a.png", bytes(3_000_000))
    proxy.cut_answers = 4
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
    with pytest.raises(DamagedError, match=rf"{uri}/{name}: damaged: found SHA-256"):
        fetch(uri, tmp_path / "scratch")
    assert proxy.count("GET", "00007.png") == 3
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
