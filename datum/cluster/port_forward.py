"""Services of the cluster on a port of this machine, through the Kubernetes API: what `kubectl port-forward`
does, without kubectl and without a second terminal.

Each connection is a websocket of its own to a pod of the service, by the protocol `v4.channel.k8s.io`: a
frame begins with its channel, 0 for data and 1 for errors, and each channel begins with the port, two bytes.
The Kubernetes client's own `stream.portforward` is not used: it reads from the cluster as fast as it can,
whether anybody takes the bytes here or not, and keeps the rest in memory.
"""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

from datum.cluster.kubernetes_access import AwayError, KubernetesAccess, UnreadableError
from datum.telemetry import log

BLOCK = 256 * 1024
"""Bytes that are passed on at once."""
DATA, ERROR = 0, 1
"""Channels of the only port."""


@contextlib.contextmanager
def forwarded(
    kubernetes: KubernetesAccess, namespace: str, service: str, port: int, *, local_port: int = 0
) -> Iterator[int]:
    """Serves a port of a service on loopback while the block lasts; yields the port here, any free one
    unless `local_port` names it.

    Raises `AwayError` where the service has no ready pod, and `UnreadableError` where the user may not
    forward ports.
    """
    # What stands in the way is said now, not by a connection that closes.
    _connect(kubernetes, namespace, service, port).close()
    try:
        listener = socket.create_server(("127.0.0.1", local_port))
    except OSError as error:
        raise UnreadableError(f"port {local_port} of this machine: {error.strerror}") from None
    with listener:
        accepting = threading.Thread(
            target=_accept, args=(listener, kubernetes, namespace, service, port), daemon=True
        )
        accepting.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            # Closing alone would leave the thread in accept().
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _accept(
    listener: socket.socket, kubernetes: KubernetesAccess, namespace: str, service: str, port: int
) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        arguments = (connection, kubernetes, namespace, service, port)
        threading.Thread(target=_carry, args=arguments, daemon=True).start()


def _carry(
    connection: socket.socket, kubernetes: KubernetesAccess, namespace: str, service: str, port: int
) -> None:
    """Passes on one connection in both directions, until either side closes it."""
    from websocket import WebSocketException

    with connection:
        try:
            # The pod is looked up for each connection: it may be another one by now.
            remote = _connect(kubernetes, namespace, service, port)
        except UnreadableError as error:
            log(f"service {service}: {error}")
            return
        with contextlib.suppress(OSError, WebSocketException):
            _exchange(connection, remote, service)
        with contextlib.suppress(OSError, WebSocketException):
            remote.shutdown()


def _exchange(connection: socket.socket, remote: Any, service: str) -> None:
    """Passes on what either side sends. One thread does both: a TLS connection may not be read and written
    by two at once."""
    begun: set[int] = set()
    while True:
        readable: list[Any] = [remote.sock]
        # What TLS has read already is not seen by select.
        if not (isinstance(remote.sock, ssl.SSLSocket) and remote.sock.pending()):
            readable, _, _ = select.select([connection, remote.sock], [], [])
        if connection in readable:
            data = connection.recv(BLOCK)
            if not data:
                return
            remote.send_binary(bytes([DATA]) + data)
        if remote.sock in readable:
            frame = remote.recv()
            if not frame:
                return
            channel, data = frame[0], frame[1:]
            if channel not in begun:
                begun.add(channel)  # the port
            elif channel == ERROR:
                log(f"service {service}: {data.decode(errors='replace').strip()}")
                return
            else:
                connection.sendall(data)


def _connect(kubernetes: KubernetesAccess, namespace: str, service: str, port: int) -> Any:
    """A websocket to a port of a pod of the service."""
    from kubernetes.stream.ws_client import create_websocket, get_websocket_url
    from websocket import WebSocketException

    pod, target = _pod(kubernetes, namespace, service, port)
    configuration, headers = kubernetes.client.configuration, dict[str, str]()
    kubernetes.client.update_params_for_auth(headers, [], ["BearerToken"])
    url = f"{configuration.host}/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
    try:
        return create_websocket(configuration, get_websocket_url(url, [("ports", str(target))]), headers)
    except (WebSocketException, OSError) as error:
        detail = " ".join(str(error).split())[:200]
        raise UnreadableError(
            f"no port-forward to pod {pod} ({detail}); it takes the right to create (and, before Kubernetes "
            f"1.35, to get) pods/portforward in {namespace}"
        ) from None


def _pod(kubernetes: KubernetesAccess, namespace: str, service: str, port: int) -> tuple[str, int]:
    """A ready pod of the service, and the pod's port behind the service's."""
    found = kubernetes.read(kubernetes.core.read_namespaced_service, service, namespace)
    if found is None or not found.spec.selector:
        raise UnreadableError(f"there is no service {service} with pods in {namespace}")
    targets = [item.target_port or item.port for item in found.spec.ports if item.port == port]
    if not targets:
        raise UnreadableError(f"service {service} in {namespace} has no port {port}")
    selector = ",".join(f"{key}={value}" for key, value in found.spec.selector.items())
    pods = kubernetes.read(kubernetes.core.list_namespaced_pod, namespace, label_selector=selector)
    for pod in pods.items:
        conditions = {item.type: item.status for item in pod.status.conditions or ()}
        if conditions.get("Ready") != "True" or pod.metadata.deletion_timestamp:
            continue
        ports = [item for container in pod.spec.containers for item in container.ports or ()]
        named = {item.name: item.container_port for item in ports}
        target = named.get(targets[0], targets[0])
        if str(target).isdecimal():
            return str(pod.metadata.name), int(target)
    raise AwayError(f"service {service} in {namespace} has no ready pod")
