"""Folders to transfer, and a proxy before the store that delays, cuts and refuses."""

import hashlib
import http.client
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tests.stand_in_server import QuietHandler, StandInServer

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


class Proxy(StandInServer):
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

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                proxy._at_work.add(threading.get_ident())
                try:
                    self.pass_on()
                finally:
                    proxy._at_work.discard(threading.get_ident())

            def pass_on(self) -> None:
                declared = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(declared)
                if len(body) < declared:
                    # Its client was killed; the server would wait for the rest.
                    self.close_connection = True
                    return
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

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward

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

        super().__init__(Handler)

    def settle(self) -> None:
        """Waits for the requests of a client that was killed."""
        time.sleep(0.3)
        while self._at_work:
            time.sleep(0.01)

    def count(self, method: str, part: str = "") -> int:
        return sum(1 for m, path in self.requests if m == method and part in path)


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


def index_of(names: list[str], size: int = 1) -> bytes:
    entry = {"size": size, "sha256": hashlib.sha256(b"x").hexdigest()}
    return json.dumps({"files": dict.fromkeys(names, entry)}).encode()
