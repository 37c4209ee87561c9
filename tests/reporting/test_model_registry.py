"""The median checkpoint in a model registry: a server that answers as Kubeflow's does, which was tried."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from datum.errors import InputError, TemporaryFaultError
from datum.formats.report_figures import write_figures
from datum.reporting.model_registry import VERSIONS, find_registry, register_median
from tests.stand_in_server import QuietHandler, StandInServer

PLACE, RUN = "s3://bucket/datum/reports/run-1", "0d3c2b1a-run"
MODEL = "datum-gta-to-cityscapes-daformer-mit-b5"
KINDS = ("registered_model", "model_version", "model_artifact")


class Registry(StandInServer):
    """Resources by kind, each with an id, a name and a parent."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.kept: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        self.faults: list[int] = []
        """Statuses of the next answers."""
        self.version = "v1alpha3"
        """Of the API that it has."""
        self.page = b""
        """What every path answers instead."""


class _Handler(QuietHandler):
    server: Registry

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        kind = parts.path.removeprefix(f"/api/model_registry/{self.server.version}/")
        if kind not in KINDS:
            self._answer(404, b"404 page not found\n", "text/plain")
            return
        wanted = (query["name"], query.get("parentResourceId"))
        found = [item for item in self.server.kept[kind] if (item["name"], item.get("parent")) == wanted]
        if found:
            self._give(200, found[0])
        else:
            self._give(404, {"code": "Not Found", "message": f"no {kind} found"})

    def do_POST(self) -> None:
        item = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = urlsplit(self.path).path.removeprefix(f"/api/model_registry/{self.server.version}/").split("/")
        match path:
            case ["registered_models"]:
                kind, parent = "registered_model", None
            case ["model_versions"]:
                kind, parent = "model_version", item["registeredModelId"]
            case ["model_versions", identity, "artifacts"]:
                kind, parent = "model_artifact", identity
            case _:
                self._answer(404, b"404 page not found\n", "text/plain")
                return
        kept = self.server.kept[kind]
        if any((other["name"], other.get("parent")) == (item["name"], parent) for other in kept):
            self._give(409, {"code": "Conflict", "message": "already exists"})
            return
        kept.append({**item, "id": str(1 + sum(map(len, self.server.kept.values()))), "parent": parent})
        self._give(201, kept[-1])

    def _give(self, status: int, content: Any) -> None:
        self._answer(status, json.dumps(content).encode(), "application/json")

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        if self.server.faults:
            status, content = self.server.faults.pop(0), b"busy"
        elif self.server.page:
            status, content = 200, self.server.page
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("DATUM_PATIENCE", "0")
    with Registry() as server:
        yield server


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A folder with the figures of a report."""
    median = {"seed": 2, "file": "median_checkpoint/best.safetensors", "sha256": "ab" * 32, "miou": 57.25}
    about = {"benchmark": "gta-to-cityscapes", "data": "GTA → Cityscapes", "method": "daformer"}
    write_figures(tmp_path, {**about, "encoder": "mit-b5", "profile": "paper", "median_checkpoint": median})
    return tmp_path


@pytest.mark.parametrize("version", VERSIONS)
def test_each_run_is_a_version_of_one_model_with_its_checkpoint_and_its_figures(
    registry: Registry, report: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.version = version
    for run_id in (RUN, "second", RUN):
        register_median(f"{registry.url}/", report, PLACE, run_id)
    models, versions, artifacts = registry.kept.values()
    assert [model["name"] for model in models] == [MODEL]
    assert [(version["name"], version["parent"]) for version in versions] == [(RUN, "1"), ("second", "1")]
    properties = versions[0]["customProperties"]
    assert properties["miou"] == {"metadataType": "MetadataDoubleValue", "double_value": 57.25}
    assert properties["data"] == {"metadataType": "MetadataStringValue", "string_value": "GTA → Cityscapes"}
    assert [artifact["parent"] for artifact in artifacts] == [version["id"] for version in versions]
    assert artifacts[0]["name"] == MODEL
    assert artifacts[0]["uri"] == f"{PLACE}/median_checkpoint/best.safetensors"
    assert f"is version {RUN} of the registered model {MODEL}" in capsys.readouterr().err


def test_a_registry_that_is_away_for_a_while_is_waited_for(
    registry: Registry, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datum.patience.time.sleep", lambda seconds: None)
    monkeypatch.setenv("DATUM_PATIENCE", "1e6")
    registry.faults = [503, 500]
    register_median(registry.url, report, PLACE, RUN)
    assert len(registry.kept["model_artifact"]) == 1


@pytest.mark.parametrize(
    ("faults", "page", "error", "message"),
    [
        ([403], b"", InputError, "refuses with 403 busy; check MODEL_REGISTRY"),
        ([503], b"", TemporaryFaultError, "answers 503 busy"),
        ([], b"<html>sign in</html>", InputError, "answers as no model registry does"),
        ([], b"[]", InputError, "answers as no model registry does"),
    ],
)
def test_what_is_no_registry_or_refuses_is_said_in_one_line(
    registry: Registry, report: Path, faults: list[int], page: bytes, error: type[Exception], message: str
) -> None:
    registry.faults, registry.page = list(faults), page
    with pytest.raises(error, match=message) as end:
        register_median(registry.url, report, PLACE, RUN)
    assert "\n" not in str(end.value)


def test_the_check_before_a_run_finds_a_registry_or_names_what_is_wrong(registry: Registry) -> None:
    assert find_registry(registry.url) == f"{registry.url}/api/model_registry/v1alpha3: answers"
    with pytest.raises(InputError, match="refuses with 404 404 page not found; check MODEL_REGISTRY"):
        find_registry(f"{registry.url}/wrong")
    registry.shutdown()
    registry.server_close()
    with pytest.raises(TemporaryFaultError, match="cannot be reached"):
        find_registry(registry.url)
