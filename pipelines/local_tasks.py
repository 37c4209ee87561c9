"""The tasks of a compiled pipeline as processes of this machine: in the order of the seeds, as many at once
as it carries.

kfp.local runs one task at a time, in any order. What a task is given and what it leaves is read and written
by kfp's own code; when it runs and what is shown of it is decided here.
"""

import contextlib
import dataclasses
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.task import RUNNER, STOP_FILE, TASK
from datum.errors import one_line
from datum.processors import PROCESSORS
from datum.stopping import deferred, stop_asked
from datum.telemetry import log
from pipelines.resources import OMP, OPENCV

_REASON = "datum: "
"""Begins the line in which a command says why it failed."""


class TaskFailedError(Exception):
    """A task has failed; the message is one line that names it and says why."""

    def __init__(self, message: str, status: int) -> None:
        """`status` is the exit status of the task."""
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """How a machine is shared."""

    at_once: int
    """Tasks that run at once, at most."""
    threads: int
    """Threads that each computes with. The same at any moment of a run: sums are rounded by how many threads
    share them, so results do not depend on what else was at work."""


def share_of(*, processors: int, memory: int, each: int, most: int, gpu: bool) -> Share:
    """How a machine with so many `processors`, free bytes of `memory` and, or not, a `gpu` is shared by tasks
    of which each takes `each` bytes, and no more than `most` could run at once.

    On a GPU they run one after another: each may take all of its memory.
    """
    wide = 1 if gpu else max(1, min(processors, most))
    return Share(at_once=max(1, min(wide, memory // each)), threads=processors // wide)


Tell = Callable[[str, str, str], None]
"""Is told of a task: its name, its state, and a line that it printed, or nothing."""


def tell_nobody(name: str, state: str, line: str) -> None:
    """Of a run that nobody watches."""


def run_tasks(
    pipeline_spec: Any,
    arguments: Mapping[str, Any],
    share: Share,
    tell: Tell = tell_nobody,
) -> None:
    """Runs all tasks of the pipeline, which has no loops or conditions, with `arguments` for its inputs.

    `tell` is told of each task's name, state (`waiting`, `running`, `done`, `failed`), and of each line that
    it prints; by several threads. Raises `TaskFailedError` for the first task that fails, after the others
    have been asked to stop, and `datum.stopping.Stopped` where this process is asked to.
    """
    with tempfile.TemporaryDirectory(prefix="datum-", ignore_cleanup_errors=True) as scratch:
        stop_file = Path(scratch) / "stop"
        environment = _environment(Path(scratch), stop_file, share)
        run = _Run(pipeline_spec, arguments, Path(scratch), environment, tell)
        with deferred(on_stop=stop_file.touch):
            failure = run.to_the_end(share.at_once, stop_file)
    if failure:
        raise failure


def in_order_of_seeds(dependencies: Mapping[str, list[str]]) -> list[str]:
    """Names of tasks, each after those that it depends on, as early as the task that needs it is told of: a
    report names its runs seed by seed, and kfp numbers tasks of one component as they were made."""
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            for needed in sorted(dependencies[name], key=_number_of_task):
                visit(needed)
            ordered[name] = None

    needed_by_some = {name for needed in dependencies.values() for name in needed}
    for name in sorted(dependencies.keys() - needed_by_some, key=_number_of_task):
        visit(name)
    return list(ordered)


def kind_of_task(name: str) -> str:
    """The component that a task is of: as many tasks as are of one kind may run at once."""
    return _number_of_task(name)[0]


def _number_of_task(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.+?)(?:-(\d+))?", name)
    assert match
    return match[1], int(match[2] or 1)


def _environment(scratch: Path, stop_file: Path, share: Share) -> dict[str, str]:
    """The environment of the tasks."""
    return {
        **os.environ,
        STOP_FILE: str(stop_file),
        RUNNER: str(os.getpid()),
        # The shell keeps the program of each task there, and leaves it behind.
        "TMPDIR": str(scratch),
        # A folder named `datum` where the command runs is not the package.
        "PYTHONSAFEPATH": "1",
        PROCESSORS: str(share.threads),
        OMP: os.environ.get(OMP, str(share.threads)),
        OPENCV: str(share.threads),
    }


class _Run:
    """One run of a pipeline."""

    def __init__(
        self,
        pipeline_spec: Any,
        arguments: Mapping[str, Any],
        scratch: Path,
        environment: Mapping[str, str],
        tell: Tell,
    ) -> None:
        from kfp.local import io, utils
        from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils

        self._tasks, self._components = pipeline_spec.root.dag.tasks, pipeline_spec.components
        self._executors = {
            name: utils.struct_to_executor_spec(executor)
            for name, executor in pipeline_spec.deployment_spec["executors"].items()
        }
        self._values = io.IOStore()
        inputs = OrchestratorUtils.join_user_inputs_and_defaults(
            dict(arguments), pipeline_spec.root.input_definitions
        )
        for name, value in inputs.items():
            self._values.put_parent_input(name, value)
        self._root, self._environment, self._tell = str(scratch / "pipeline"), environment, tell
        dependencies = {name: list(task.dependent_tasks) for name, task in self._tasks.items()}
        self._waiting = {name: dependencies[name] for name in in_order_of_seeds(dependencies)}
        self._done: set[str] = set()
        for name in self._waiting:
            tell(self._name(name), "waiting", "")

    def to_the_end(self, at_once: int, stop_file: Path) -> TaskFailedError | None:
        """Runs the tasks, `at_once` at most; the failure that ended the run, if one did."""
        ended: queue.SimpleQueue[tuple[str, _Outcome]] = queue.SimpleQueue()
        running: dict[str, Any] = {}
        failure, started = None, 0
        while True:
            while not failure and not stop_asked() and len(running) < at_once and (name := self._next()):
                started += 1
                log(f"[{started}/{len(self._tasks)}] {self._name(name)}")
                self._tell(self._name(name), "running", "")
                running[name] = self._start(name, ended)
            if not running:
                return failure
            name, outcome = ended.get()
            given = running.pop(name)
            self._tell(self._name(name), "failed" if outcome.status else "done", outcome.reason)
            if outcome.status == 0:
                self._keep_outputs(name, given)
            elif not failure and not stop_asked():
                failure = outcome.failure(self._name(name))
                # The others save what they have, and end.
                stop_file.touch()

    def _next(self) -> str | None:
        """Takes the first task that can start."""
        for name, needed in self._waiting.items():
            if self._done.issuperset(needed):
                del self._waiting[name]
                return name
        return None

    def _name(self, task: str) -> str:
        """The name that the DAG shows."""
        return self._tasks[task].task_info.name

    def _start(self, name: str, ended: "queue.SimpleQueue[tuple[str, _Outcome]]") -> Any:
        """Starts a task's process, whose end is told to `ended`; what kfp gives it."""
        from kfp.local import executor_input_utils, placeholder_utils
        from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils

        component = self._components[self._tasks[name].component_ref.name]
        given = executor_input_utils.construct_executor_input(
            component_spec=component,
            arguments=OrchestratorUtils.make_task_arguments(self._tasks[name].inputs, self._values),
            task_root=str(Path(self._root) / name),
            block_input_artifact=False,
        )
        container = self._executors[component.executor_label].container
        command = placeholder_utils.replace_placeholders(
            full_command=[*container.command, *container.args],
            executor_input_dict=executor_input_utils.executor_input_to_dict(given, component),
            pipeline_resource_name="run",
            task_resource_name=name,
            pipeline_root=self._root,
            unique_pipeline_id="run",
        )
        process = _started(command, {**self._environment, TASK: self._name(name)})
        threading.Thread(
            target=lambda: ended.put((name, _outcome(process, self._name(name), self._tell))), daemon=True
        ).start()
        return given

    def _keep_outputs(self, name: str, given: Any) -> None:
        from kfp.local import executor_output_utils

        component = self._components[self._tasks[name].component_ref.name]
        for key, value in executor_output_utils.get_outputs_for_task(given, component).items():
            self._values.put_task_output(name, key, value)
        self._done.add(name)


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """How a process ended."""

    status: int
    reason: str
    """What it said of that: as an error, or last."""

    def failure(self, name: str) -> TaskFailedError:
        """What is said of the task `name`."""
        if self.status > 128:  # as a shell says that a signal ended its command
            reason = (
                f"was killed by {signal.Signals(self.status - 128).name}; where memory was short, "
                f"{PROCESSORS}=1 in the environment runs one task at a time"
            )
            return TaskFailedError(f"{name}: {reason}", 1)
        return TaskFailedError(f"{name}: {self.reason}", self.status)


def _started(command: list[str], environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    from kfp.local.subprocess_task_handler import replace_python_executable

    return subprocess.Popen(
        # A shell runs it, by the name that stands in its command.
        replace_python_executable(command, shlex.quote(sys.executable)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        env=dict(environment),
    )


def _outcome(process: "subprocess.Popen[str]", name: str, tell: Tell) -> _Outcome:
    """Shows what the process prints, each line with the `name` of its task before it, to its end."""
    reason = last = ""
    assert process.stdout
    with contextlib.closing(process.stdout) as printed:
        for last in lines_of_task(printed):
            log(f"[{name}] {last}")
            tell(name, "running", last)
            reason = last if last.startswith(_REASON) else reason
    return _Outcome(process.wait(), one_line((reason or last).removeprefix(_REASON)))


def lines_of_task(printed: Iterator[str]) -> Iterator[str]:
    """The lines that a task prints, less empty ones and what kfp's executor prints about itself."""
    depth: int | None = None  # brackets that are open in the executor's input; None outside of it
    for line in map(str.rstrip, printed):
        text = line.strip()
        if depth is not None:
            # The executor's input is indented JSON.
            depth += text.endswith(("{", "[")) - text.startswith(("}", "]"))
            depth = depth if depth > 0 else None
        elif text.startswith("[KFP Executor"):
            depth = 0 if text.endswith("Got executor_input:") else None
        elif text:
            yield line
