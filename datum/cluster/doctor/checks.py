"""One row of `datum doctor`, and how the faults of a server become one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any, Literal

CONNECT_SECONDS = 5.0
"""How long a server may take to accept a connection."""
READ_SECONDS = 8.0
"""How long a server may take to answer."""


def timeout() -> tuple[float, float]:
    """Seconds to connect and to read, as the Kubernetes client takes them."""
    return CONNECT_SECONDS, READ_SECONDS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """What was found of one thing that runs need."""

    name: str
    status: Literal["ok", "warning", "problem"]
    """`problem`: runs will fail. `warning`: they may, or it could not be checked."""
    found: str
    remedy: str = ""
    """What to do about it; empty where all is well."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A check's outcome, before it has a name."""

    status: Literal["ok", "warning", "problem"]
    found: str
    remedy: str = ""


def ok(found: str) -> Finding:
    return Finding("ok", found)


def warning(found: str, remedy: str) -> Finding:
    return Finding("warning", found, remedy)


def problem(found: str, remedy: str) -> Finding:
    return Finding("problem", found, remedy)


class Examination:
    """Makes checks one after another; one that needs a failed one is not made, and says so."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self._failed: set[str] = set()

    def add(self, name: str, finding: Finding) -> None:
        """Adds a row."""
        self.checks.append(
            Check(name=name, status=finding.status, found=finding.found, remedy=finding.remedy)
        )
        if finding.status == "problem":
            self._failed.add(name)

    def check(self, name: str, needs: Iterable[str], examine: Callable[[], Finding]) -> None:
        """Adds what `examine` finds, or the fault of the server that it asked."""
        failed = [need for need in needs if need in self._failed]
        if failed:
            self.add(name, Finding("warning", f"not checked: {failed[0]} comes first"))
            self._failed.add(name)
            return
        try:
            finding = examine()
        except _server_errors() as error:
            finding = server_fault(error)
        self.add(name, finding)


def _server_errors() -> tuple[type[Exception], ...]:
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    # ValueError: an answer that is no Kubernetes object, such as a login page's; OSError: certificates that
    # cannot be read.
    return (ApiException, HTTPError, ValueError, OSError)


def server_fault(error: Exception) -> Finding:
    """The row of an API server that refused or did not answer."""
    from kubernetes.client import ApiException

    if isinstance(error, ApiException):
        return _status_fault(error)
    return problem(
        f"no usable answer from the API server ({reason(error)})",
        "check the server's address (kubectl config view --minify), VPN and proxy; try: kubectl version",
    )


def _status_fault(error: Any) -> Finding:
    message = status_message(error)
    match error.status:
        case 401:
            return problem(
                f"the API server refuses the credentials: 401 {message}",
                "log in to the cluster again; kubectl auth whoami shows whether it took effect",
            )
        case 403:
            return warning(
                f"not checked: you may not look: 403 {message}",
                "ask an administrator for that right, or to run `datum doctor`",
            )
        case 404:
            return problem(
                f"404 {message}", "check the names in settings.env, and that this is the right kube context"
            )
        case 409 | 429:
            return problem(
                f"the API server is busy or the object is just being changed: {error.status} {message}",
                "run `datum doctor` again",
            )
        case status:
            return problem(
                f"the API server fails: {status} {message}",
                "see kubectl get --raw '/readyz?verbose' and the API server's log, then run this again",
            )


def status_message(error: Any) -> str:
    """What the server said, in one line: the message of its Status object, or the HTTP reason."""
    try:
        message = str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        message = str(error.reason)
    return " ".join(message.split())


def reason(error: BaseException) -> str:
    """The innermost reason of a failed connection, in one line."""
    text = getattr(error, "reason", None) or error
    while isinstance(text, BaseException) and (inner := getattr(text, "reason", None) or text.__cause__):
        text = inner
    line = " ".join(str(text).split())
    return line.split(">: ", 1)[-1].split("): ", 1)[-1] or type(error).__name__


def listed(items: Iterable[str], most: int = 4) -> str:
    """`a, b, c`, and how many more there are."""
    every = list(items)
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest
