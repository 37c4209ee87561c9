"""The client of image registries, against one that hands out tokens and redirects."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from datum.cluster.registry import RegistryError, digest_of, find_manifest
from tests.stand_in_server import QuietHandler, StandInServer

DIGEST = "sha256:" + "5e" * 32


class Registry(StandInServer):
    """Has one image, `team/python:3.11`, for who has a token, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.asked: list[tuple[str, str, str]] = []
        """Method, path and Authorization of every request."""
        self.moved_to = ""
        """URL that requests with a token are sent on to."""
        self.realm = f"http://{self.host}/token"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(QuietHandler):
    server: Registry

    def do_GET(self) -> None:
        self._note()
        if self.path.startswith("/token"):
            self._answer(200, {}, b'{"access_token": "of-a-reader"}')
        else:
            self._answer(200, {"Docker-Content-Digest": DIGEST})

    def do_HEAD(self) -> None:
        self._note()
        if self.path.startswith("/elsewhere"):
            self._answer(200, {"Docker-Content-Digest": DIGEST})
        elif self.headers["Authorization"] != "Bearer of-a-reader":
            self._answer(401, {"WWW-Authenticate": f'Bearer realm="{self.server.realm}",service="tests"'})
        elif self.server.moved_to:
            self._answer(307, {"Location": self.server.moved_to})
        elif self.path == "/v2/team/python/manifests/3.11":
            self._answer(200, {"Docker-Content-Digest": DIGEST})
        else:
            self._answer(404, {})

    def _note(self) -> None:
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization", "")))

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _serve() -> Iterator[Registry]:
    with Registry() as server:
        yield server


registry = pytest.fixture(_serve, name="registry")
other = pytest.fixture(_serve, name="other")


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's configuration: none yet, and none of this machine's."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    return tmp_path / "config.json"


def test_a_digest_is_given_to_a_reader_without_an_account(registry: Registry) -> None:
    assert digest_of(f"{registry.host}/team/python:3.11") == DIGEST
    assert find_manifest(f"{registry.host}/team/python:3.11") == "found"


def test_a_token_is_asked_for_with_the_credentials_that_docker_keeps(
    registry: Registry, docker_config: Path
) -> None:
    auth = base64.b64encode(b"alice:opensesame").decode()
    docker_config.write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
    assert digest_of(f"{registry.host}/team/python:3.11") == DIGEST
    assert [authorization for _, _, authorization in registry.asked] == [
        "",
        f"Basic {auth}",
        "Bearer of-a-reader",
    ]
    assert find_manifest(f"{registry.host}/team/python:3.11") == "with credentials"


def test_an_image_that_the_registry_does_not_know_is_missing_and_has_no_digest(registry: Registry) -> None:
    assert find_manifest(f"{registry.host}/team/python:4") == "missing"
    with pytest.raises(RegistryError, match="gives no digest"):
        digest_of(f"{registry.host}/team/python:4")


def test_a_redirect_is_followed_and_takes_no_token_along(registry: Registry, other: Registry) -> None:
    registry.moved_to = f"http://{other.host}/elsewhere"
    assert digest_of(f"{registry.host}/team/python:3.11") == DIGEST
    assert [(path, authorization) for _, path, authorization in other.asked] == [("/elsewhere", "")]


def test_a_token_is_taken_from_no_file(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "token").write_text('{"token": "of-a-reader"}')
    registry.realm = f"file://{tmp_path}/token"
    with pytest.raises(RegistryError, match="refuses anonymous pulls: 401"):
        find_manifest(f"{registry.host}/team/python:3.11")


@pytest.mark.parametrize("image", ["127.0.0.1:1/team/python:3.11", "not-a-port:x/python:3.11"])
def test_a_registry_that_does_not_answer_is_an_error_with_a_remedy(image: str) -> None:
    with pytest.raises(RegistryError, match="does not answer") as caught:
        find_manifest(image)
    assert "VPN and proxy" in caught.value.remedy
