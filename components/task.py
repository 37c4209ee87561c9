"""What every KFP component shares: where a task builds its output, what it reaches, and how it fails.

Components run in images that hold one stage's dependencies, so nothing heavy is imported here.
"""

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from components.webhook import tell
from datum.errors import InputError, TemporaryFaultError, exit_status, explained, one_line, shortened
from datum.patience import begin_again
from datum.provenance import IMAGE
from datum.stopping import stop_asked

RUNNER = "DATUM_RUNNER"
"""Environment variable with the process id of the `datum run` that a task belongs to and ends with."""

STOP_FILE = "DATUM_STOP_FILE"
"""Environment variable that names the file which `datum run` makes to have its tasks stop."""

SCRATCH = "DATUM_SCRATCH"
"""Environment variable that names the folder that data sets and models are fetched to; `/scratch`, which the
pipelines mount, where it is not set."""

RUN_ID = "DATUM_RUN_ID"
"""Environment variable with the id of the pipeline run, on a cluster."""

ACCOUNT, WANTED_ACCOUNT = "DATUM_SERVICE_ACCOUNT", "DATUM_WANTED_SERVICE_ACCOUNT"
"""Environment variables of a run's first task: its service account, and that of the installation."""

TASK = "DATUM_TASK"
"""Environment variable with the task's name as a person reads it, where a webhook is told of it."""


@contextlib.contextmanager
def task(
    artifact: str,
    workspace: str,
    name: str,
    *,
    installation: Mapping[str, str] | None = None,
    image: str = "",
) -> Iterator[Path]:
    """Yields the path that a task builds its output at, and makes the artifact's path lead there.

    On a cluster `workspace` is empty and the output is built at the artifact's own path. On one machine
    it is built at `<workspace>/<name>`, which stays the same from run to run, so that a run started again
    finds what is finished; a file beside the artifact's path says where that is (see `located`).

    `installation` is what `components.installation` says, for a task that reaches the store; `image` is the
    container image that the task runs in, for the provenance of its output.
    """
    if image:
        os.environ[IMAGE] = image
    with failing_with_status(installation):
        if not workspace:
            yield Path(artifact)
            return
        output = Path(workspace) / name
        output.parent.mkdir(parents=True, exist_ok=True)
        yield output
        place = _place_file(artifact)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(str(output.resolve()), encoding="utf-8")


def located(artifact: str) -> Path:
    """Where the content of an input artifact lies: at its own path, or where the `task` that made it says.

    No link: not every disk has links, and a message names the user's own folder.
    """
    place = _place_file(artifact)
    return Path(place.read_text(encoding="utf-8")) if place.exists() else Path(artifact)


def _place_file(artifact: str) -> Path:
    return Path(f"{artifact}.place")


@contextlib.contextmanager
def failing_with_status(installation: Mapping[str, str] | None = None) -> Iterator[None]:
    """Ends a failing task with the exit status of `datum.errors`; a fault that may pass is lived through
    first, by beginning again, while the task's patience lasts.

    A webhook, if one is set, is told of the failure; of a stop it is not, since KFP tries the task again.
    """
    failure: Exception | None = None
    if endpoint := (installation or {}).get("store_endpoint"):
        os.environ["S3_ENDPOINT"] = endpoint
    try:
        with exit_status():
            if runner := os.environ.get(RUNNER):
                stop_file = Path(os.environ[STOP_FILE])
                threading.Thread(target=_end_with, args=(int(runner), stop_file), daemon=True).start()
            try:
                yield
            except Exception as error:
                fault = explained(error)
                if isinstance(fault, TemporaryFaultError):
                    begin_again(fault)
                failure = fault or error
                raise
    except SystemExit as end:
        if failure and not stop_asked():
            _tell_failure(failure, end.code)
        raise
    except Exception as error:
        traceback.print_exc()
        _tell_failure(error, 1)
        raise SystemExit(1) from None


def scratch() -> Path:
    """The folder that data sets and models are fetched to."""
    return Path(os.environ.get(SCRATCH, "/scratch"))


def own_state(state: str, resume_from: str) -> str | None:
    """URI below which a task of this run keeps what it resumes from; None where no `state` is kept.

    A retried task is of the same run and finds its state there. `resume_from` names earlier runs: what this
    one has not kept yet is read from the place of the first of them that has, to which nothing is written,
    since it may be at work still. Raises `InputError` for an id that is none.
    """
    from datum.store import require_place, require_run_id, run_ids, succeed

    earlier, run_id = run_ids("resume_from", resume_from), os.environ.get(RUN_ID, "")
    if run_id:
        require_run_id(RUN_ID, run_id)
    if not state or not run_id:
        return None
    require_place(state)
    root = state.rstrip("/")
    succeed(f"{root}/{run_id}", [f"{root}/{other}" for other in earlier if other != run_id])
    return f"{root}/{run_id}"


def publish_report(folder: Path, reports: str, model_registry: str = "") -> str:
    """Copies a report to below `<reports>/<run id>/`, where `datum submit` and `datum runs` find it, whole or
    not at all, and registers its median checkpoint at the URL `model_registry`, if one is given. Returns the
    URI of that place."""
    from datum.formats.published_report import publish_report_at
    from datum.reporting.model_registry import register_median
    from datum.store import require_run_id

    run_id = os.environ[RUN_ID]
    require_run_id(RUN_ID, run_id)
    place = f"{reports.rstrip('/')}/{run_id}"
    publish_report_at(place, folder)
    if model_registry:
        register_median(model_registry, folder, place, run_id)
    return place


def tell_report(folder: Path, place: str) -> None:
    """Tells the webhook, if one is set, what the report in `folder`, published at the URI `place`, found."""
    from datum.formats.report_figures import read_figures

    def message() -> dict[str, object]:
        figures = read_figures(folder)
        ours, median = figures["methods"][0], figures["median_checkpoint"]
        scores = (
            f"{ours['name']}, {figures['data']}: mIoU {median['miou']:.2f} (median seed {median['seed']})"
        )
        return {
            **_message(f"its report is published at {place}: {scores}"),
            "status": 0,
            "report": place,
            "miou": median["miou"],
            "seed": median["seed"],
        }

    tell(message)


def _tell_failure(error: Exception, status: object) -> None:
    def message() -> dict[str, object]:
        kind = "" if isinstance(error, (InputError, TemporaryFaultError)) else f"{type(error).__name__}: "
        reason = one_line(shortened(f"{kind}{error}", 1000))
        about = _message(f"the task '{os.environ.get(TASK, '')}' failed: {reason}")
        about["text"] += f"; see `datum runs {about['run']}`"
        return {**about, "status": status, "reason": reason}

    tell(message)


def _message(news: str) -> dict[str, str]:
    """What every message says; chats show its `text`."""
    run = os.environ.get(RUN_ID, "")
    return {"text": f"datum run {run}: {news}", "run": run, "task": os.environ.get(TASK, "")}


def remove_state(state: str, resume_from: str) -> None:
    """Removes what the tasks of this run kept to resume from, for when the run has all its results.

    A run of the paper's size leaves some 45 GB per seed: checkpoints, optimizers, drawn images. What the runs
    named `resume_from` kept is their own and stays, as that of every run without a report.
    """
    from datum.store import open_store, run_ids
    from datum.telemetry import log

    place = own_state(state, resume_from)
    if place:
        log(f"{place}: removed {open_store(place).delete_all()} files of state")
        for earlier in run_ids("resume_from", resume_from):
            if earlier != os.environ[RUN_ID]:
                log(f"{state.rstrip('/')}/{earlier}: the state of that run stays; remove it if none needs it")


def _end_with(runner: int, stop_file: Path) -> None:
    """Ends this process with the process `runner`: as SIGTERM does where it asks for it, at once where it is
    gone, so that the next run finds nobody at work."""
    asked = False
    while _is_running(runner):
        if stop_file.exists() and not asked:
            asked = True
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
    os._exit(1)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
