"""What every HTTP server of these tests shares: it listens on loopback, serves in threads, and is quiet."""

import functools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class QuietHandler(BaseHTTPRequestHandler):
    """Logs no request."""

    def log_message(self, *arguments: Any) -> None:
        """Tests read what a command prints."""


class StandInServer(ThreadingHTTPServer):
    """A server on a free port of loopback, which serves while its block runs."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has given up waiting is no error, and must not print into the next test's output."""

    def __enter__(self) -> Self:
        serve = functools.partial(self.serve_forever, poll_interval=0.02)
        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
