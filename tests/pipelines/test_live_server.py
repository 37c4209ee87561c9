"""The live page's server: who may read it, and that it is closed with the run."""

import http.client
import socket
from pathlib import Path

import pytest

from datum.errors import InputError
from pipelines.live_server import live_page_of


def address(captured: str) -> tuple[str, int]:
    (line,) = [line for line in captured.splitlines() if line.startswith("watch: ")]
    host, _, port = line.removeprefix("watch: http://").rstrip("/").rpartition(":")
    return host, int(port)


def asked(host: str, port: int, path: str, name: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    connection.request("GET", path, headers={"Host": name})
    return connection.getresponse()


def test_the_page_is_for_this_machine_alone_and_gone_with_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_page_of(tmp_path, 0):
        host, port = address(capsys.readouterr().err)
        assert host == "127.0.0.1"
        page = asked(host, port, "/", f"localhost:{port}")
        assert page.status == 200 and "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert str(tmp_path).encode() in page.read()
        assert asked(host, port, "/", "evil.example.org").status == 403
        assert asked(host, port, "/../../etc/passwd", f"{host}:{port}").status == 404
    with pytest.raises(ConnectionRefusedError):
        asked(host, port, "/", f"{host}:{port}")


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = rf"^--watch {port}: cannot listen there \(Address already in use\); name a free port"
        with pytest.raises(InputError, match=message), live_page_of(tmp_path, port):
            pass


def test_a_stream_ends_with_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with live_page_of(tmp_path, 0) as tell:
        tell("report", "failed", "datum: <what>")
        host, port = address(capsys.readouterr().err)
        stream = asked(host, port, "/events", f"{host}:{port}")
        first = stream.readline()
    rest = stream.read().decode()
    assert first.startswith(b"data: {") and b"&lt;what&gt;" in first
    assert "The run has stopped; the same command goes on." in rest
    assert rest.endswith("event: end\ndata: \n\n")


def test_nothing_is_served_where_nobody_watches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with live_page_of(tmp_path, None) as tell:
        tell("report", "done", "")
    assert capsys.readouterr().err == ""
