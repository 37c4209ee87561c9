"""What a webhook is told of a run: tasks as processes, and a server that keeps what they post."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.task import RUN_ID, TASK, tell_report
from components.webhook import WEBHOOK
from datum.formats.report_figures import write_figures
from datum.patience import PATIENCE
from tests.components.webhook_server import KEY, Webhook

RUN, NAME = "0d3c2b1a-run", "seed 1 · adapt"


def started(url: str, what: str) -> subprocess.Popen[str]:
    """A task at work that does `what`, in an environment as the pipelines make it."""
    code = (
        "import time; from components.task import failing_with_status\n"
        "from datum.errors import InputError, TemporaryFaultError\n"
        f"with failing_with_status():\n    print('works', flush=True); {what}"
    )
    environment = {**os.environ, WEBHOOK: url, RUN_ID: RUN, TASK: NAME, PATIENCE: "0"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, **pipes)


def ended(url: str, what: str) -> tuple[int, str]:
    """Exit status and log of that task, which keep to the URL's secret."""
    with started(url, what) as process:
        said, _ = process.communicate(timeout=60)
    assert KEY not in said
    return process.returncode, said


@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [
        (
            "raise InputError('run.method: found \\'a\\nb\\', expected one line')",
            2,
            "run.method: found 'a\\nb'",
        ),
        ("raise TemporaryFaultError('store out of reach')", 75, "store out of reach"),
        ("raise OSError(28, 'No space left', '/tmp/x')", 75, "/tmp/x: the disk is full; make room"),
        ("{}['ours']", 1, "KeyError: 'ours'"),
    ],
)
def test_a_task_that_fails_for_good_says_why(webhook: Webhook, what: str, status: int, reason: str) -> None:
    assert ended(webhook.url, what)[0] == status
    (message,) = webhook.told
    assert (message["run"], message["task"], message["status"]) == (RUN, NAME, status)
    assert message["reason"].startswith(reason) and "\n" not in message["reason"]
    assert message["text"].startswith(f"datum run {RUN}: the task '{NAME}' failed: {reason}")
    assert message["text"].endswith(f"; see `datum runs {RUN}`")


def test_the_log_ends_with_the_error_and_that_the_webhook_was_told(webhook: Webhook) -> None:
    _, said = ended(webhook.url, "raise InputError('wrong')")
    assert said.splitlines() == ["works", "datum: wrong", "webhook: 127.0.0.1 was told"]


def test_nothing_is_told_of_a_task_that_ends_well_or_is_stopped_and_tried_again(webhook: Webhook) -> None:
    assert ended(webhook.url, "pass") == (0, "works\n")
    with started(webhook.url, "time.sleep(60)") as process:
        assert process.stdout and process.stdout.readline() == "works\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 75
        assert "webhook" not in process.stdout.read()
    assert not webhook.told


def test_a_webhook_that_is_busy_is_told_at_the_third_try_and_no_more_is_tried(webhook: Webhook) -> None:
    webhook.answers = [503, 429]
    assert "was told" in ended(webhook.url, "raise InputError('wrong')")[1]
    assert len(webhook.told) == 1
    webhook.answers = [500, 500, 500]
    assert "127.0.0.1 answers 500, so it was not told" in ended(webhook.url, "raise InputError('wrong')")[1]
    assert len(webhook.told) == 1 and not webhook.answers


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (f"http://127.0.0.1:9/{KEY}", "127.0.0.1 does not answer (ConnectionRefusedError)"),
        (f"http://127.0.0.1:9/{KEY} x", "127.0.0.1 does not answer (InvalidURL)"),
        (f"http://somebody:{KEY}@127.0.0.1/", "127.0.0.1 does not answer (InvalidURL)"),
        (f"file:///tmp/{KEY}", "its secret holds no URL"),
        (f"127.0.0.1/{KEY}", "its secret holds no URL"),
        (f"https://[::1/{KEY}", "its secret holds no URL"),
    ],
)
def test_a_webhook_that_cannot_be_told_changes_nothing_of_the_failure(url: str, fault: str) -> None:
    status, said = ended(url, "raise InputError('wrong')")
    assert (status, said.splitlines()[1]) == (2, "datum: wrong")
    assert fault in said.splitlines()[2]


def test_a_redirect_is_not_followed(webhook: Webhook) -> None:
    with Webhook() as other:
        for status in (302, 307, 308):
            webhook.answers, webhook.location = [status], other.url
            _, said = ended(webhook.url, "raise InputError('wrong')")
            assert f"127.0.0.1 answers {status}, so it was not told" in said
        assert not other.asked.is_set() and not webhook.told


def test_a_stop_while_the_webhook_does_not_answer_ends_the_task_at_once_with_its_own_status(
    webhook: Webhook,
) -> None:
    webhook.answers = [0]
    with started(webhook.url, "raise InputError('wrong')") as process:
        assert webhook.asked.wait(30)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 2 and time.monotonic() - began < 5


def test_the_report_says_its_scores_and_where_it_lies(
    webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"s3://bucket/datum/reports/{RUN}"
    for name, value in ((WEBHOOK, f"{webhook.url}\n"), (RUN_ID, RUN), (TASK, "report")):
        monkeypatch.setenv(name, value)
    # Also a report that cannot be read back fails no task.
    tell_report(tmp_path, place)
    assert not webhook.told
    methods = [{"name": "DATUM + DAFormer"}]
    median = {"seed": 2, "miou": 57.254, "file": "median_checkpoint/best.safetensors", "sha256": "ab" * 32}
    about = {"data": "GTA → Cityscapes", "methods": methods, "median_checkpoint": median}
    write_figures(tmp_path, about)
    tell_report(tmp_path, place)
    (message,) = webhook.told
    scores = "DATUM + DAFormer, GTA → Cityscapes: mIoU 57.25 (median seed 2)"
    assert message["text"] == f"datum run {RUN}: its report is published at {place}: {scores}"
    assert (message["status"], message["task"], message["report"]) == (0, "report", place)
    assert (message["miou"], message["seed"]) == (57.254, 2)
    assert KEY not in capsys.readouterr().err
