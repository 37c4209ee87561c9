"""A run, watched until it ends: live on a terminal, line by line in a log."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from datum.cluster.client import Kfp
from datum.cluster.live import live_view
from datum.cluster.published import fetch_report
from datum.cluster.retries import try_again
from datum.cluster.run_view import RunView
from datum.cluster.task_logs import show_failures
from datum.cluster.watched import STATES, Watched
from datum.errors import BAD_INPUT, INTERRUPTED, TEMPORARY_FAULT, InputError, TemporaryFaultError
from datum.telemetry import duration, log

POLL_SECONDS = 3.0
"""Time between two looks at a run."""
PATIENCE = 600.0
"""Seconds for which KFP may be out of reach before watching ends: an upgrade of KFP takes minutes."""
CHECK_TASK = "check parameters"
"""Task that refuses parameters; where it fails, the input was wrong."""


def finish(kfp: Kfp, run_id: str, output: Path | None, retries: int = 0) -> None:
    """Shows the run until it ends, then fetches its report into `output`, if one is named.

    A run that fails is tried again up to `retries` times, as `try_again` says. Ends the process where it
    still fails: status 2 if its parameters were refused, else 1. Interrupting it from the keyboard leaves the
    run alone.
    """
    for tries_left in reversed(range(retries + 1)):
        again = f"datum runs {run_id}" + (f" --output {output}" if output else "")
        with _leaving_alone(again):
            view = watch(kfp, run_id)
            watched = view.watched
            if watched.state == "FAILED" and not watched.seen.terminated:
                show_failures(view)
            # What was refused or terminated by a person would end the same way.
            ended = watched.seen.terminated or _is_refused(watched)
            if watched.state != "FAILED" or ended or not tries_left:
                break
            log(f"datum: {_failure(watched)}; trying again, {tries_left} of {retries} tries left")
            try:
                run_id = try_again(view)
            except (InputError, TemporaryFaultError) as error:
                log(f"datum: it could not be tried again: {error}")
                break
    if watched.state != "SUCCEEDED":
        log(f"datum: {_failure(watched)}")
        sys.exit(BAD_INPUT if _is_refused(watched) else 1)
    if output:
        try:
            fetch_report(kfp.settings, run_id, output)
        except TemporaryFaultError as error:
            log(f"datum: {error}; try again with: {again}")
            sys.exit(TEMPORARY_FAULT)
        print(output / "report.html")


@contextlib.contextmanager
def _leaving_alone(again: str) -> Iterator[None]:
    """Ends the process, and not the run, where somebody interrupts it or KFP stays away; `again` is the
    command that looks again."""
    try:
        yield
    except KeyboardInterrupt:
        log(f"datum: interrupted; the run goes on; look again with: {again}")
        sys.exit(INTERRUPTED)
    except TemporaryFaultError as error:
        log(f"datum: {error}; the run goes on; look again with: {again}")
        sys.exit(TEMPORARY_FAULT)


def _is_refused(watched: Watched) -> bool:
    return any(task.name == CHECK_TASK and task.state == "failed" for task in watched.tasks)


def watch(kfp: Kfp, run_id: str) -> RunView:
    """Shows the run on standard error until it ends; returns it as it was then.

    Raises `TemporaryFaultError` where KFP stays out of reach for `PATIENCE` seconds.
    """
    view = _when_it_answers(lambda: RunView(kfp, run_id))
    watched = view.watched
    if sys.stderr.isatty():
        with live_view(watched):
            _follow(view.look, watched, lambda: None)
    else:
        seen: dict[str, str] = {}
        _follow(view.look, watched, lambda: _show_changes(watched, seen))
    if watched.state == "SUCCEEDED":
        log(f"{watched.name}: succeeded after {duration(watched.seconds())}")
    return view


def _when_it_answers(ask: Callable[[], RunView]) -> RunView:
    """What `ask` returns, as soon as KFP is not out of reach."""
    begun = time.monotonic()
    while True:
        try:
            return ask()
        except TemporaryFaultError as error:
            if time.monotonic() - begun > PATIENCE:
                raise
            log(f"{error}; asking again")
            time.sleep(POLL_SECONDS)


def _follow(look: Callable[[], None], watched: Watched, show: Callable[[], None]) -> None:
    """Looks at the run until it ends, and calls `show` after each `look`."""
    answered = time.monotonic()
    while True:
        try:
            look()
        except TemporaryFaultError as error:
            watched.trouble = str(error)
            if time.monotonic() - answered > PATIENCE:
                raise
        else:
            watched.trouble, answered = "", time.monotonic()
            show()
        if watched.final:
            return
        time.sleep(POLL_SECONDS)


def _show_changes(watched: Watched, seen: dict[str, str]) -> None:
    """One line for each task that has come to another state since it was `seen`."""
    for task in watched.tasks:
        if task.state != seen.get(task.key, "waiting"):
            seen[task.key] = task.state
            after = f" after {duration(task.seconds())}" if task.ended else ""
            done = f"[{watched.count('succeeded', 'skipped')}/{len(watched.tasks)}]"
            log(f"{datetime.now():%H:%M:%S} {done} {task.name}: {task.state}{after}")


def _failure(watched: Watched) -> str:
    """One line: how the run ended, which task failed, where its log is."""
    failed = [repr(task.name) for task in watched.tasks if task.state == "failed"]
    text = f"run {watched.name!r} {STATES[watched.state]} after {duration(watched.seconds())}"
    if watched.seen.terminated:
        return f"{text}: somebody terminated it; --retry goes on with it"
    if not failed:
        return f"{text}; see {watched.page}"
    return (
        f"{text}: the task{'s' * (len(failed) > 1)} {', '.join(failed)} failed; the log is at {watched.page}"
    )
