"""What every KFP component shares: where a task builds its output, and how it fails.

Components run in images that hold one stage's dependencies, so nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from datum.errors import exit_status

STATUS_FILE = "DATUM_TASK_STATUS_FILE"
"""Environment variable that names the file a failing task leaves its exit status in.

kfp.local says only that a task failed; `datum run` sets this to end with the task's own status."""


@contextlib.contextmanager
def task(artifact: str, workspace: str, name: str) -> Iterator[Path]:
    """Yields the path that a task builds its output at, and makes the artifact's path lead there.

    On a cluster `workspace` is empty and the output is built at the artifact's own path. On one machine
    it is built at `<workspace>/<name>`, which stays the same from run to run, so that a run started again
    finds what is finished; the artifact's path becomes a link to it.
    """
    with failing_with_status():
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
def failing_with_status() -> Iterator[None]:
    """Ends a failing task with the exit status of `datum.errors`, kept in the status file if one is named."""
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


def _keep_status(code: object) -> None:
    file = os.environ.get(STATUS_FILE)
    if file:
        Path(file).write_text(str(code), encoding="utf-8")
