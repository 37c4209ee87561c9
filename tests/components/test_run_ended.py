"""What a webhook is told of a run that ended without success, by what Argo says of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.run_ended import FAILURES, STATUS
from components.task import RUN_ID
from components.webhook import WEBHOOK
from tests.components.webhook_server import Webhook

HANDLER = Path(__file__).parents[2] / "manifests/run-ended.yaml"
RUN = "0d3c2b1a-run"
EXECUTOR, DRIVER = "metadata-0-2-retry-system-container-executor", "system-container-driver"


def failed(name: str, template: str, message: str = "") -> dict[str, str]:
    """A node of a Workflow as Argo 4.0.5 lists it in `workflow.failures`."""
    return {"displayName": name, "message": message, "templateName": template, "phase": "Failed"}


def quoted(nodes: list[dict[str, str]] | None) -> str:
    """As Argo puts them in place of the variable."""
    return json.dumps(json.dumps(nodes), ensure_ascii=False)


def run(url: str, failures: str) -> None:
    """What Argo starts at the end of a run, with the environment that the exit handler gives it."""
    _, tell = yaml.safe_load(HANDLER.read_text(encoding="utf-8"))["templates"]
    values = {STATUS: "Failed", FAILURES: failures, RUN_ID: RUN, WEBHOOK: url}
    assert {entry["name"] for entry in tell["container"]["env"]} == set(values)
    _, *arguments = tell["container"]["command"]
    subprocess.run([sys.executable, *arguments], env={**os.environ, **values}, check=True, timeout=60)


def test_a_task_that_was_killed_is_named_with_what_argo_says_of_it(webhook: Webhook) -> None:
    nodes = [
        failed("executor(0)", "metadata-0-2-retry-system-container-impl", "OOMKilled (exit code 137)"),
        failed("executor", "metadata-0-2-retry-system-container-impl", "OOMKilled (exit code 137)"),
        failed("adapt-2(0)", EXECUTOR),
        failed("adapt-2", EXECUTOR),
        failed("report-driver(0)", DRIVER, 'pods "x" is forbidden'),
        failed("root(0)", "root"),
        failed("datum-reproduction-x7k2p", "entrypoint"),
    ]
    run(webhook.url, quoted(nodes))
    (message,) = webhook.told
    assert message["text"] == (
        f"datum run {RUN}: ended with Failed: adapt-2, report: OOMKilled (exit code 137), "
        f'pods "x" is forbidden; see `datum runs {RUN}`'
    )
    assert (message["run"], message["status"], message["failed"]) == (RUN, "Failed", ["adapt-2", "report"])


@pytest.mark.parametrize("failures", [quoted(None), "", "{{workflow.failures}}", '"[{}]"', '"[1]"'])
def test_an_end_that_argo_says_nothing_of_is_told_all_the_same(webhook: Webhook, failures: str) -> None:
    run(webhook.url, failures)
    (message,) = webhook.told
    assert message["text"] == f"datum run {RUN}: ended with Failed; see `datum runs {RUN}`"


def test_nobody_is_told_without_a_webhook() -> None:
    run("", quoted(None))
