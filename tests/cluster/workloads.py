"""A Kubernetes API with what runs in a cluster: Workflows, and the logs of pods."""

import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.cluster.kubernetes_api import KubernetesApi, _ClusterHandler


class Workloads(KubernetesApi):
    """Besides its objects: Workflows by the id of their run, and logs by pod."""

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = _Handler
        self.workflows: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, list[str]] = {}
        """Lines that a pod's container `main` has written; no other pod is there."""
        self.growing: set[str] = set()
        """Pods that are at work: whoever follows their log waits for more."""


class _Handler(_ClusterHandler):
    server: Workloads

    def list_below(self, path: str) -> None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        parts = path.strip("/").split("/")
        if path.endswith("/workflows"):
            assert parts[:3] == ["apis", "argoproj.io", "v1alpha1"]
            items = [
                workflow
                for workflow in self.server.workflows.values()
                if workflow["metadata"]["namespace"] == parts[4]
                and query["labelSelector"]
                == f"pipeline/runid={workflow['metadata']['labels']['pipeline/runid']}"
            ]
            body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowList", "items": items}
            self.answer(200, json.dumps(body).encode())
        elif path.endswith("/log") and parts[4] == "pods":
            self.log(parts[5], query)
        else:
            super().list_below(path)

    def log(self, pod: str, query: dict[str, str]) -> None:
        assert query["container"] == "main"
        if pod not in self.server.logs:
            self.refuse(404, f'pods "{pod}" not found')
            return
        lines = self.server.logs[pod]
        if "tailLines" in query:
            lines = lines[-int(query["tailLines"]) :]
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        sent = 0
        while True:
            # The Kubernetes client writes True, which Go reads as true too.
            last = query.get("follow") != "True" or pod not in self.server.growing
            for line in lines[sent:]:
                self.wfile.write(f"{line}\n".encode())
                sent += 1
            self.wfile.flush()
            if last:
                return
            time.sleep(0.01)
