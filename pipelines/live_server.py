"""`datum run --watch`: serves the page of a run to browsers of this machine while the run is at work.

The page asks for nothing but itself and `events`, a stream of server-sent events: the parts of the page that
have changed, as HTML.
"""

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.formats.training_log import trainings_so_far
from datum.reporting.live_page import ShownTask, drawings_part, live_page, tasks_part
from datum.reporting.training_section import curves_part
from datum.telemetry import duration, log
from pipelines.local_tasks import Tell, tell_nobody

LOOPBACK = "127.0.0.1"

_EVERY, _FILES_EVERY = 1.0, 5.0
"""Seconds between two looks at the tasks, and at what they have written."""


@contextlib.contextmanager
def live_page_of(output: Path, port: int | None) -> Iterator[Tell]:
    """Serves the page of the run in `output` for as long as the block lasts, at `port`, or a free one where
    it is 0; says where. None serves nothing. Raises `InputError` where the port cannot be had.
    """
    if port is None:
        yield tell_nobody
        return
    live = _LiveRun(output)
    try:
        server = _Server((LOOPBACK, port), _Handler)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(
            f"--watch {port}: cannot listen there ({reason}); name a free port, or none to have one chosen"
        ) from None
    server.live = live
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    thread.start()
    log(f"watch: http://{LOOPBACK}:{server.server_address[1]}/")
    try:
        yield live.tell
    finally:
        live.ended.set()
        server.shutdown()
        # Waits for those who are told of the end.
        server.server_close()


class _LiveRun:
    """What the page shows."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.ended = threading.Event()
        self._tasks: dict[str, ShownTask] = {}
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._written: dict[str, str] = {}
        self._looked = float("-inf")

    def tell(self, name: str, state: str, line: str) -> None:
        with self._lock:
            self._tasks[name] = ShownTask(name=name, state=state, line=line)

    def parts(self) -> dict[str, str]:
        """The page's parts by the ids of their elements."""
        with self._lock:
            tasks = list(self._tasks.values())
            if time.monotonic() - self._looked >= _FILES_EVERY or self.ended.is_set():
                self._written = {
                    "curves": curves_part(trainings_so_far(self.output)),
                    "drawings": drawings_part(self.output),
                }
                self._looked = time.monotonic()
            return {"tasks": tasks_part(tasks), "state": self._state(tasks), **self._written}

    def _state(self, tasks: list[ShownTask]) -> str:
        if not self.ended.is_set():
            return f"At work for {duration(time.monotonic() - self._began)}."
        if tasks and all(task.state == "done" for task in tasks):
            return f"The run has ended; its report is {self.output / 'report' / 'report.html'}"
        return "The run has stopped; the same command goes on."


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # the end of the run is told first
    live: _LiveRun

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that is gone is no fault of the run's."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 5  # seconds that a browser may take to read what it is sent
    server: _Server

    def do_GET(self) -> None:
        port = self.server.server_address[1]
        if self.headers.get("Host") not in (f"{LOOPBACK}:{port}", f"localhost:{port}"):
            # Another site's name that leads here: not for its scripts to read.
            self.send_error(403)
        elif self.path == "/":
            self._send_page()
        elif self.path == "/events":
            self._send_events()
        else:
            self.send_error(404)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are no news of the run."""

    def _send_page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        page = live_page(self.server.live.output, nonce).encode("utf-8", errors="replace")
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; connect-src 'self'; img-src data:; style-src 'unsafe-inline'; "
            f"script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )
        self.end_headers()
        self.wfile.write(page)

    def _send_events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        live, sent = self.server.live, dict[str, str]()
        ended = False
        while not ended:
            ended = live.ended.is_set()
            parts = live.parts()
            changed = {part: html for part, html in parts.items() if sent.get(part) != html}
            sent = parts
            self._send(f"data: {json.dumps(changed)}" if changed else ":")
            live.ended.wait(0 if ended else _EVERY)
        self._send("event: end\ndata: ")

    def _send(self, text: str) -> None:
        self.wfile.write(f"{text}\n\n".encode())
        self.wfile.flush()
