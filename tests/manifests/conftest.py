"""The overlays as `datum manifests` renders them, and a server for kubectl to talk to."""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from components.images import STAGES
from datum import __version__
from datum.cluster.manifests import Resource, render_manifests
from datum.cluster.settings import load_cluster_settings
from tests.conftest import SeaweedFS, restarting_seaweedfs
from tests.manifests.deploying import KUBECTL, RECORDER, ROOT, Deploy, lead_to
from tests.stand_in_server import QuietHandler, StandInServer

MANIFESTS = ROOT / "manifests"

Render = Callable[..., list[Resource]]


@functools.cache
def _render(folder: Path) -> list[Resource]:
    settings = load_cluster_settings(folder / "settings.env")
    with pytest.MonkeyPatch.context() as patch:
        # The kubectl of the lock file, and no proxy leads anywhere: an overlay that fetches anything fails.
        patch.setenv("PATH", f"{KUBECTL.parent}:{os.environ['PATH']}")
        for name in ("HTTPS_PROXY", "HTTP_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        return render_manifests(settings, folder)


@pytest.fixture(scope="session")
def render() -> Render:
    """Function: the resources of an overlay by its name, or by its folder in a copied tree."""
    return lambda overlay, manifests=MANIFESTS: _render(manifests / "overlays" / overlay)


@pytest.fixture(params=sorted(path.name for path in (MANIFESTS / "overlays").iterdir()))
def overlay(request: pytest.FixtureRequest) -> str:
    """The name of each overlay in turn."""
    return str(request.param)


@pytest.fixture
def resources(render: Render, overlay: str) -> list[Resource]:
    """The resources of each overlay in turn."""
    return render(overlay)


RESOURCES = {
    "api/v1": ("Namespace:", "Pod", "Secret", "ConfigMap", "ServiceAccount", "Service"),
    "apis/apps/v1": ("Deployment", "StatefulSet"),
    "apis/batch/v1": ("Job",),
    "apis/rbac.authorization.k8s.io/v1": ("Role", "RoleBinding"),
    "apis/networking.k8s.io/v1": ("NetworkPolicy",),
    "apis/storage.k8s.io/v1": ("StorageClass:",),
    "apis/apiextensions.k8s.io/v1": ("CustomResourceDefinition:",),
    "apis/monitoring.coreos.com/v1": ("PodMonitor", "PrometheusRule"),
}
"""What the server below serves, by group and version; a colon marks what has no namespace."""
CONDITIONS = {"Job": "Complete", "Deployment": "Available", "CustomResourceDefinition": "Established"}
"""What a controller would report of a resource, sooner or later."""


class ApiServer(StandInServer):
    """As much of a Kubernetes API server as kubectl needs to create, apply, patch, wait for and delete.

    It keeps what it is sent, checks nothing, and takes a server-side apply for a merge.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.objects: dict[str, Resource] = {}
        """Every object by its path."""
        self.writes: list[str] = []
        """Method and path of every request that changes anything, and the commands posted to /record."""

    def put(self, path: str, content: Resource) -> Resource:
        """Keeps an object as if it had been there for long."""
        name = path.rpartition("/")[2]
        content.setdefault("metadata", {}).update({"name": name, "uid": name, "resourceVersion": "1"})
        _, *scope = path.split("/namespaces/")
        if scope and "/" in scope[0]:
            content["metadata"]["namespace"] = scope[0].partition("/")[0]
        if condition := CONDITIONS.get(content.get("kind", "")):
            content["status"] = {"conditions": [{"type": condition, "status": "True"}]}
        self.objects[path] = content
        return content


class _Handler(QuietHandler):
    server: ApiServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path, query = url.path.strip("/"), parse_qs(url.query)
        if found := _discovery(path):
            return self._answer(found)
        if path in self.server.objects:
            return self._answer(self.server.objects[path])
        plural = path.rpartition("/")[2]
        if plural not in PLURALS:
            return self._answer(
                {"kind": "Status", "code": 404, "reason": "NotFound", "message": path}, status=404
            )
        wanted = query.get("fieldSelector", [""])[0].removeprefix("metadata.name=")
        selected = query.get("labelSelector", [""])[0].split(",")
        labels = dict(term.split("=") for term in selected if term)
        _, *scope = path.split("/namespaces/")
        items = [
            item
            for place, item in sorted(self.server.objects.items())
            if place.split("/")[-2] == plural
            and item["metadata"]["name"] in (wanted or item["metadata"]["name"])
            if not scope or f"/namespaces/{scope[0]}/" in place
            if labels.items() <= item["metadata"].get("labels", {}).items()
        ]
        kind = {"kind": PLURALS[plural], "apiVersion": _version(path)}
        if "watch" in query:
            end = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
            events = [{"type": "ADDED", "object": kind | item} for item in items]
            return self._answer(*events, {"type": "BOOKMARK", "object": kind | {"metadata": end}})
        listed = {"kind": f"{kind['kind']}List", "metadata": {"resourceVersion": "1"}, "items": items}
        return self._answer(kind | listed)

    def do_POST(self) -> None:
        if self.path == "/record":
            self.server.writes.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            return self._answer({})
        content = self._content()
        path = f"{urlsplit(self.path).path.strip('/')}/{content['metadata']['name']}"
        self.server.writes.append(f"POST {path}")
        return self._answer(self.server.put(path, content), status=201)

    def do_PATCH(self) -> None:
        path = urlsplit(self.path).path.strip("/")
        self.server.writes.append(f"PATCH {path}")
        content = _merge(self.server.objects.get(path, {}), self._content())
        self._answer(self.server.put(path, content))

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path.strip("/")
        self.server.writes.append(f"DELETE {path}")
        if self.server.objects.pop(path, None) is None:
            return self._answer(
                {"kind": "Status", "code": 404, "reason": "NotFound", "message": path}, status=404
            )
        return self._answer({"kind": "Status", "status": "Success"})

    def _content(self) -> Any:
        # A server-side apply is YAML.
        return yaml.safe_load(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, *content: Resource, status: int = 200) -> None:
        body = "\n".join(json.dumps(part) for part in content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _plural(kind: str) -> str:
    kind = kind.rstrip(":").lower()
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}es" if kind.endswith("s") else f"{kind}s"


PLURALS = {_plural(kind): kind.rstrip(":") for kinds in RESOURCES.values() for kind in kinds}


def _version(path: str) -> str:
    """`apis/apps/v1/…` -> `apps/v1`; `api/v1/…` -> `v1`."""
    root, *parts = path.split("/")
    return "/".join(parts[: 1 if root == "api" else 2])


def _discovery(path: str) -> Resource | None:
    """What a client asks to learn which resources there are."""
    groups = [_version(folder) for folder in RESOURCES if folder.startswith("apis/")]
    if path == "api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "apis":
        versions = [{"groupVersion": group, "version": "v1"} for group in groups]
        return {
            "kind": "APIGroupList",
            "groups": [
                {"name": entry["groupVersion"].split("/")[0], "versions": [entry], "preferredVersion": entry}
                for entry in versions
            ],
        }
    if path == "openapi/v3":
        return {"paths": {folder: {"serverRelativeURL": f"/openapi/v3/{folder}"} for folder in RESOURCES}}
    if path.startswith("openapi/v3/"):
        return _openapi(path.removeprefix("openapi/v3/"))
    if path not in RESOURCES:
        return None
    resources = [
        {
            "name": _plural(kind),
            "singularName": kind.rstrip(":").lower(),
            "kind": kind.rstrip(":"),
            "namespaced": not kind.endswith(":"),
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
            "shortNames": ["crd"] if kind.startswith("CustomResource") else [],
        }
        for kind in RESOURCES[path]
    ]
    return {"kind": "APIResourceList", "groupVersion": _version(path), "resources": resources}


def _openapi(folder: str) -> Resource:
    """That the server itself validates fields, so that kubectl leaves it to it."""
    *group, version = _version(folder).split("/")
    paths = {}
    for kind in RESOURCES[folder]:
        operation = {
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "x-kubernetes-group-version-kind": {
                "group": "".join(group),
                "version": version,
                "kind": kind.rstrip(":"),
            },
        }
        paths[f"/{folder}/{_plural(kind)}/{{name}}"] = {"patch": operation, "post": operation}
    return {"openapi": "3.0.0", "info": {"title": folder, "version": "1"}, "paths": paths}


def _merge(old: Any, new: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(new, dict):
        return new
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


@pytest.fixture
def api_server() -> Iterator[ApiServer]:
    """A running server with the namespaces of a cluster that has KFP."""
    server = ApiServer()
    for name in ("kube-system", "kubeflow"):
        server.put(f"api/v1/namespaces/{name}", {"kind": "Namespace", "apiVersion": "v1"})
    with server:
        yield server


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the script reads, whose settings a test may change; as if images had been built."""
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    (tmp_path / "build").mkdir()
    images = {stage: f"datum-{stage}:{__version__}" for stage in STAGES}
    (tmp_path / "build/images.json").write_text(json.dumps(images, indent=2))
    return tmp_path


@pytest.fixture(scope="module")
def kfp_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A SeaweedFS as KFP has one."""
    with restarting_seaweedfs(tmp_path_factory.mktemp("kfp-store")) as server:
        yield server


@pytest.fixture
def deploy(checkout: Path, api_server: Any, kfp_store: SeaweedFS) -> Deploy:
    """Function: runs the script with the given arguments and environment in the copy."""
    url = f"http://127.0.0.1:{api_server.server_address[1]}"
    tools = checkout / "tools"
    tools.mkdir()
    for name in ("datum", "make", "kind"):
        (tools / name).write_text(RECORDER.format(python=sys.executable, url=url))
        (tools / name).chmod(0o755)
    lead_to(kfp_store, tools / "kubectl")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "laptop", "cluster": {"server": url}}],
        "contexts": [{"name": "kind-laptop", "context": {"cluster": "laptop", "user": "me"}}],
        "users": [{"name": "me", "user": {}}],
        "current-context": "kind-laptop",
    }
    (checkout / "kubeconfig").write_text(yaml.safe_dump(config))
    environment = {
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(checkout),
        "KUBECONFIG": str(checkout / "kubeconfig"),
        "DATUM": "datum",
        "PYTHONPATH": str(ROOT),
    }

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [checkout / "manifests/deploy.sh", *arguments],
            env=environment | changes,
            capture_output=True,
            text=True,
        )

    return run
