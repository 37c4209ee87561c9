"""KFP's API as the commands use it: a time-out on every call, retries where they do no harm, and one line
with a remedy for every failure.

This is kfp's own generated client (`kfp_server_api`), not the `kfp.Client` around it, which sets no
time-outs, calls the server from its constructor and prints links of its own.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from datum.cluster.kubeconfig import load_kubeconfig, reason, refusal
from datum.cluster.settings import ClusterSettings
from datum.errors import InputError, TemporaryFaultError, status_may_pass
from datum.telemetry import log

TIMEOUT = (5.0, 30.0)
"""Seconds that a call waits for the connection and for an answer."""
DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds between the tries of a call that failed for a reason that may pass."""
PAGE_SIZE = 100
"""Entries asked for at once; KFP allows 200."""
TOKEN_PATH = "KF_PIPELINES_SA_TOKEN_PATH"
"""KFP's own environment variable: names the file with the token of a multi-user installation. The token
itself stands in no setting, argument or message."""
POD_TOKEN_PATH = "/var/run/secrets/kubeflow/pipelines/token"
"""Where that file is in a pod, by KFP's convention."""
SERVICE, PORT = "ml-pipeline", 8888
"""Service of KFP's API."""
HEALTH_PATH = "/apis/v2beta1/healthz"
"""Where KFP says what it is."""
TEXT = "text/plain"
"""Content type of a log."""
NOT_FOUND_CODE = 5
"""gRPC's code in the body of a 404 that is about an object; another 404 is no KFP API's."""


class MissingError(InputError):
    """What was asked for is not there."""


class ConflictError(InputError):
    """What was to be made is there already."""


class UnansweredError(TemporaryFaultError):
    """Nobody knows whether a request was carried out: it may have been sent, and no answer came."""


class _Service:
    """One of KFP's services, its functions by short names: `get_run` is the client's generated
    `run_service_get_run_with_http_info`, the form that returns the headers too."""

    def __init__(self, functions: Any, prefix: str) -> None:
        self._functions, self._prefix = functions, prefix

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self._functions, f"{self._prefix}{name}_with_http_info")


class Kfp:
    """The KFP API of an installation.

    Calls are functions of its services, as `kfp.read(kfp.runs.get_run, run_id=run_id)`. They raise
    `InputError` where the server refuses and `TemporaryFaultError` where it is out of reach or fails.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        *,
        timeout: tuple[float, float] | None = None,
        delays: Sequence[float] | None = None,
    ) -> None:
        """`timeout` and `delays` take the place of `TIMEOUT` and `DELAYS`."""
        import kfp_server_api as api

        self.settings = settings
        self._timeout = TIMEOUT if timeout is None else timeout
        self._delays = DELAYS if delays is None else delays
        self._forwards = contextlib.ExitStack()
        self._configuration = _configuration(settings, self._forwards)
        self._client = client = api.ApiClient(self._configuration)
        self.pipelines = _Service(api.PipelineServiceApi(client), "pipeline_service_")
        self.uploads = _Service(api.PipelineUploadServiceApi(client), "")
        self.experiments = _Service(api.ExperimentServiceApi(client), "experiment_service_")
        self.runs = _Service(api.RunServiceApi(client), "run_service_")
        self.recurring_runs = _Service(api.RecurringRunServiceApi(client), "recurring_run_service_")

    @cached_property
    def namespace(self) -> dict[str, str]:
        """The argument `namespace` of a multi-user installation; none where KFP is standalone."""
        return {"namespace": self.settings.namespace} if self.health.get("multi_user") else {}

    @cached_property
    def version(self) -> tuple[int, int] | None:
        """Release of KFP, such as (2, 17); None where it does not say."""
        numbers = re.match(r"v?(\d+)\.(\d+)", self.health.get("tag_name", ""))
        return (int(numbers[1]), int(numbers[2])) if numbers else None

    @cached_property
    def health(self) -> dict[str, Any]:
        """What KFP says of itself, such as `tag_name` and `multi_user`."""
        # The generated function would drop the release, which KFP's specification does not list.
        return dict(self.get(HEALTH_PATH) or {})

    def page(self, path: str) -> str:
        """URL of a page of KFP's web interface; without `kfp_host`, as `kubectl port-forward` serves it."""
        return f"{self.settings.kfp_host.rstrip('/') or 'http://localhost:8080'}/#/{path}"

    def show_hint(self) -> None:
        """Says on standard error what makes the URLs of `page` work, where they do not."""
        if not self.settings.kfp_host:
            forward = f"kubectl port-forward --namespace {self.settings.kfp_namespace}"
            log(f"the URLs work after: {forward} service/ml-pipeline-ui 8080:80")

    def read(self, call: Callable[..., Any], *, content_type: str = "json", **arguments: Any) -> Any:
        """The answer of a call that may be made twice: one that reads, or one that sets a state."""
        for delay in self._delays:
            try:
                return self._once(call, arguments, content_type)
            except TemporaryFaultError:
                time.sleep(delay)
        return self._once(call, arguments, content_type)

    def get(self, path: str) -> Any:
        """What is at a path that kfp's client has no function for, or one that drops a part of it."""
        login: dict[str, Any] = {"auth_settings": ["Bearer"], "_return_http_data_only": False}
        return self.read(
            self._client.call_api, resource_path=path, method="GET", response_type="object", **login
        )

    def log(self, run_id: str, pod: str) -> list[str] | None:
        """Lines that a pod of a run has written: of the pod itself, else as Argo has archived them where it
        is set to; None where there are neither."""

        def call(**options: Any) -> tuple[str, int, dict[str, str]]:
            path = f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log"
            login = {"auth_settings": ["Bearer"], "_preload_content": False}
            answer = self._client.call_api(path, "GET", **login, **options)
            kind = answer.headers.get("Content-Type", TEXT)
            return answer.read().decode(errors="replace"), answer.status, {"Content-Type": kind}

        text = self.read(call, content_type=TEXT)
        # KFP answers 200 before it looks for the log, and writes what fails then in its place.
        return None if text.startswith('{"error_message":') else str(text).splitlines()

    def find(self, call: Callable[..., Any], **arguments: Any) -> Any:
        """The answer of a call that reads, or None where the object is not there."""
        try:
            return self.read(call, **arguments)
        except MissingError:
            return None

    def delete(self, call: Callable[..., Any], **arguments: Any) -> None:
        """Makes a call that deletes; what is gone already is no fault."""
        self.find(call, **arguments)

    def entries(self, service: _Service, kind: str, **arguments: Any) -> Iterator[Any]:
        """All of one kind that a service lists, page by page: `kfp.entries(kfp.runs, "runs")`."""
        call, token = getattr(service, f"list_{kind}"), ""
        while True:
            answer = self.read(call, page_token=token, page_size=PAGE_SIZE, **arguments)
            yield from getattr(answer, kind) or ()
            token = answer.next_page_token
            if not token:
                return

    def first(self, service: _Service, kind: str, **arguments: Any) -> Any:
        """The first of the same, or None; no other is asked for."""
        answer = self.read(getattr(service, f"list_{kind}"), page_size=1, **arguments)
        return next(iter(getattr(answer, kind) or ()), None)

    def create(
        self, call: Callable[..., Any], find: Callable[[], Any], *, unique: bool, **arguments: Any
    ) -> Any:
        """What a call that creates made, once, whatever the network does.

        After a failure `find` looks for what was to be made. Where the server itself holds names unique, the
        call is then made again. Otherwise it is made again only if the first one surely did nothing; if the
        request may still be under way, only `find` is tried on, and `UnansweredError` ends it.
        """
        unanswered = False
        for delay in (*self._delays, None):
            try:
                if not unanswered or unique:
                    return self._once(call, arguments)
            except ConflictError:
                if found := find():
                    return found
                raise
            except TemporaryFaultError as error:
                unanswered = unanswered or isinstance(error, UnansweredError)
                fault = error
            if found := find():
                return found
            if delay is None:
                break
            time.sleep(delay)
        raise fault

    def _once(self, call: Callable[..., Any], arguments: dict[str, Any], content_type: str = "json") -> Any:
        from kfp_server_api import ApiException
        from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

        host = self._configuration.host
        try:
            answer, _, headers = call(_request_timeout=self._timeout, **arguments)
        except ApiException as error:
            raise self._explained(error) from None
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise TemporaryFaultError(
                f"KFP at {host} is out of reach ({reason(error)}); check kfp_host and the network"
            ) from None
        except HTTPError as error:
            raise UnansweredError(
                f"KFP at {host} gave no answer ({reason(error)}); check `datum doctor`"
            ) from None
        content = headers.get("Content-Type", "no content type")
        if content_type not in content:
            raise InputError(
                f"{host}: found {content}, expected {content_type.upper()} of the KFP API; "
                f"set kfp_host to it, or {TOKEN_PATH} where a login page is in front"
            )
        return answer

    def _explained(self, error: Any) -> Exception:
        """The `InputError` or `TemporaryFaultError` of an answer with an error status."""
        host, namespace = self._configuration.host, self.settings.namespace
        message, code = refusal(error)
        match error.status:
            case 0:
                return InputError(f"{host}: {message}; check the certificate that this machine trusts")
            case 401 | 301 | 302 | 303 | 307:
                return InputError(
                    f"KFP at {host} knows nobody by this login ({error.status}); name a file with a token in "
                    f"{TOKEN_PATH}: kubectl create token default-editor --namespace {namespace} "
                    "--audience pipelines.kubeflow.org"
                )
            case 403:
                proxy = f", for get, create and delete on services/proxy in {self.settings.kfp_namespace}"
                return InputError(
                    f"KFP at {host} forbids it in namespace {namespace} (403: {message}); ask for the role "
                    f"kubeflow-edit there{'' if self.settings.kfp_host else proxy}, or set another namespace"
                )
            case 404 if code == NOT_FOUND_CODE:
                return MissingError(f"KFP at {host}: {message}")
            case 404:
                return InputError(
                    f"{host}: found no KFP API there (404); set kfp_host to the URL of ml-pipeline, or "
                    "kfp_namespace to where KFP is installed; `make kfp` installs it"
                )
            case 409:
                return ConflictError(f"KFP at {host}: {message} (409); choose another name")
            case 502 | 504:
                return UnansweredError(f"KFP at {host}: {error.status} {message}; check `datum doctor`")
            case status if status_may_pass(status):
                return TemporaryFaultError(f"KFP at {host}: {status} {message}; check `datum doctor`")
        return InputError(f"KFP at {host} refused the request ({error.status}): {message}")


def name_filter(name: str) -> str:
    """KFP's filter for one display name."""
    predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
    return json.dumps({"predicates": [predicate]})


def _configuration(settings: ClusterSettings, forwards: contextlib.ExitStack) -> Any:
    """Where the API is and how to log in: `kfp_host`, else the Kubernetes API, else KFP's service.

    The Kubernetes API's proxy to services passes no token on, as multi-user installations want one: with a
    token the API is reached by a port-forward, which lasts as long as `forwards`.
    """
    import kfp_server_api

    configuration = kfp_server_api.Configuration()
    # Retries are ours: urllib3's own would repeat calls that must not be made twice.
    configuration.retries = False
    if settings.kfp_host:
        if not settings.kfp_host.startswith(("http://", "https://")):
            raise InputError(
                f"kfp_host: found {settings.kfp_host!r}, expected a URL such as http://localhost:8888"
            )
        configuration.host = settings.kfp_host.rstrip("/")
    else:
        in_cluster = kfp_server_api.Configuration()
        try:
            load_kubeconfig(in_cluster)
        except InputError as error:
            if "KUBERNETES_SERVICE_HOST" not in os.environ:
                raise InputError(
                    f"kfp_host: not set, and there is no usable kubeconfig ({error}); set kfp_host or "
                    "KUBECONFIG"
                ) from None
            configuration.host = service_url(settings.kfp_namespace)
        else:
            if TOKEN_PATH not in os.environ:
                in_cluster.retries = False
                _go_through_proxy(in_cluster, settings.kfp_namespace)
                return in_cluster
            configuration.host = forwards.enter_context(_forwarded(settings))
    _log_in(configuration)
    return configuration


@contextlib.contextmanager
def _forwarded(settings: ClusterSettings) -> Iterator[str]:
    """The API's URL on this machine."""
    from datum.cluster.kubernetes_access import KubernetesAccess, UnreadableError
    from datum.cluster.port_forward import forwarded

    kubernetes = KubernetesAccess.find(settings)
    assert kubernetes, "the kubeconfig has been loaded just now"
    with contextlib.ExitStack() as stack:
        try:
            port = stack.enter_context(forwarded(kubernetes, settings.kfp_namespace, SERVICE, PORT))
        except UnreadableError as error:
            raise error.fault(f"KFP's API, for which {TOKEN_PATH} is set: {error}; or set kfp_host") from None
        yield f"http://localhost:{port}"


def service_url(namespace: str) -> str:
    """Where pods reach the KFP API that is installed in `namespace`."""
    return f"http://{SERVICE}.{namespace}.svc.cluster.local:{PORT}"


def _go_through_proxy(configuration: Any, namespace: str) -> None:
    """Makes the host of a loaded kubeconfig that of its proxy to KFP's service."""
    proxy = f"api/v1/namespaces/{namespace}/services/{SERVICE}:http/proxy"
    host = f"{configuration.host.rstrip('/')}/{proxy}"
    renew = configuration.refresh_api_key_hook

    def renew_login(configuration: Any) -> None:
        # The Kubernetes client renews expiring tokens here, and puts its own host and function back.
        renew(configuration)
        configuration.host, configuration.refresh_api_key_hook = host, renew_login

    configuration.host = host
    if renew:
        configuration.refresh_api_key_hook = renew_login


def _log_in(configuration: Any) -> None:
    """Sends the token of the file that `TOKEN_PATH` names, read anew for each call: kubelet renews it."""
    file = Path(os.environ.get(TOKEN_PATH, POD_TOKEN_PATH))
    if not file.exists():
        if TOKEN_PATH in os.environ:
            raise InputError(f"{TOKEN_PATH}={file}: no such file; name the file with the token")
        return

    def read_token(configuration: Any) -> None:
        configuration.api_key["authorization"] = file.read_text(encoding="utf-8").strip()

    configuration.api_key_prefix["authorization"] = "Bearer"
    configuration.refresh_api_key_hook = read_token
    read_token(configuration)
