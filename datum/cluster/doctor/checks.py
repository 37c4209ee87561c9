"""One row of `datum doctor`, and how the rows are made one after another."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from datum.cluster.kubeconfig import reason, refusal

TIMEOUT = (5.0, 8.0)
"""Seconds that a server may take to accept a connection, and to answer."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found of one thing that runs need."""

    status: Literal["ok", "warning", "problem"]
    """`problem`: runs will fail. `warning`: they may, or it could not be checked."""
    found: str
    remedy: str = ""
    """What to do about it; empty where all is well."""


def ok(found: str) -> Finding:
    return Finding("ok", found)


def warning(found: str, remedy: str) -> Finding:
    return Finding("warning", found, remedy)


def problem(found: str, remedy: str) -> Finding:
    return Finding("problem", found, remedy)


class Examination:
    """Makes checks one after another; one that needs a failed one is not made, and says so."""

    def __init__(self) -> None:
        self.findings: dict[str, Finding] = {}
        """By the names of the checks, in the order in which they were made."""
        self._failed: set[str] = set()

    def add(self, name: str, finding: Finding) -> None:
        """Adds a row."""
        self.findings[name] = finding
        if finding.status == "problem":
            self._failed.add(name)

    def check(
        self, name: str, needs: Iterable[str], examine: Callable[..., Finding], *arguments: Any
    ) -> None:
        """Adds what `examine` finds, or the fault of the server that it asked."""
        failed = [need for need in needs if need in self._failed]
        if failed:
            self.add(name, Finding("warning", f"not checked: {failed[0]} comes first"))
            self._failed.add(name)
            return
        try:
            finding = examine(*arguments)
        except ApiException as error:
            finding = _refused(error)
        except (HTTPError, ValueError, OSError) as error:
            # ValueError: an answer that is no Kubernetes object, such as a login page; OSError: certificates
            # that cannot be read.
            finding = problem(
                f"no usable answer from the API server ({reason(error)})",
                "check the server's address (kubectl config view --minify), VPN and proxy; try: kubectl "
                "version",
            )
        self.add(name, finding)


def _refused(error: ApiException) -> Finding:
    """The row of an API server that answered with an error."""
    message, _ = refusal(error)
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
                f"the API server is busy or the object is being changed: {error.status} {message}",
                "run `datum doctor` again",
            )
        case status:
            return problem(
                f"the API server fails: {status} {message}",
                "see kubectl get --raw '/readyz?verbose' and the API server's log, then run this again",
            )


def listed(items: Iterable[str], most: int = 4) -> str:
    """`a, b, c`, and how many more there are."""
    every = list(items)
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest
