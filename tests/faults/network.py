"""A network before a server that fails at random, below HTTP: by bytes and connections."""

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from urllib.parse import urlsplit

FAULTS = ("latency", "slow", "reset", "truncation", "flip up", "flip down", "busy", "silence")

FAULTY = 0.2
"""Share of connections that fail."""

_XML = b"<Error><Code>SlowDown</Code><Message>Reduce the rate</Message></Error>"
_BUSY = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(_XML)
    + _XML
)


class FaultyNetwork:
    """A TCP proxy before `endpoint`, each of whose connections may have one fault, which `chance` draws."""

    def __init__(self, endpoint: str, chance: random.Random) -> None:
        parts = urlsplit(endpoint)
        self._server = (str(parts.hostname), int(parts.port or 80))
        self._chance, self._lock = chance, threading.Lock()
        self.met = dict.fromkeys(FAULTS, 0)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "FaultyNetwork":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    fault = self._chance.choice(FAULTS) if self._chance.random() < FAULTY else ""
                    # After so many bytes; half of the times among an answer's headers.
                    after = self._chance.choice(
                        (self._chance.randrange(400), self._chance.randrange(200_000))
                    )
                threading.Thread(target=self._serve, args=(client, fault, after), daemon=True).start()

    def _serve(self, client: socket.socket, fault: str, after: int) -> None:
        with client, contextlib.suppress(OSError):
            if fault == "busy":
                self.met["busy"] += 1
                client.recv(65536)
                client.sendall(_BUSY)
                return
            if fault == "latency":
                self.met["latency"] += 1
                time.sleep(0.2)
            with socket.create_connection(self._server) as server:
                up = threading.Thread(
                    target=self._pass, args=(client, server, fault, after, "up"), daemon=True
                )
                up.start()
                self._pass(server, client, fault, after, "down")
                # The other direction ends with its socket.
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                up.join()

    def _pass(
        self, source: socket.socket, sink: socket.socket, fault: str, after: int, direction: str
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            for data in _pieces(source):
                here = passed <= after < passed + len(data)
                if fault == "slow":
                    self.met["slow"] += passed == 0
                    time.sleep(0.01)
                if here and fault == f"flip {direction}":
                    self.met[fault] += 1
                    at = after - passed
                    data = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
                if here and direction == "down" and fault in ("reset", "truncation", "silence"):
                    self.met[fault] += 1
                    sink.sendall(data[: after - passed])
                    if fault == "reset":
                        sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    if fault == "silence":
                        time.sleep(2)
                    sink.close() if fault == "reset" else sink.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(data)
                passed += len(data)


def _pieces(source: socket.socket) -> Iterator[bytes]:
    while data := source.recv(65536):
        yield data
