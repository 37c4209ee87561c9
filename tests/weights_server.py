"""A real HTTP server of one file, which a test tells to fail as servers and proxies do."""

import contextlib
import dataclasses
from collections.abc import Iterator

from tests.stand_in_server import QuietHandler, StandInServer

CONTENT = bytes(range(256)) * 4000
"""What it serves, 1 MB."""


@dataclasses.dataclass
class Behavior:
    """How the server behaves; `requests` are those that it got, as (path, headers)."""

    content: bytes = CONTENT
    etag: str = '"one"'
    ranges: bool = True
    """Whether parts are answered."""
    sizes: bool = True
    """Whether the size is said."""
    cuts: list[int] = dataclasses.field(default_factory=list)
    """Of each of the next answers: how many bytes it brings before the connection ends."""
    statuses: list[int] = dataclasses.field(default_factory=list)
    """Of each of the next answers, before all others."""
    redirects_to: str = ""
    requests: list[tuple[str, dict[str, str]]] = dataclasses.field(default_factory=list)
    url: str = ""

    def asked(self, header: str) -> list[str]:
        """That header of each request, empty where it had none."""
        return [headers.get(header, "") for _, headers in self.requests]


@contextlib.contextmanager
def weights_server() -> Iterator[Behavior]:
    """Yields the behavior of a server at its `url`, also as a proxy for any other host."""
    behavior = Behavior()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            behavior.requests.append((self.path, dict(self.headers)))
            self.close_connection = True
            if behavior.statuses:
                return self.send_error(behavior.statuses.pop(0))
            if behavior.redirects_to:
                self.send_response(302)
                self.send_header("Location", behavior.redirects_to)
                return self.end_headers()
            asked, start = self.headers.get("Range", ""), 0
            if asked and behavior.ranges:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(behavior.content):
                    return self.send_error(416)
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(behavior.content) - 1}/{len(behavior.content)}"
                )
            else:
                self.send_response(200)
            if behavior.etag:
                self.send_header("ETag", behavior.etag)
            part = behavior.content[start:]
            if behavior.sizes:
                self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(part[: behavior.cuts.pop(0)] if behavior.cuts else part)
            return None

        do_HEAD = do_GET

    with StandInServer(Handler) as server:
        behavior.url = server.url
        yield behavior
