"""What a run's tasks have written: the logs of their pods, else what KFP has kept of them."""

import re
import time
from collections.abc import Iterable, Iterator

from datum.cluster.kubernetes_access import UnreadableError
from datum.cluster.run_view import RunView
from datum.cluster.watched import Task
from datum.cluster.workflow import Node
from datum.errors import InputError, TemporaryFaultError
from datum.telemetry import log

LAST_LINES = 10
"""Lines of a failed task that are shown where nobody asked for its log."""
MOST_SHOWN = 4
"""Failed tasks whose last lines are shown; others fail for the same reason more often than not."""
TAIL = 200
"""Lines that are read for them: KFP's launcher and Argo add their own after the task's."""
FOLLOW_SECONDS = 3.0
"""Time between two looks for the next try of a task that is followed."""
_OF_THE_PLATFORM = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \w+\.go:\d+\]|time=\S+ level=")
"""How lines of KFP's launcher (glog) and of Argo's emissary begin."""
_COMPLAINT = re.compile(r"(?:[EF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \w+\.go:\d+\] |ERROR:? )(.+)")
"""A line in which KFP's driver says what failed; what follows it are stacks."""
_DUMP = re.compile(r"I\d{4} .*\{$")
"""Opens a dump of JSON, whose last line is a brace alone: KFP's driver and launcher write what they were
given."""


class TaskLogs:
    """Reads the logs of one run's pods."""

    def __init__(self, view: RunView) -> None:
        self._view = view

    def lines(self, pod: str, *, tail: int | None = None) -> Iterator[str]:
        """What the task in a pod has written, its last `tail` lines alone if given.

        Raises `UnreadableError` where neither Kubernetes nor KFP has it.
        """
        trouble = "its pod is gone"
        if kubernetes := self._view.kubernetes:
            try:
                lines = kubernetes.log(pod, tail=tail)
                if lines is not None:
                    return lines
            except UnreadableError as error:
                trouble = str(error)
        try:
            kept = self._view.kfp.log(self._view.run_id, pod)
        except InputError as error:
            raise UnreadableError(f"{trouble}; {error}") from None
        if kept is None:
            if "Initializing" in trouble or "ContainerCreating" in trouble:
                raise UnreadableError("its container has not started yet; --follow waits for it")
            raise UnreadableError(f"{trouble}, and KFP has kept no log of it")
        return iter(kept if tail is None else kept[-tail:])

    def follow(self, pod: str) -> Iterator[str]:
        """What the task in a pod has written, and writes until it ends; what KFP has kept does not grow."""
        lines = self._view.kubernetes.log(pod, follow=True) if self._view.kubernetes else None
        return self.lines(pod) if lines is None else lines

    def last_lines(self, attempt: Node) -> list[str]:
        """The last lines that the task itself has written; of a driver, those that say what failed."""
        lines = list(without_dumps(self.lines(attempt.pod, tail=None if attempt.is_driver else TAIL)))
        if attempt.is_driver and (
            complaints := [found[1] for found in map(_COMPLAINT.match, lines) if found]
        ):
            return complaints[-LAST_LINES:]
        own = [line for line in lines if not _OF_THE_PLATFORM.match(line)]
        return [line for line in own if line.strip()][-LAST_LINES:]


def without_dumps(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a log without the JSON that KFP dumps into it, of which the first line stays, closed."""
    dumped = False
    for line in lines:
        if dumped:
            dumped = not line.startswith("}")
        elif dumped := bool(_DUMP.match(line)):
            yield f"{line} … }}"
        else:
            yield line


def show_failures(view: RunView) -> None:
    """Prints on standard error why each failed task failed: Argo's message, and its own last lines."""
    seen = view.watched.seen
    failed = [(task.name, task.key) for task in view.watched.tasks if task.state == "failed"]
    logs = TaskLogs(view)
    if not failed and (driver := seen.task("root-driver")) and driver.state == "FAILED":
        _show_failure(logs, view.watched.name, seen.tries("root") or [driver])
    for name, key in failed[:MOST_SHOWN]:
        if tries := seen.tries(key):
            _show_failure(logs, name, tries)
    if failed:
        more = f"{len(failed) - MOST_SHOWN} more tasks failed; " if len(failed) > MOST_SHOWN else ""
        log(f"{more}whole logs: datum runs {view.run_id} --logs TASK")


def _show_failure(logs: TaskLogs, name: str, tries: list[Node]) -> None:
    count = f" (try {len(tries)})" if len(tries) > 1 else ""
    why = tries[-1].message or "failed"
    if tries[-1].is_driver:
        why = f"failed in KFP's driver, before the task began ({why})"
    log(f"{name}{count}: {why}")
    try:
        for line in logs.last_lines(tries[-1]):
            log(f"  {line}")
    except (UnreadableError, TemporaryFaultError) as error:
        log(f"  its log cannot be shown: {error}")


def print_logs(view: RunView, name: str, *, follow: bool) -> None:
    """Prints the logs of the tasks that `name` names, all their tries; without a name, of those that failed,
    else of those at work. With `follow`, of one task until it has ended, each try as it comes.

    Raises `InputError` where there is no such task, or nothing to show.
    """
    view.look()
    tasks, logs = _chosen(view.watched.tasks, name), TaskLogs(view)
    if follow:
        if len(tasks) > 1:
            raise InputError(
                f"--follow: takes one task, found {_named(tasks)}; name one of them after --logs"
            )
        _follow(view, tasks[0], logs)
        return
    unread = [_print_tries(logs, task, view.watched.seen.tries(task.key)) for task in tasks]
    if all(unread):
        raise InputError(f"run {view.run_id}: {unread[0]}; see {view.watched.page}")


def _chosen(tasks: list[Task], name: str) -> list[Task]:
    """The tasks whose names contain the words of `name`; a whole name means that task alone."""
    words = _words(name)
    if not words:
        for state in ("failed", "running"):
            if found := [task for task in tasks if task.state == state]:
                return found
        raise InputError(f"--logs: no task has failed or is at work; name one of {_named(tasks)}")
    exact = [task for task in tasks if words == _words(task.name)]
    found = exact or [task for task in tasks if f" {words} " in f" {_words(task.name)} "]
    if not found:
        raise InputError(f"--logs {name}: no such task, expected one of {_named(tasks)}")
    return found


def _words(name: str) -> str:
    """A name as people type it: `seed 2 · adapt` is `seed 2 adapt` too."""
    return " ".join(re.findall(r"\w+", name.lower()))


def _named(tasks: list[Task]) -> str:
    return ", ".join(repr(task.name) for task in tasks) or "none: the run has no tasks yet"


def _print_tries(logs: TaskLogs, task: Task, tries: list[Node]) -> str:
    """Prints all tries of a task; returns why none of them could be shown, else nothing."""
    trouble = f"{task.name!r}: {task.state}; no pod of it is known"
    shown = False
    for number, attempt in enumerate(tries, start=1):
        _print_heading(task, number, attempt)
        try:
            for line in without_dumps(logs.lines(attempt.pod)):
                print(line)
            shown = True
        except UnreadableError as error:
            trouble = f"{task.name!r}: {error}"
            print(f"(not to be had: {error})")
    return "" if shown else trouble


def _print_heading(task: Task, number: int, attempt: Node) -> None:
    ended = attempt.state.lower() + (f": {attempt.message}" if attempt.message else "")
    print(f"== {task.name}, try {number}, {ended}", flush=True)


def _follow(view: RunView, task: Task, logs: TaskLogs) -> None:
    """Prints each try of a task as it writes, until the task or the run has ended."""
    shown: list[str] = []
    said = ""
    while True:
        ended = view.watched.final or task.state in ("succeeded", "failed", "skipped", "left out")
        tries = [attempt for attempt in view.watched.seen.tries(task.key) if attempt.state != "PENDING"]
        for attempt in tries:
            if attempt.pod in shown:
                continue
            try:
                lines = logs.follow(attempt.pod)
            except UnreadableError as error:
                if attempt.state == "RUNNING" and not ended:
                    # To Argo a pod is at work before its containers have been started.
                    if said != str(error):
                        said = str(error)
                        log(f"{task.name}: {said}; waiting")
                    break
                lines = iter([f"(not to be had: {error})"])
            shown.append(attempt.pod)
            _print_heading(task, len(shown), attempt)
            for line in without_dumps(lines):
                print(line, flush=True)
        if ended:
            return
        time.sleep(FOLLOW_SECONDS)
        view.look()
