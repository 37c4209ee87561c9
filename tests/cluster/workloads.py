"""A Kubernetes API with what runs in a cluster: Workflows, pods with their logs, and ports of pods."""

import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import (
    ApiClient,
    V1Container,
    V1ContainerPort,
    V1ObjectMeta,
    V1Pod,
    V1PodCondition,
    V1PodSpec,
    V1PodStatus,
    V1Service,
    V1ServicePort,
    V1ServiceSpec,
)

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
        self.starting: dict[str, int] = {}
        """Pods whose containers are still being started, for so many looks at their log."""
        self.breaking: set[str] = set()
        """Pods whose log breaks off before its end."""
        self.pods: dict[str, V1Pod] = {}
        self.ports: dict[tuple[str, int], int] = {}
        """Ports of this machine that stand for ports of pods."""
        self.forwards = 0
        """Connections that were forwarded."""
        self.may_forward = True

    def serve(self, name: str, port: int, here: int, *, namespace: str = "kubeflow") -> None:
        """Adds a service with one ready pod, whose named port leads to port `here` of this machine."""
        labels = {"app": name}
        self.put(
            V1Service(
                kind="Service",
                metadata=V1ObjectMeta(name=name, namespace=namespace),
                spec=V1ServiceSpec(selector=labels, ports=[V1ServicePort(port=port, target_port="http")]),
            )
        )
        container = V1Container(name="main", ports=[V1ContainerPort(name="http", container_port=9000)])
        ready = [V1PodCondition(type="Ready", status="True")]
        self.pods[f"{name}-0"] = V1Pod(
            metadata=V1ObjectMeta(name=f"{name}-0", namespace=namespace, labels=labels),
            spec=V1PodSpec(containers=[container]),
            status=V1PodStatus(phase="Running", conditions=ready),
        )
        self.ports[f"{name}-0", 9000] = here


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
        elif path.endswith("/pods"):
            wanted = dict(term.split("=") for term in query["labelSelector"].split(","))
            pods = [
                pod
                for pod in self.server.pods.values()
                if pod.metadata.namespace == parts[3] and wanted.items() <= pod.metadata.labels.items()
            ]
            items = ApiClient().sanitize_for_serialization(pods)
            self.answer(200, json.dumps({"kind": "PodList", "items": items}).encode())
        elif path.endswith("/portforward"):
            self.forward_port(parts[5], int(query["ports"]))
        else:
            super().list_below(path)

    def forward_port(self, pod: str, port: int) -> None:
        """The protocol v4.channel.k8s.io, as kubelet speaks it."""
        if not self.server.may_forward:
            self.refuse(
                403, 'pods "x" is forbidden: User "engineer" cannot create resource "pods/portforward"'
            )
            return
        assert self.headers["Sec-WebSocket-Protocol"] == "v4.channel.k8s.io"
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header(
            "Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        )
        self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        self.end_headers()
        self.close_connection = True
        self.server.forwards += 1
        for channel in (0, 1):
            self.send_frame(struct.pack("<BH", channel, port))
        try:
            target = socket.create_connection(("127.0.0.1", self.server.ports[pod, port]))
        except OSError as error:
            self.send_frame(b"\1" + f"error forwarding port {port}: {error}".encode())
            return
        with target:
            back = threading.Thread(target=self.send_back, args=(target,), daemon=True)
            back.start()
            with contextlib.suppress(OSError, ValueError, struct.error):
                while (data := self.receive_frame()) is not None:
                    assert data[0] == 0
                    target.sendall(data[1:])
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)
            back.join()

    def send_back(self, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := target.recv(32 * 1024):
                self.send_frame(b"\0" + data)
            self.wfile.write(b"\x88\0")

    def send_frame(self, data: bytes) -> None:
        size = struct.pack(">BH", 126, len(data)) if len(data) > 125 else bytes([len(data)])
        self.wfile.write(b"\x82" + size + data)

    def receive_frame(self) -> bytes | None:
        """A frame of the client's, or None where it closes."""
        kind, size = self.rfile.read(2)
        if kind & 0xF == 8:
            return None
        size &= 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self.rfile.read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self.rfile.read(8))
        mask = self.rfile.read(4)
        data = self.rfile.read(size)
        key = int.from_bytes((mask * (size // 4 + 1))[:size])
        return (int.from_bytes(data) ^ key).to_bytes(size)

    def log(self, pod: str, query: dict[str, str]) -> None:
        assert query["container"] == "main"
        if pod not in self.server.logs:
            self.refuse(404, f'pods "{pod}" not found')
            return
        if self.server.starting.get(pod, 0):
            self.server.starting[pod] -= 1
            self.refuse(400, f'container "main" in pod "{pod}" is waiting to start: PodInitializing')
            return
        lines = self.server.logs[pod]
        if "tailLines" in query:
            lines = lines[-int(query["tailLines"]) :]
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        # Unsaid, the client would send its next request to a connection that closes.
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        sent = 0
        while True:
            # The Kubernetes client writes True, which Go reads as true too.
            last = query.get("follow") != "True" or pod not in self.server.growing
            for line in lines[sent:]:
                data = f"{line}\n".encode()
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                sent += 1
            if last:
                self.wfile.write(b"" if pod in self.server.breaking else b"0\r\n\r\n")
                return
            time.sleep(0.01)
