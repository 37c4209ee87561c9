"""What every KFP component shares: where a task builds its output, what it reaches, and how it fails.

Components run in images that hold one stage's dependencies, so nothing heavy is imported here.
"""

import contextlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from datum.errors import exit_status

STATUS_FILE = "DATUM_TASK_STATUS_FILE"
"""Environment variable that names the file a failing task leaves its exit status in.

kfp.local says only that a task failed; `datum run` sets this to end with the task's own status."""

SCRATCH = "DATUM_SCRATCH"
"""Environment variable that names the folder that data sets and models are fetched to; `/scratch`, which the
pipelines mount, where it is not set."""

RUN_ID = "DATUM_RUN_ID"
"""Environment variable with the id of the pipeline run, on a cluster."""


@contextlib.contextmanager
def task(artifact: str, workspace: str, name: str, store_endpoint: str = "") -> Iterator[Path]:
    """Yields the path that a task builds its output at, and makes the artifact's path lead there.

    On a cluster `workspace` is empty and the output is built at the artifact's own path. On one machine
    it is built at `<workspace>/<name>`, which stays the same from run to run, so that a run started again
    finds what is finished; the artifact's path becomes a link to it.

    `store_endpoint` is the S3 endpoint that `s3://` URIs lead to, if the task reads or writes any.
    """
    with failing_with_status(store_endpoint):
        if not workspace:
            yield Path(artifact)
            return
        output = Path(workspace) / name
        output.parent.mkdir(parents=True, exist_ok=True)
        yield output
        link = Path(artifact)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(output.resolve())


@contextlib.contextmanager
def failing_with_status(store_endpoint: str = "") -> Iterator[None]:
    """Ends a failing task with the exit status of `datum.errors`, kept in the status file if one is named."""
    if store_endpoint:
        os.environ["S3_ENDPOINT"] = store_endpoint
    try:
        with exit_status():
            yield
    except SystemExit as end:
        _keep_status(end.code)
        raise
    except Exception:
        traceback.print_exc()
        _keep_status(1)
        raise SystemExit(1) from None


def scratch() -> Path:
    """The folder that data sets and models are fetched to."""
    return Path(os.environ.get(SCRATCH, "/scratch"))


def own_state(state: str, resume_from: str) -> str | None:
    """URI below which a task of this run keeps what it resumes from; None where no `state` is kept.

    A retried task is of the same run and finds its state there. `resume_from` names an earlier run whose
    state is taken over.
    """
    run_id = resume_from or os.environ.get(RUN_ID, "")
    return f"{state.rstrip('/')}/{run_id}" if state and run_id else None


def publish_report(folder: Path, reports: str) -> None:
    """Copies a report to `<reports>/<run id>/`, where `datum submit` and `datum runs` find it.

    `report.json` goes last: with it there, all is there.
    """
    from datum.formats.report_figures import REPORT_FIGURES
    from datum.store import open_store, put_folder

    place = f"{reports.rstrip('/')}/{os.environ[RUN_ID]}"
    put_folder(open_store(place), folder, last=REPORT_FIGURES)


def remove_state(state: str, resume_from: str) -> None:
    """Removes what the tasks of this run kept to resume from, for when the run has all its results.

    A run of the paper's size leaves some 45 GB per seed: checkpoints, optimizers, drawn images.
    """
    from datum.store import open_store

    place = own_state(state, resume_from)
    if place:
        store = open_store(place)
        for key in store.list():
            store.delete(key)


def _keep_status(code: object) -> None:
    file = os.environ.get(STATUS_FILE)
    if file:
        Path(file).write_text(str(code), encoding="utf-8")
