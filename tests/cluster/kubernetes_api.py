"""A server that speaks the part of the Kubernetes API that `datum` uses, and a registry of images.

Answers are the Kubernetes client's own models in its own serialization; refusals are Status objects worded
as the API server words them.
"""

import base64
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import yaml
from kubernetes import client as kubernetes

from tests.stand_in_server import QuietHandler, StandInServer

TOKEN = "token-of-the-engineer"
PLURALS = {
    "Namespace": "/api/v1/namespaces/{name}",
    "Node": "/api/v1/nodes/{name}",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses/{name}",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}",
    "Pod": "/api/v1/namespaces/{namespace}/pods/{name}",
    "PersistentVolumeClaim": "/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps/{name}",
    "Secret": "/api/v1/namespaces/{namespace}/secrets/{name}",
    "Service": "/api/v1/namespaces/{namespace}/services/{name}",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts/{name}",
}
REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 500: "InternalError"}


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(
        self, status: int, body: bytes, content_type: str = "application/json", **headers: str
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))


class KubernetesApi(StandInServer):
    """Objects by path, and what goes wrong."""

    def __init__(self) -> None:
        super().__init__(_ClusterHandler)
        self.objects: dict[str, Any] = {}
        self.version = ("1", "34", "v1.34.2")
        self.faults: dict[str, int] = {}
        """Start of a path -> the status of every answer below it; 0 does not answer at all."""
        self.denied: set[tuple[str, str]] = set()
        """Verb and resource that the user may not."""
        self.denied_runner: set[tuple[str, str]] = set()
        """The same of the service account."""
        self.requests: list[str] = []
        """Path of every request."""
        self.kfp_url = ""
        """Where the service ml-pipeline is served; empty: nowhere."""
        self.page: bytes = b""
        """What every path answers instead, as a login page would."""

    def put(self, model: Any) -> None:
        """Adds or replaces an object."""
        metadata = model.metadata
        path = PLURALS[model.kind].format(name=metadata.name, namespace=metadata.namespace)
        self.objects[path] = model

    def remove(self, kind: str, name: str, namespace: str = "") -> None:
        del self.objects[PLURALS[kind].format(name=name, namespace=namespace)]

    def write_kubeconfig(self, file: Path, token: str = TOKEN) -> None:
        """Writes a kubeconfig whose current context is this server."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": {"server": self.url}}],
            "users": [{"name": "engineer", "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "cluster", "user": "engineer"}}],
            "current-context": "tests",
        }
        file.write_text(yaml.safe_dump(config))


class _ClusterHandler(_Handler):
    server: KubernetesApi

    def do_GET(self) -> None:
        self.route()

    def do_POST(self) -> None:
        self.route()

    def do_DELETE(self) -> None:
        self.route()

    def route(self) -> None:
        api, path, body = self.server, urlsplit(self.path).path, self.body()
        api.requests.append(path)
        if api.page:
            self.answer(200, api.page, content_type="text/html")
            return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.refuse(401, "Unauthorized")
            return
        for prefix, status in api.faults.items():
            if path.startswith(prefix):
                self.fail(status, path)
                return
        if path == "/version/":
            major, minor, git_version = api.version
            self.give(
                kubernetes.VersionInfo(
                    major=major,
                    minor=minor,
                    git_version=git_version,
                    git_commit="0" * 40,
                    git_tree_state="clean",
                    build_date="2026-01-01T00:00:00Z",
                    go_version="go1.25",
                    compiler="gc",
                    platform="linux/amd64",
                )
            )
        elif path.startswith("/apis/authorization.k8s.io/v1/"):
            self.review(json.loads(body), path.endswith("/selfsubjectaccessreviews"))
        elif "/services/ml-pipeline:http/proxy/" in path:
            self.forward(body)
        elif path in api.objects:
            self.give(api.objects[path])
        else:
            self.list_below(path)

    def fail(self, status: int, path: str) -> None:
        if status == 0:
            time.sleep(3)
            self.close_connection = True
        elif status == 403:
            resource = path.split("/")[-1]
            self.refuse(
                403,
                f'{resource} is forbidden: User "engineer" cannot access resource "{resource}"',
            )
        else:
            self.refuse(
                status, "etcdserver: request timed out" if status == 500 else "the object has changed"
            )

    def review(self, request: Any, of_self: bool) -> None:
        attributes = request["spec"]["resourceAttributes"]
        denied = self.server.denied if of_self else self.server.denied_runner
        subresource = attributes.get("subresource")
        resource = attributes["resource"] + (f"/{subresource}" if subresource else "")
        request["status"] = {"allowed": (attributes["verb"], resource) not in denied}
        self.answer(201, json.dumps(request).encode())

    def forward(self, body: bytes) -> None:
        """The service proxy: passes the request on, without the user's own credentials."""
        if not self.server.kfp_url:
            self.refuse(404, 'services "ml-pipeline" not found')
            return
        url = self.server.kfp_url + self.path.partition("/services/ml-pipeline:http/proxy")[2]
        request = urllib.request.Request(url, data=body or None, method=self.command)
        for name in ("Content-Type", "Accept"):
            if name in self.headers:
                request.add_header(name, self.headers[name])
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                self.answer(response.status, response.read(), content_type=response.headers["Content-Type"])
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read())
        except OSError as error:
            self.refuse(503, f"error trying to reach service: {error}")

    def list_below(self, path: str) -> None:
        *_, parent, last = path.split("/")
        if last not in {pattern.split("/")[-2] for pattern in PLURALS.values()}:
            self.refuse(404, f'{parent} "{last}" not found')
            return
        selector = parse_qs(urlsplit(self.path).query).get("labelSelector", [""])[0]
        wanted = dict(term.split("=") for term in selector.split(",") if term)
        items = [
            model
            for key, model in sorted(self.server.objects.items())
            if key.rpartition("/")[0] == path and wanted.items() <= (model.metadata.labels or {}).items()
        ]
        serialized = kubernetes.ApiClient().sanitize_for_serialization(items)
        body = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": serialized}
        self.answer(200, json.dumps(body).encode())

    def give(self, model: Any) -> None:
        self.answer(200, json.dumps(kubernetes.ApiClient().sanitize_for_serialization(model)).encode())

    def refuse(self, status: int, message: str) -> None:
        refusal = kubernetes.V1Status(
            api_version="v1",
            kind="Status",
            status="Failure",
            message=message,
            reason=REASONS.get(status, "ServiceUnavailable"),
            code=status,
        )
        body = json.dumps(kubernetes.ApiClient().sanitize_for_serialization(refusal)).encode()
        self.answer(status, body)


class Registry(StandInServer):
    """An image registry: which manifests it has, and who may ask."""

    def __init__(self) -> None:
        super().__init__(_RegistryHandler)
        self.manifests: set[str] = set()
        """`name/manifests/reference`."""
        self.user: tuple[str, str] | None = None
        """Who gets a token; None lets everybody pull."""
        self.status = 0
        """What every request is answered with, unless it is 0."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _RegistryHandler(_Handler):
    server: Registry
    TOKEN: ClassVar[str] = "token-of-the-registry"

    def do_HEAD(self) -> None:
        registry, path = self.server, urlsplit(self.path).path
        if registry.status:
            self.answer(registry.status, b"")
        elif registry.user and self.headers.get("Authorization") != f"Bearer {self.TOKEN}":
            name = path.removeprefix("/v2/").partition("/manifests/")[0]
            challenge = f'Bearer realm="{registry.url}/token",service="tests",scope="repository:{name}:pull"'
            self.answer(401, b"", WWW_Authenticate=challenge)
        else:
            self.answer(200 if path.removeprefix("/v2/") in registry.manifests else 404, b"")

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        wanted = "Basic " + base64.b64encode(":".join(self.server.user or ("", "")).encode()).decode()
        scoped = query.get("service") == ["tests"] and query["scope"][0].endswith(":pull")
        if self.headers.get("Authorization") == wanted and scoped:
            self.answer(200, json.dumps({"token": self.TOKEN}).encode())
        else:
            self.answer(401, b"")


class KfpHealth(StandInServer):
    """What `datum doctor` asks of KFP's API: its health, and whether it lists experiments."""

    def __init__(self) -> None:
        super().__init__(_KfpHandler)
        self.tag = "2.17.0"
        self.multi_user = False
        self.status = 200
        """Of the list of experiments."""
        self.page = b""
        """What is answered instead, as a login page would be."""


class _KfpHandler(_Handler):
    server: KfpHealth

    def do_GET(self) -> None:
        kfp, path = self.server, urlsplit(self.path).path
        if kfp.page:
            self.answer(200, kfp.page, content_type="text/html")
        elif path == "/apis/v2beta1/healthz":
            # As KFP's server writes it: it has more than the API's own message.
            health = {
                "commit_sha": "0" * 40,
                "tag_name": kfp.tag,
                "multi_user": kfp.multi_user,
                "pipeline_store": "database",
            }
            self.answer(200, json.dumps(health).encode())
        elif kfp.status != 200:
            self.answer(
                kfp.status, json.dumps({"error": "refused", "code": 7, "message": "refused"}).encode()
            )
        elif kfp.multi_user and "namespace=" not in self.path:
            self.answer(400, json.dumps({"code": 3, "message": "Invalid input error"}).encode())
        else:
            self.answer(200, b'{"experiments":[],"total_size":0}')
