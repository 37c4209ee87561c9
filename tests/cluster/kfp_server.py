"""Serves a `KfpApi` on loopback, and fails where it is told to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from tests.cluster.kfp_api import KfpApi, RefusalError
from tests.stand_in_server import QuietHandler, StandInServer

CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13, 503: 14}
"""gRPC's codes of HTTP statuses."""


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _handle(self) -> None:
        state, parts = self.server.state, urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with state.lock:
            line = f"{self.command} {parts.path}"
            state.requests.append(line)
            fault = state.fault(line)
            if fault and fault.kind == "lose":
                self.close_connection = True
                return
            if fault and fault.kind == "page":
                self._send(200, b"<html>Log in</html>", "text/html")
                return
            if fault and isinstance(fault.kind, int):
                self._refuse(fault.kind, f"injected {fault.kind}")
                return
            status, answer = self._answer(state, parts.path, query, body)
            active = sum(run.mode == "ENABLE" for run in state.recurring_runs.values())
            state.most_active = max(state.most_active, active)
        if fault and fault.kind == "drop":
            self.close_connection = True
            return
        if fault and fault.kind == "stall":
            time.sleep(fault.seconds)
        self._send(status, answer, "text/plain" if parts.path.endswith("/log") else "application/json")

    do_GET = do_POST = do_DELETE = _handle

    def _answer(self, state: KfpApi, path: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        try:
            answer = state.answer(self.command, path, query, self.headers, body)
        except RefusalError as refusal:
            return refusal.status, _error(refusal.status, str(refusal))
        except LookupError:
            return 404, b"404 page not found"
        if self.command == "DELETE":
            state.deletions.append((path, query))
        return 200, answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, _error(status, message))

    def _send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _error(status: int, message: str) -> bytes:
    error = {"error": message, "code": CODES.get(status, 2), "message": message, "details": []}
    return json.dumps(error).encode()


class Server(StandInServer):
    """Serves a `KfpApi` on loopback."""

    def __init__(self, state: KfpApi) -> None:
        super().__init__(_Handler)
        self.state = state


@contextmanager
def serving(state: KfpApi) -> Iterator[str]:
    """Serves `state` while the block runs; yields the URL."""
    with Server(state) as server:
        yield server.url
