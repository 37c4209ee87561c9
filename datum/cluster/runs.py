"""The runs of the settings' experiment, and one of them."""

import os
import sys
import threading
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datum.cluster.client import Kfp
from datum.cluster.kubernetes_access import KubernetesAccess, UnreadableError
from datum.cluster.port_forward import forwarded
from datum.cluster.published import published_miou, require_fetchable
from datum.cluster.retries import try_again
from datum.cluster.run_view import RunView, get_run
from datum.cluster.settings import ClusterSettings
from datum.cluster.submit import latest_runs
from datum.cluster.table import print_table
from datum.cluster.task_logs import print_logs
from datum.cluster.watch import finish
from datum.cluster.watched import FINAL, STATES
from datum.errors import InputError
from datum.stopping import Stopped
from datum.telemetry import duration, log

UI_SERVICE, UI_PORT = "ml-pipeline-ui", 80
"""KFP's web interface."""
LENGTH_OF_ID = 36
"""Characters of a run's id, a UUID."""
MOST_LOOKED_UP = 200
"""Latest runs among which the beginning of an id is looked for; KFP's largest page."""


def list_runs(settings: ClusterSettings, limit: int) -> None:
    """Prints the `limit` latest runs, with the mIoU of those that have published a report."""
    kfp = Kfp(settings)
    runs = latest_runs(kfp, limit)
    if not runs:
        log("no runs; `datum submit` starts one")
        return
    miou = published_miou(settings, [run.run_id for run in runs if run.state == "SUCCEEDED"])
    heading = ("NAME", "STATE", "STARTED", "DURATION", "mIoU (median)", "ID", "URL")
    print_table(heading, [_row(kfp, run, miou) for run in runs])
    kfp.show_hint()


def whole_id(kfp: Kfp, text: str) -> str:
    """The id of the latest run whose id begins with `text`; a whole id is not looked up.

    Raises `InputError` where none of the latest begins so, or several do.
    """
    if len(text) >= LENGTH_OF_ID:
        return text
    found = [run.run_id for run in latest_runs(kfp, MOST_LOOKED_UP) if run.run_id.startswith(text)]
    if len(found) != 1:
        many = f"{len(found)} runs begin with {text}" if found else f"no run {text}"
        raise InputError(f"{many}; `datum runs` lists them")
    return str(found[0])


def show_run(settings: ClusterSettings, run_id: str, output: Path | None) -> None:
    """Shows a run until it ends, and fetches its report into `output`, as `datum submit --wait` does."""
    if output:
        require_fetchable(settings, output)
    kfp = Kfp(settings)
    finish(kfp, whole_id(kfp, run_id), output)


def show_logs(settings: ClusterSettings, run_id: str, task: str, *, follow: bool) -> None:
    """Prints the logs of a run's tasks, as `print_logs` says."""
    kfp = Kfp(settings)
    print_logs(RunView(kfp, whole_id(kfp, run_id)), task, follow=follow)


def terminate_run(settings: ClusterSettings, run_id: str) -> None:
    """Ends a run at work: its pods are told to stop, and what tasks have saved stays.

    Raises `InputError` where it has ended already.
    """
    kfp = Kfp(settings)
    run_id = whole_id(kfp, run_id)
    run = get_run(kfp, run_id)
    if run.state in FINAL:
        raise InputError(f"run {run_id}: found it {STATES[run.state]}, expected one that is at work")

    def find() -> Any:
        now = kfp.read(kfp.runs.get_run, run_id=run_id)
        return now if now.state in FINAL or now.state == "CANCELING" else None

    kfp.create(kfp.runs.terminate_run, find, unique=False, run_id=run_id)
    print(f"{run.display_name}: is being terminated; see datum runs {run_id}")


def retry_run(settings: ClusterSettings, run_id: str) -> None:
    """Has what failed of a run tried again, as `try_again` says."""
    kfp = Kfp(settings)
    run_id = whole_id(kfp, run_id)
    view = RunView(kfp, run_id)
    view.look()
    if try_again(view) == run_id:
        print(f"{view.watched.name}: goes on; see datum runs {run_id}")


def open_page(settings: ClusterSettings, run_id: str) -> None:
    """Prints the URL of a run's page, and opens it where there is a browser.

    Without `kfp_host` KFP's web interface is served on this machine until Ctrl-C.
    """
    kfp = Kfp(settings)
    run_id = whole_id(kfp, run_id)
    get_run(kfp, run_id)
    page = kfp.page(f"runs/details/{run_id}")
    if settings.kfp_host:
        _open_browser(page)
        return
    kubernetes = KubernetesAccess.find(settings)
    if kubernetes is None:
        raise InputError("--open: found no usable kubeconfig; set kfp_host or KUBECONFIG")
    try:
        with forwarded(kubernetes, settings.kfp_namespace, UI_SERVICE, UI_PORT) as port:
            _open_browser(page.replace("localhost:8080", f"localhost:{port}"))
            log("served until Ctrl-C")
            threading.Event().wait()
    except UnreadableError as error:
        raise error.fault(f"--open: {error}") from None
    except (KeyboardInterrupt, Stopped):
        # It is served until somebody ends it.
        return


def _open_browser(page: str) -> None:
    print(page, flush=True)
    # Without a display Python would take over the terminal with a text browser, which shows nothing of KFP's.
    if sys.platform in ("darwin", "win32") or any(
        map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    ):
        webbrowser.open(page)


def _row(kfp: Kfp, run: Any, miou: dict[str, str]) -> tuple[str, ...]:
    end = run.finished_at if run.state in FINAL else datetime.now(UTC)
    return (
        run.display_name,
        STATES.get(run.state, "pending"),
        f"{run.created_at.astimezone():%Y-%m-%d %H:%M}",
        duration((end - run.created_at).total_seconds()),
        miou.get(run.run_id, "–"),
        run.run_id,
        kfp.page(f"runs/details/{run.run_id}"),
    )
