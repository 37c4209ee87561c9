"""The Kubernetes API as the terminal's commands use it: with the rights of the current kube context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from datum.cluster.kubeconfig import load_kubeconfig, reason, refusal
from datum.cluster.settings import ClusterSettings
from datum.errors import InputError, TemporaryFaultError, status_may_pass

TIMEOUT = (5.0, 30.0)
"""Seconds to connect and to read."""
RUN_LABEL = "pipeline/runid"
"""KFP's label with the id of a run, on its Workflow and its pods."""
USER_CONTAINER = "main"
"""The container of a task's pod that runs the task; the others are Argo's."""


class UnreadableError(Exception):
    """Something of the cluster cannot be read from here; says why."""

    def fault(self, said: str) -> Exception:
        """The error, which says `said`, of a command that cannot do without it."""
        return InputError(said)


class AwayError(UnreadableError):
    """It cannot be read now, and may be later."""

    def fault(self, said: str) -> Exception:
        return TemporaryFaultError(said)


class KubernetesAccess:
    """What the commands read of a cluster. Calls raise `UnreadableError` where the user may not, or where
    the API server does not answer."""

    def __init__(self, configuration: Any, settings: ClusterSettings) -> None:
        from kubernetes import client as api

        # Whoever asks knows another way, or says in one line what is missing.
        configuration.retries = False
        self.settings = settings
        self.client = api.ApiClient(configuration)
        self.core = api.CoreV1Api(self.client)
        self._objects = api.CustomObjectsApi(self.client)

    @classmethod
    def find(cls, settings: ClusterSettings) -> KubernetesAccess | None:
        """The cluster of the current kube context, or None where there is no usable kubeconfig."""
        from kubernetes import client as api

        configuration = api.Configuration()
        try:
            load_kubeconfig(configuration)
        except InputError:
            return None
        return cls(configuration, settings)

    def workflow(self, run_id: str) -> Mapping[str, Any] | None:
        """The Workflow of a run; None where it is gone."""
        found = self.read(
            self._objects.list_namespaced_custom_object,
            *("argoproj.io", "v1alpha1", self.settings.namespace, "workflows"),
            label_selector=f"{RUN_LABEL}={run_id}",
        )
        return next(iter(found["items"]), None) if found else None

    def log(self, pod: str, *, follow: bool = False, tail: int | None = None) -> Iterator[str] | None:
        """Lines that the task in a pod has written, its last `tail` ones if given, and with `follow` those
        that it writes until it ends; None where the pod is gone."""
        answer = self.read(
            self.core.read_namespaced_pod_log,
            *(pod, self.settings.namespace),
            container=USER_CONTAINER,
            follow=follow,
            **({} if tail is None else {"tail_lines": tail}),
            _preload_content=False,
            # A training that is followed may write nothing for a long time.
            _request_timeout=(TIMEOUT[0], None if follow else TIMEOUT[1]),
        )
        return None if answer is None else _lines(answer)

    def read(self, call: Callable[..., Any], *arguments: str, **options: Any) -> Any:
        """The answer of a call that reads, or None where there is no such object."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        options.setdefault("_request_timeout", TIMEOUT)
        try:
            return call(*arguments, **options)
        except ApiException as error:
            if error.status == 404:
                return None
            unreadable = AwayError if status_may_pass(error.status) else UnreadableError
            raise unreadable(f"{error.status}: {refusal(error)[0]}") from None
        except HTTPError as error:
            raise AwayError(f"the Kubernetes API does not answer ({reason(error)})") from None


def _lines(answer: Any) -> Iterator[str]:
    """The lines of a text as they arrive. Raises `TemporaryFaultError` where the connection breaks."""
    from urllib3.exceptions import HTTPError

    rest = b""
    try:
        for chunk in answer.stream(65536, decode_content=True):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
    except HTTPError as error:
        raise TemporaryFaultError(f"the connection to the log broke ({reason(error)}); ask again") from None
    if rest:
        yield rest.decode(errors="replace")
