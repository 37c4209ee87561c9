"""A webhook on this machine: a server of HTTP that keeps what is posted."""

import json
import threading
from typing import Any

from tests.stand_in_server import QuietHandler, StandInServer

KEY = "T0-B0-a-key"
"""Part of its URL that is in no log."""


class Webhook(StandInServer):
    """Answers 200 and keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.told: list[dict[str, Any]] = []
        self.asked = threading.Event()
        self.answers: list[int] = []
        """Statuses of the next answers; 0 waits for the test's end."""
        self.ends = threading.Event()
        self.location = ""
        """Where a redirect leads to."""

    @property
    def url(self) -> str:
        return f"{super().url}/services/{KEY}"


class _Handler(QuietHandler):
    server: Webhook

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.server.asked.set()
        if not status:
            self.server.ends.wait(60)
        if status == 200:
            assert (self.path, self.headers["Content-Type"]) == (f"/services/{KEY}", "application/json")
            self.server.told.append(json.loads(content))
        self.send_response(status or 500)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()
