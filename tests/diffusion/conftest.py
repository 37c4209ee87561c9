import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from datum.diffusion.base_model import PACKAGED_FOLDER
from tests.stand_in_server import QuietHandler, StandInServer

MAIN, OLDER = "a" * 40, "b" * 40
"""Commits of the hub's repository."""


class Hub(StandInServer):
    """A model hub on loopback that has one repository, `owner/model`: the packaged model."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.faults: list[int] = []
        """Statuses that the next requests get instead of an answer; 0 breaks the connection off."""
        self.requests: list[str] = []
        self.revisions = {"main": MAIN, "v1": OLDER, MAIN: MAIN, OLDER: OLDER}
        self.folder = PACKAGED_FOLDER
        self.cut: set[str] = set()
        """Files of which the next answer lacks the second half."""


class _Handler(QuietHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        if self.server.faults and (status := self.server.faults.pop(0)) != 200:
            self.close_connection = True
            if status:
                self._send(status, b"{}", {}, with_body)
            return
        if match := re.fullmatch(r"/api/models/owner/model(?:/revision/(\w+))?", self.path.partition("?")[0]):
            self._send_info(match[1] or "main", with_body)
        elif match := re.fullmatch(r"/owner/model/resolve/(\w+)/(.+)", self.path):
            self._send_file(match[1], match[2], with_body)
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)

    def _send_info(self, revision: str, with_body: bool) -> None:
        if revision not in self.server.revisions:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, with_body)
            return
        folder = self.server.folder
        names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
        info = {
            "id": "owner/model",
            "sha": self.server.revisions[revision],
            "siblings": [{"rfilename": name} for name in names],
        }
        self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, with_body)

    def _send_file(self, revision: str, name: str, with_body: bool) -> None:
        if not (self.server.folder / name).is_file():
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, with_body)
            return
        content = (self.server.folder / name).read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": self.server.revisions[revision],
        }
        self._send(200, content, headers, with_body, cut=with_body and name in self.server.cut)
        self.server.cut -= {name} if with_body else set()

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], with_body: bool, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content[: len(content) // 2] if cut else content)
            self.close_connection |= cut


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on loopback, and an empty cache; the client waits no time of its own between two tries."""
    server = Hub()
    for name, value in (
        ("ENDPOINT", server.url),
        ("HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"),
        ("HF_HUB_CACHE", str(tmp_path / "cache")),
        ("HF_HUB_OFFLINE", False),
        ("HF_HUB_DISABLE_XET", True),
    ):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    with server:
        yield server
