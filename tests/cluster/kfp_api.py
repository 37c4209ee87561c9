"""The part of KFP's v2beta1 API that `datum` uses: what it keeps, and what it answers.

Answers are kfp_server_api's own models in its own serialization. What the server demands (unique names, known
parameters, six fields of a cron, a namespace only where KFP is multi-user) is what KFP's API server demands.
"""

import dataclasses
import email
import email.policy
import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import kfp_server_api as api
import yaml

NEVER = datetime.fromtimestamp(0, UTC)
"""What KFP sends for a time of a run that has not come."""
NODE_NEVER = datetime(1, 1, 1, tzinfo=UTC)
"""The same for a node of a workflow."""


class RefusalError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclasses.dataclass
class Fault:
    """What goes wrong with the next `times` requests whose line (`POST /apis/…`) matches `pattern`."""

    pattern: str
    kind: int | str
    """An HTTP status; `drop`: closes the connection after the request was carried out; `lose`: before;
    `stall`: carries it out and answers `seconds` later; `page`: an HTML page with status 200."""
    times: int = 1
    seconds: float = 0.0


class KfpApi:
    """The state of the server: what was made, what was asked, and what is to go wrong."""

    def __init__(self, *, multi_user: bool = False, token: str = "", prefix: str = "") -> None:
        self.multi_user, self.token, self.prefix = multi_user, token, prefix
        self.version = "2.17.0"
        self.pipelines: dict[str, api.V2beta1Pipeline] = {}
        self.versions: dict[str, api.V2beta1PipelineVersion] = {}
        self.experiments: dict[str, api.V2beta1Experiment] = {}
        self.runs: dict[str, api.V2beta1Run] = {}
        self.recurring_runs: dict[str, api.V2beta1RecurringRun] = {}
        self.manifests: dict[str, str] = {}
        """Workflows as KFP has stored them, by the ids of runs; the first API alone gives them away."""
        self.archived_logs: dict[str, str] = {}
        """Logs that KFP gives away, by pod."""
        self.retried: list[str] = []
        """Ids of runs, as often as they were tried again."""
        self.deletions: list[tuple[str, dict[str, str]]] = []
        """Paths and queries of DELETE requests."""
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.on_look: Callable[[api.V2beta1Run], None] = lambda run: None
        """Called before a run is shown: changes it as a cluster would."""
        self.most_active = 0
        """Most recurring runs that were ever switched on at the same time."""
        self.lock = threading.RLock()
        self._seconds = 0
        self._client = api.ApiClient()

    def fail(self, pattern: str, kind: int | str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Has the next `times` matching requests fail."""
        self.faults.append(Fault(pattern, kind, times, seconds))

    def posts(self) -> list[str]:
        """The requests that would have changed something."""
        return [line for line in self.requests if not line.startswith("GET")]

    def fault(self, line: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and re.search(fault.pattern, line):
                fault.times -= 1
                return fault
        return None

    def now(self) -> datetime:
        """Whole seconds, as KFP keeps them; each later than the one before."""
        self._seconds += 1
        return (
            datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1) + timedelta(seconds=self._seconds)
        )

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> Any:
        """The body of the answer; raises `RefusalError`."""
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            raise RefusalError(401, "Request header error: there is no user identity header.")
        for pattern, handler in ROUTES.items():
            expected, _, template = pattern.partition(" ")
            found = re.fullmatch(template, path.removeprefix(self.prefix).removeprefix("/apis/v2beta1"))
            if expected == method and found:
                groups = {key: unquote(value) for key, value in found.groupdict().items()}
                request = SimpleNamespace(query=query, headers=headers, body=body, **groups)
                response = handler(self, request)
                return (
                    response
                    if isinstance(response, bytes)
                    else self._client.sanitize_for_serialization(response)
                )
        raise LookupError(path)

    def parse(self, request: Any, model: str) -> Any:
        response = SimpleNamespace(data=request.body.decode())
        return self._client.deserialize(response, model)

    def require_namespace(self, namespace: str | None) -> None:
        if bool(namespace) != self.multi_user:
            mode = "multi-user" if self.multi_user else "single-user"
            raise RefusalError(400, f"Invalid input error: namespace {namespace!r} in {mode} mode")


def _get(found: dict[str, Any], kind: str, key: str) -> Any:
    if key not in found:
        raise RefusalError(404, f"ResourceNotFoundError: {kind} {key} not found.")
    return found[key]


def _page(items: list[Any], query: dict[str, str]) -> tuple[list[Any], str]:
    """One page of `items` after KFP's filter and order, and the token of the next."""
    for predicate in json.loads(query.get("filter") or "{}").get("predicates", ()):
        assert predicate["operation"] == "EQUALS"
        items = [item for item in items if getattr(item, predicate["key"]) == predicate["string_value"]]
    field, _, direction = query.get("sort_by", "created_at").partition(" ")
    items = sorted(items, key=lambda item: getattr(item, field), reverse=direction == "desc")
    start, size = int(query.get("page_token") or 0), int(query.get("page_size") or 20)
    following = start + size
    return items[start:following], str(following) if following < len(items) else ""


def _health(state: KfpApi, request: Any) -> Any:
    # Written by hand in KFP too; its models lack the release.
    return {"commit_sha": "0" * 40, "tag_name": state.version, "multi_user": state.multi_user}


def _pipeline_by_name(state: KfpApi, request: Any) -> Any:
    state.require_namespace(request.query.get("namespace"))
    for pipeline in state.pipelines.values():
        if pipeline.name == request.name:
            return pipeline
    raise RefusalError(404, f"ResourceNotFoundError: Namespace/Pipeline {request.name} not found.")


def _create_pipeline(state: KfpApi, request: Any) -> Any:
    pipeline = state.parse(request, "V2beta1Pipeline")
    state.require_namespace(pipeline.namespace)
    if any(pipeline.name == other.name for other in state.pipelines.values()):
        raise RefusalError(409, f"Already exist error: The name {pipeline.name} already exist.")
    pipeline.pipeline_id, pipeline.created_at = str(uuid.uuid4()), state.now()
    state.pipelines[pipeline.pipeline_id] = pipeline
    return pipeline


def _delete_pipeline(state: KfpApi, request: Any) -> Any:
    _get(state.pipelines, "Pipeline", request.id)
    if any(version.pipeline_id == request.id for version in state.versions.values()):
        raise RefusalError(400, "Invalid input error: it has existing pipeline versions.")
    del state.pipelines[request.id]
    return {}


def _list_versions(state: KfpApi, request: Any) -> Any:
    _get(state.pipelines, "Pipeline", request.id)
    versions = [version for version in state.versions.values() if version.pipeline_id == request.id]
    page, token = _page(versions, request.query)
    return api.V2beta1ListPipelineVersionsResponse(pipeline_versions=page, next_page_token=token)


def _upload_version(state: KfpApi, request: Any) -> Any:
    pipeline_id, name = request.query["pipelineid"], request.query["name"]
    _get(state.pipelines, "Pipeline", pipeline_id)
    if any((v.pipeline_id, v.name) == (pipeline_id, name) for v in state.versions.values()):
        raise RefusalError(409, "Failed to create a pipeline version")
    content_type = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    (part,) = email.message_from_bytes(content_type + request.body, policy=email.policy.HTTP).iter_parts()
    documents = list(yaml.safe_load_all(part.get_payload(decode=True)))
    spec = documents[0]
    if len(documents) > 1:
        spec = {"pipeline_spec": documents[0], "platform_spec": documents[1]}
    version = api.V2beta1PipelineVersion(
        pipeline_id=pipeline_id,
        pipeline_version_id=str(uuid.uuid4()),
        name=name,
        display_name=name,
        description=request.query.get("description"),
        created_at=state.now(),
        pipeline_spec=spec,
    )
    state.versions[version.pipeline_version_id] = version
    return version


def _get_version(state: KfpApi, request: Any) -> Any:
    return _get(state.versions, "PipelineVersion", request.version)


def _delete_version(state: KfpApi, request: Any) -> Any:
    _get_version(state, request)
    del state.versions[request.version]
    return {}


def _list_experiments(state: KfpApi, request: Any) -> Any:
    state.require_namespace(request.query.get("namespace"))
    page, token = _page(list(state.experiments.values()), request.query)
    return api.V2beta1ListExperimentsResponse(experiments=page, next_page_token=token)


def _create_experiment(state: KfpApi, request: Any) -> Any:
    experiment = state.parse(request, "V2beta1Experiment")
    state.require_namespace(experiment.namespace)
    if any(experiment.display_name == other.display_name for other in state.experiments.values()):
        raise RefusalError(409, f"Already exist error: Experiment {experiment.display_name} already exists")
    experiment.experiment_id, experiment.created_at = str(uuid.uuid4()), state.now()
    state.experiments[experiment.experiment_id] = experiment
    return experiment


def _check_source(state: KfpApi, run: Any) -> None:
    """What KFP demands of the pipeline and the parameters of a run or a recurring run."""
    _get(state.experiments, "Experiment", run.experiment_id)
    if not run.display_name:
        raise RefusalError(400, "Invalid input error: Run name cannot be empty")
    spec = run.pipeline_spec
    if reference := run.pipeline_version_reference:
        spec = _get(state.versions, "PipelineVersion", reference.pipeline_version_id).pipeline_spec
    if not spec:
        raise RefusalError(400, "Invalid input error: Failed to fetch a template with an empty pipeline spec")
    inputs = spec.get("pipeline_spec", spec)["root"].get("inputDefinitions", {}).get("parameters", {})
    kinds = {"STRING": str, "LIST": list, "STRUCT": dict, "NUMBER_INTEGER": int, "BOOLEAN": bool}
    for name, value in ((run.runtime_config and run.runtime_config.parameters) or {}).items():
        if name not in inputs or not isinstance(value, kinds[inputs[name]["parameterType"]]):
            raise RefusalError(
                400, f"Invalid input error: parameter {name} with value {value!r} does not fit"
            )


def _create_run(state: KfpApi, request: Any) -> Any:
    run = state.parse(request, "V2beta1Run")
    _check_source(state, run)
    run.run_id, run.state = str(uuid.uuid4()), "PENDING"
    run.created_at, run.finished_at = state.now(), NEVER
    state.runs[run.run_id] = run
    return run


def _get_run(state: KfpApi, request: Any) -> Any:
    run = _get(state.runs, "Run", request.id)
    state.on_look(run)
    return run


def _get_stored_run(state: KfpApi, request: Any) -> Any:
    _get(state.runs, "Run", request.id)
    runtime = {"workflow_manifest": state.manifests[request.id]} if request.id in state.manifests else {}
    return {"run": {"id": request.id}, "pipeline_runtime": runtime}


def _terminate_run(state: KfpApi, request: Any) -> Any:
    run = _get(state.runs, "Run", request.id)
    if run.state not in ("PENDING", "RUNNING"):
        raise RefusalError(400, f"Failed to terminate a run {request.id}. Row not found")
    run.state = "CANCELING"
    return {}


def _retry_run(state: KfpApi, request: Any) -> Any:
    run = _get(state.runs, "Run", request.id)
    if run.state not in ("FAILED", "CANCELED"):
        raise RefusalError(400, "Workflow must be Failed/Error to retry")
    run.state, run.finished_at = "RUNNING", NEVER
    state.retried.append(request.id)
    return {}


def _read_log(state: KfpApi, request: Any) -> Any:
    """KFP has begun to answer 200 when it looks for the log, and appends what fails."""
    _get(state.runs, "Run", request.id)
    if request.pod in state.archived_logs:
        return state.archived_logs[request.pod].encode()
    return b'{"error_message":"Failed to read logs for run: pods not found","error_details":"..."}'


def _list_runs(state: KfpApi, request: Any) -> Any:
    runs = [run for run in state.runs.values() if run.experiment_id == request.query["experiment_id"]]
    page, token = _page(runs, request.query)
    return api.V2beta1ListRunsResponse(runs=page, next_page_token=token)


def _create_recurring_run(state: KfpApi, request: Any) -> Any:
    recurring = state.parse(request, "V2beta1RecurringRun")
    _check_source(state, recurring)
    if len(recurring.trigger.cron_schedule.cron.split()) != 6:
        raise RefusalError(400, "Invalid input error: Schedule cron is not a supported format")
    if not 1 <= int(recurring.max_concurrency) <= 10:
        raise RefusalError(
            400, "Invalid input error: The max concurrency of the recurring run is out of range"
        )
    recurring.recurring_run_id, recurring.created_at = str(uuid.uuid4()), state.now()
    state.recurring_runs[recurring.recurring_run_id] = recurring
    return recurring


def _list_recurring_runs(state: KfpApi, request: Any) -> Any:
    wanted = request.query["experiment_id"]
    page, token = _page(
        [run for run in state.recurring_runs.values() if run.experiment_id == wanted], request.query
    )
    return api.V2beta1ListRecurringRunsResponse(recurring_runs=page, next_page_token=token)


def _switch(mode: str) -> Callable[[KfpApi, Any], Any]:
    def handle(state: KfpApi, request: Any) -> Any:
        _get(state.recurring_runs, "RecurringRun", request.id).mode = mode
        return {}

    return handle


def _delete_recurring_run(state: KfpApi, request: Any) -> Any:
    _get(state.recurring_runs, "RecurringRun", request.id)
    del state.recurring_runs[request.id]
    return {}


ROUTES: Mapping[str, Callable[[KfpApi, Any], Any]] = {
    "GET /healthz": _health,
    "GET /pipelines/names/(?P<name>[^/]+)": _pipeline_by_name,
    "POST /pipelines/upload_version": _upload_version,
    "POST /pipelines": _create_pipeline,
    "DELETE /pipelines/(?P<id>[^/]+)": _delete_pipeline,
    "GET /pipelines/(?P<id>[^/]+)/versions": _list_versions,
    "GET /pipelines/(?P<id>[^/]+)/versions/(?P<version>[^/]+)": _get_version,
    "DELETE /pipelines/(?P<id>[^/]+)/versions/(?P<version>[^/]+)": _delete_version,
    "GET /experiments": _list_experiments,
    "POST /experiments": _create_experiment,
    "GET /runs": _list_runs,
    "POST /runs": _create_run,
    "GET /runs/(?P<id>[^/:]+)": _get_run,
    "POST /runs/(?P<id>[^/:]+):terminate": _terminate_run,
    "POST /runs/(?P<id>[^/:]+):retry": _retry_run,
    "GET /apis/v1alpha1/runs/(?P<id>[^/]+)/nodes/(?P<pod>[^/]+)/log": _read_log,
    "GET /apis/v1beta1/runs/(?P<id>[^/:]+)": _get_stored_run,
    "GET /recurringruns": _list_recurring_runs,
    "POST /recurringruns": _create_recurring_run,
    "POST /recurringruns/(?P<id>[^/:]+):enable": _switch("ENABLE"),
    "POST /recurringruns/(?P<id>[^/:]+):disable": _switch("DISABLE"),
    "DELETE /recurringruns/(?P<id>[^/:]+)": _delete_recurring_run,
}


def node(name: str, state: str, *, seconds: float = 60.0) -> api.V2beta1PipelineTaskDetail:
    """A node of the run's workflow that began `seconds` ago, as KFP reports it."""
    begun = datetime.now(UTC) - timedelta(seconds=seconds)
    return api.V2beta1PipelineTaskDetail(
        task_id=str(uuid.uuid4()),
        display_name=name,
        create_time=begun,
        start_time=begun,
        end_time=datetime.now(UTC) if state in ("SUCCEEDED", "FAILED") else NODE_NEVER,
        state=state,
    )


def show_nodes(run: api.V2beta1Run, state: str, nodes: list[api.V2beta1PipelineTaskDetail]) -> None:
    """Brings a run to `state` with `nodes`."""
    run.state, run.run_details = state, api.V2beta1RunDetails(task_details=nodes)
    if state in ("SUCCEEDED", "FAILED", "CANCELED"):
        run.finished_at = run.created_at + timedelta(minutes=62)
