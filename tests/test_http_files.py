"""Files by HTTP, from a server and through a proxy that fail as real ones do."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datum.errors import InputError, TemporaryFaultError
from datum.http_files import download_file
from tests.weights_server import CONTENT, Behavior, weights_server

DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(patient: None) -> Iterator[Behavior]:
    with weights_server() as behavior:
        yield behavior


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pth"


def _get(server: Behavior, file: Path, digest: str = "") -> None:
    download_file("--weights x", f"{server.url}/weights.pth", file, digest=digest)


def _refusal(server: Behavior, file: Path, digest: str = "") -> str:
    with pytest.raises(InputError) as raised:
        _get(server, file, digest)
    said = str(raised.value)
    assert said.startswith(f"--weights x: {server.url}") and "\n" not in said
    assert not file.exists()
    return said


def test_a_download_that_is_cut_off_again_and_again_goes_on_where_it_was(
    server: Behavior, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.cuts = [100_000, 300_000, 1, 200_000]
    _get(server, file)
    assert file.read_bytes() == CONTENT
    assert server.asked("Range") == [
        "",
        *(f"bytes={start}-" for start in (100_000, 400_000, 400_001, 600_001)),
    ]
    assert capsys.readouterr().err.count("it goes on from there") == 4
    assert not [other for other in file.parent.iterdir() if other.suffix in (".part", ".version")]


def test_a_killed_download_is_gone_on_with_by_the_next_command(server: Behavior, file: Path) -> None:
    server.content = os.urandom(300_000_000)
    program = (
        "import sys; from pathlib import Path; from datum.http_files import download_file;"
        "download_file('x', sys.argv[1], Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, f"{server.url}/weights.pth", file])
    part = file.with_name("weights.pth.part")
    while not part.exists() or part.stat().st_size < 10**6:
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    arrived = part.stat().st_size
    assert 0 < arrived < len(server.content) and not file.exists()
    _get(server, file)
    assert server.asked("Range") == ["", f"bytes={arrived}-"]
    assert file.read_bytes() == server.content


def test_a_server_that_answers_no_parts_is_asked_for_all_again(server: Behavior, file: Path) -> None:
    server.ranges, server.cuts = False, [500_000, 300_000, 600_000]
    _get(server, file)
    assert file.read_bytes() == CONTENT
    assert len(server.requests) == 4


def test_a_part_of_another_version_is_not_gone_on_with(
    server: Behavior, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content, server.cuts = b"x" * len(CONTENT), [300_000, 0]
    with monkeypatch.context() as patch, pytest.raises(TemporaryFaultError, match="was cut off"):
        patch.setenv("DATUM_PATIENCE", "0")
        _get(server, file)
    server.etag, server.content = '"two"', CONTENT
    _get(server, file)
    assert file.read_bytes() == CONTENT
    assert server.asked("Range") == ["", "bytes=300000-", "bytes=300000-", ""]


def test_a_part_of_which_no_version_is_known_is_gone_on_with_only_where_the_digest_is(
    server: Behavior, file: Path
) -> None:
    server.etag, server.cuts = "", [300_000]
    _get(server, file)
    assert server.asked("Range") == ["", "bytes=300000-", ""]
    file.unlink()
    server.requests.clear()
    server.cuts = [300_000]
    _get(server, file, DIGEST)
    assert server.asked("Range") == ["", "bytes=300000-"]


def test_a_busy_server_and_one_that_is_away_are_waited_for(
    server: Behavior, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.statuses = [503, 429, 502]
    _get(server, file)
    assert file.read_bytes() == CONTENT
    said = capsys.readouterr().err
    assert [f"answers {status}; try again" in said for status in (503, 429, 502)] == [True] * 3


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stays_away_is_a_fault_that_may_pass(tmp_path: Path) -> None:
    with weights_server() as behavior:
        url = f"{behavior.url}/weights.pth"
    with pytest.raises(TemporaryFaultError, match=r"x: http://127\.0\.0\.1:\d+/weights.pth is out of reach"):
        download_file("x", url, tmp_path / "file")


def _is(**changes: Any) -> Callable[[Behavior], None]:
    def change(server: Behavior) -> None:
        for name, value in changes.items():
            setattr(server, name, value)

    return change


@pytest.mark.parametrize(
    "change, digest, problem",
    [
        (_is(statuses=[404]), "", "answers 404: there is no such file"),
        (_is(statuses=[403]), "", "answers 403: it is not open to everybody"),
        (_is(content=b"<!DOCTYPE html><html>virus scan warning</html>"), "", "gives a web page"),
        (_is(content=b"version https://git-lfs.github.com/spec/v1\n"), "", "gives Git LFS's pointer"),
        (_is(content=b'{"error": "gated"}'), "", "gives a text in JSON"),
        (_is(), "0" * 64, f"gave a file of SHA-256 {DIGEST[:16]}…, expected 0000000000000000…"),
        (_is(sizes=False), "", "does not say how large the file is"),
    ],
    ids=["gone", "gated", "page", "Git LFS", "JSON", "digest", "no size"],
)
def test_what_is_not_the_file_is_refused_and_nothing_of_it_is_kept(
    server: Behavior, file: Path, change: Callable[[Behavior], None], digest: str, problem: str
) -> None:
    change(server)
    assert problem in _refusal(server, file, digest)
    # Nor does anything of it stand in the way of the next try.
    _is(statuses=[], content=CONTENT, sizes=True)(server)
    _get(server, file)
    assert file.read_bytes() == CONTENT


def test_a_size_that_is_not_said_is_no_matter_where_the_digest_is_known(server: Behavior, file: Path) -> None:
    server.sizes = False
    _get(server, file, DIGEST[:8])
    assert file.read_bytes() == CONTENT


def test_a_proxy_that_cuts_what_it_passes_on_delays_and_does_no_more(
    server: Behavior, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("DATUM_PATIENCE", "0")
    server.cuts = [123_456, 654_321]
    download_file("x", "http://weights.invalid/mit_b5.pth", file, digest=DIGEST)
    assert file.read_bytes() == CONTENT
    assert {path for path, _ in server.requests} == {"http://weights.invalid/mit_b5.pth"}


def test_a_token_is_not_sent_to_where_the_server_leads(server: Behavior, file: Path) -> None:
    with weights_server() as elsewhere:
        server.redirects_to = f"{elsewhere.url}/blob"
        elsewhere.cuts = [400_000]
        download_file("x", f"{server.url}/weights.pth", file, token="not-a-secret")
        assert server.asked("Authorization") == ["Bearer not-a-secret"] * 2
        assert elsewhere.asked("Authorization") == ["", ""]
        assert elsewhere.asked("Range") == ["", "bytes=400000-"]
    assert file.read_bytes() == CONTENT
