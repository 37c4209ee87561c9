"""The API of Kubeflow Pipelines: reachable, new enough, and starting runs in our namespace."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

from datum.cluster.client import POD_TOKEN_PATH, TOKEN_PATH
from datum.cluster.doctor.checks import (
    CONNECT_SECONDS,
    READ_SECONDS,
    Finding,
    ok,
    problem,
    reason,
    status_message,
    timeout,
    warning,
)
from datum.cluster.settings import ClusterSettings

MINIMUM_KFP = (2, 15)
"""Oldest KFP that the manifests fit: its store is SeaweedFS since then."""

HEALTH = "apis/v2beta1/healthz"
EXPERIMENTS = "apis/v2beta1/experiments?page_size=1"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What KFP, or who stands in front of it, answered."""

    status: int
    body: bytes
    message: str = ""


def pipelines_api(client: Any, settings: ClusterSettings) -> Finding:
    """Whether KFP answers, its version, whether it runs where we say, and lets you see runs."""
    from urllib3.exceptions import HTTPError

    if settings.kfp_host and not settings.kfp_host.startswith(("http://", "https://")):
        return problem(f"kfp_host is {settings.kfp_host}", "expected a URL such as http://localhost:8888")
    try:
        health = _ask(client, settings, HEALTH)
        if health.status != 200:
            return _refused(health, settings)
        fields = _fields(health.body)
        if "multi_user" not in fields and "tag_name" not in fields:
            return problem(
                f"{_where(settings)} answers, but not as KFP's API does (a login page?)",
                f"kubectl -n {settings.kfp_namespace} port-forward service/ml-pipeline 8888 & datum doctor "
                "--set kfp_host=http://localhost:8888",
            )
        version, multi_user = str(fields.get("tag_name", "unknown")), bool(fields.get("multi_user"))
        finding = _judge(version, multi_user, settings)
        if finding.status == "problem":
            return finding
        query = f"&namespace={settings.namespace}" if multi_user else ""
        listing = _ask(client, settings, EXPERIMENTS + query)
    except HTTPError as error:
        if not settings.kfp_host:
            raise
        return problem(
            f"{settings.kfp_host} does not answer ({reason(error)})",
            "check kfp_host; empty goes through the API server",
        )
    return finding if listing.status == 200 else _refused(listing, settings)


def _fields(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; empty where it holds none."""
    try:
        fields = json.loads(body)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _judge(version: str, multi_user: bool, settings: ClusterSettings) -> Finding:
    found = f"KFP {version}, {'multi-user' if multi_user else 'single-user'}"
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < MINIMUM_KFP:
        return problem(f"{found}, expected 2.15 or newer", "upgrade KFP; `make kfp` installs a pinned one")
    if multi_user and settings.namespace == settings.kfp_namespace:
        return problem(
            f"{found}: runs live in the namespaces of profiles, not in KFP's own",
            "set namespace to your profile's (kubectl get profiles)",
        )
    if not multi_user and settings.namespace != settings.kfp_namespace:
        return problem(
            f"{found}: runs live in its namespace {settings.kfp_namespace}, not in {settings.namespace}",
            f"set namespace={settings.kfp_namespace}",
        )
    if not numbers:
        return warning(
            f"{found}: it does not say its version, expected 2.15 or newer",
            f"kubectl -n {settings.kfp_namespace} get deployment ml-pipeline -o wide shows its image",
        )
    return ok(found)


def _ask(client: Any, settings: ClusterSettings, path: str) -> Answer:
    if settings.kfp_host:
        return _from_host(f"{settings.kfp_host.rstrip('/')}/{path}")
    return _through_proxy(client, settings.kfp_namespace, path)


def _through_proxy(client: Any, namespace: str, path: str) -> Answer:
    """Asks KFP's service through the API server, as `datum submit` does without a host."""
    from kubernetes.client import ApiException

    try:
        response, *_ = client.call_api(
            f"/api/v1/namespaces/{namespace}/services/ml-pipeline:http/proxy/{path}",
            "GET",
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=timeout(),
        )
    except ApiException as error:
        return Answer(error.status, b"", status_message(error))
    return Answer(200, response.data)


def _from_host(url: str) -> Answer:
    from urllib3 import PoolManager, Timeout

    token = Path(os.environ.get(TOKEN_PATH, POD_TOKEN_PATH))
    headers = {"Authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {}
    pool = PoolManager(timeout=Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS), retries=False)
    response = pool.request("GET", url, headers=headers, redirect=False)
    return Answer(response.status, response.data, response.reason or "")


def _refused(answer: Answer, settings: ClusterSettings) -> Finding:
    where, namespace, what = _where(settings), settings.kfp_namespace, f"{answer.status} {answer.message}"
    match answer.status:
        case 401 | 301 | 302 | 303 | 307:
            return problem(
                f"{where} knows nobody by this login: {what}",
                f"name a file with a token in {TOKEN_PATH}: kubectl -n {settings.namespace} create token "
                f"{settings.service_account} --audience pipelines.kubeflow.org (it goes with kfp_host only)",
            )
        case 403:
            return problem(
                f"{where} forbids it: {what}",
                f"ask for get, create and delete on services/proxy in {namespace} and, where KFP is "
                f"multi-user, for the role kubeflow-edit in {settings.namespace}",
            )
        case 404:
            return problem(
                f"no KFP at {where}: {what}",
                "`make kfp` installs it; or set kfp_namespace to where it is, or kfp_host to its address",
            )
    return problem(
        f"{where} fails: {what}",
        f"see kubectl -n {namespace} get pods -l app=ml-pipeline, and kubectl -n {namespace} logs "
        "deployment/ml-pipeline",
    )


def _where(settings: ClusterSettings) -> str:
    return settings.kfp_host or f"service ml-pipeline in {settings.kfp_namespace}"
