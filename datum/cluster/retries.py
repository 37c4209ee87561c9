"""Trying again what failed of a run: by KFP's own means, or by a new run where those would fail again."""

import contextlib
import re
from typing import Any

from datum.cluster.kubernetes_access import UnreadableError
from datum.cluster.run_arguments import parameter_types
from datum.cluster.run_view import RunView
from datum.cluster.start import start_run
from datum.cluster.task_logs import TAIL, TaskLogs
from datum.cluster.watched import FINAL, STATES
from datum.errors import InputError, TemporaryFaultError
from pipelines.form_defaults import RESUME_FROM

_RECORDED_TWICE = re.compile(r'main\.go:\d+\] KFP driver: .*two tasks have the same task name "')
"""How a driver ends that found a task recorded twice (KFP 2.15 to 2.17, backend/src/v2:
cmd/driver/main.go and metadata/client.go): a driver was lost after it had recorded its task, and the next one
recorded it again."""


def try_again(view: RunView) -> str:
    """Goes on with a run that has failed or was terminated; returns the id of the run that does.

    KFP goes on with the run itself: tasks that succeeded keep their results, the others start again, and
    stages go on from the state that they have saved. Where KFP has recorded a task twice, all drivers of the
    run would fail again: then a new run of the same version with the same parameters goes on from its state.

    Raises `InputError` for a run that has not failed, and where KFP refuses.
    """
    kfp, run = view.kfp, view.run()
    if run.state not in ("FAILED", "CANCELED"):
        raise InputError(
            f"run {run.run_id}: found it {STATES.get(run.state, 'pending')}, expected one that has failed"
        )
    if _is_recorded_twice(view):
        return _begin_anew(view, run)

    def find() -> Any:
        now = kfp.read(kfp.runs.get_run, run_id=run.run_id)
        return None if now.state in FINAL else now

    # KFP refuses to try a run again that is at work, but may say so of a request that was lost on its way.
    kfp.create(kfp.runs.retry_run, find, unique=False, run_id=run.run_id)
    return str(run.run_id)


def _is_recorded_twice(view: RunView) -> bool:
    """Whether a driver of the run says so in its log; what cannot be read says nothing."""
    logs = TaskLogs(view)
    drivers = [
        attempt.pod
        for task in view.watched.tasks
        if task.state == "failed"
        for attempt in view.watched.seen.tries(task.key)
        if attempt.is_driver
    ]
    for pod in drivers:
        with contextlib.suppress(UnreadableError, TemporaryFaultError):
            if any(map(_RECORDED_TWICE.search, logs.lines(pod, tail=TAIL))):
                return True
    return False


def _begin_anew(view: RunView, run: Any) -> str:
    """Starts the same again as another run, which reads the state of `run`, and prints its id and page."""
    import kfp_server_api as api

    kfp, config = view.kfp, run.runtime_config
    values = dict(config.parameters or {}) if config else {}
    if RESUME_FROM in parameter_types(view.spec):
        # What the run itself has not come to may have been begun by the one that it went on from.
        values[RESUME_FROM] = ",".join(filter(None, (run.run_id, values.get(RESUME_FROM))))
    request = {
        "pipeline_version_reference": run.pipeline_version_reference,
        "pipeline_spec": run.pipeline_spec,
        "experiment_id": run.experiment_id,
        "service_account": run.service_account,
        "runtime_config": api.V2beta1RuntimeConfig(
            parameters=values, pipeline_root=(config and config.pipeline_root) or None
        ),
    }
    new = start_run(kfp, run.display_name, request, note=f"goes on from run {run.run_id}; ")
    print(
        f"{new.run_id}  {kfp.page(f'runs/details/{new.run_id}')}  goes on from {run.run_id}, of which KFP "
        "has recorded a task twice and can run no more",
        flush=True,
    )
    return str(new.run_id)
