"""Prometheus' own programs, where this machine has them: Debian's packages prometheus, prometheus-pushgateway
and prometheus-alertmanager. No package of PyPI holds them, so tests that need one are skipped, and say so,
where it is missing."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

STARTUP_SECONDS = 30


def program(name: str) -> str:
    """The program's path; skips the test where there is none."""
    found = shutil.which(name)
    if found is None:
        package = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}.get(name, name)
        pytest.skip(f"{name} is not on this machine (Debian's package {package}); PyPI has none")
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def until(found: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """What `found` gives as soon as it is anything; an error in it counts as nothing."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, LookupError):
            if result := found():
                return result
        time.sleep(0.2)
    pytest.fail(f"in {seconds} s there was no {what}")


@contextlib.contextmanager
def running(words: list[str], ready: str, log: Path) -> Iterator[None]:
    """A server while the block runs, from when the URL `ready` answers."""
    with log.open("w") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output)
    try:
        until(lambda: read(ready) or True, f"answer at {ready}: {words[0]}", STARTUP_SECONDS)
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    """The URL of a Pushgateway."""
    port = free_port()
    words = [program("prometheus-pushgateway"), f"--web.listen-address=127.0.0.1:{port}"]
    with running(words, f"http://127.0.0.1:{port}/-/ready", folder / "pushgateway.log"):
        yield f"http://127.0.0.1:{port}"


def query(prometheus: str, expression: str) -> list[dict[str, Any]]:
    """What the server at that URL answers now."""
    answer = json.loads(read(f"{prometheus}/api/v1/query?query={quote(expression)}"))
    return list(answer["data"]["result"])


def lint(metrics: str) -> str:
    """What `promtool check metrics` finds in what was scraped."""
    run = subprocess.run(
        [program("promtool"), "check", "metrics"], input=metrics, capture_output=True, text=True, check=False
    )
    return run.stdout + run.stderr
