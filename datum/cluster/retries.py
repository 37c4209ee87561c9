"""Trying again what failed of a run, by KFP's own means."""

from typing import Any

from datum.cluster.client import Kfp
from datum.cluster.watched import FINAL, STATES
from datum.errors import InputError


def retry(kfp: Kfp, run: Any) -> None:
    """Has KFP go on with a run that has failed or was terminated: tasks that succeeded keep their results,
    the others start again, and stages go on from the state that they have saved.

    Raises `InputError` for a run that has not failed, and where KFP refuses.
    """
    if run.state not in ("FAILED", "CANCELED"):
        raise InputError(
            f"run {run.run_id}: found it {STATES.get(run.state, 'pending')}, expected one that has failed"
        )

    def find() -> Any:
        now = kfp.read(kfp.runs.get_run, run_id=run.run_id)
        return None if now.state in FINAL else now

    # KFP refuses to try a run again that is at work, but may say so of a request that was lost on its way.
    kfp.create(kfp.runs.retry_run, find, unique=False, run_id=run.run_id)
