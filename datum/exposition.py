"""Shows the metrics of `datum.instruments` to Prometheus: at a port while a command or a task is at work, and
to a Pushgateway when it ends.

`datum run` serves one port for all of its tasks: each writes its values to a file, and the run's own process
puts these together when it is asked. In a pod every task serves a port of its own.
"""

import contextlib
import dataclasses
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from datum import instruments
from datum.command_parser import CommandParser
from datum.errors import InputError, one_line, shortened
from datum.gpus import gpus
from datum.instruments import put, readings
from datum.patience import tries_before
from datum.stopping import stop_asked
from datum.telemetry import log

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

PORT = "DATUM_METRICS_PORT"
"""Environment variable with the port that a task of a cluster serves its metrics at."""

PUSHGATEWAY = "DATUM_PUSHGATEWAY"
"""Environment variable with the URL of a Pushgateway, which is told the last values of each task."""

RUN_NAME, FOLDER = "DATUM_RUN_NAME", "DATUM_METRICS_FOLDER"
"""Environment variables by which `datum run` tells its tasks the label `run` and the folder of their
files."""

WRITE_EVERY = 2.0
"""Seconds between two versions of a task's file."""

PUSH_TIMEOUT = 9.0
"""Seconds that a task waits for the Pushgateway at most."""

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskLabels:
    """What every value of one task is labeled with."""

    run: str = ""
    """Id of the run on a cluster, name of its output folder on one machine."""
    seed: str = ""
    stage: str = ""
    task: str = ""
    """Name as the DAG shows it, of which a run has each once."""

    @classmethod
    def of_task(cls, name: str, run: str) -> "TaskLabels":
        """Those of the task that the DAG calls `name`, such as `seed 2 · generate 3/4`."""
        *parts, what = name.split(" · ")
        seed = next((part.removeprefix("seed ") for part in parts if part.startswith("seed ")), "")
        return cls(run=run, seed=seed, stage=what.split(" ")[0], task=name)


def add_metrics_port(command: CommandParser) -> None:
    """Adds the option `--metrics-port`."""
    meaning = "port of 127.0.0.1 that shows Prometheus metrics while it works, 0: none"
    command.add_number("--metrics-port", 0, meaning, least=0, most=65535)


def exposed_command(
    command: Callable[..., None], options: dict[str, Any]
) -> contextlib.AbstractContextManager[None]:
    """`exposed` for a command with the option `--metrics-port`, which it takes out of `options`."""
    if "metrics_port" not in options:
        return contextlib.nullcontext()
    stage = command.__name__.removeprefix("_")
    run = options["output"].resolve().name
    labels = TaskLabels(run=run, seed=str(options.get("seed", "")), stage=stage, task=stage)
    return exposed(labels, port=options.pop("metrics_port"))


@contextlib.contextmanager
def exposed(labels: TaskLabels, *, port: int = 0) -> Iterator[None]:
    """Shows this process's metrics while the block runs, and those of the tasks that it starts: at `port` of
    loopback, if one is given, and to whom the environment names. Costs nothing where that is nobody.

    Raises `InputError` where the given `port` is in use. A port or a Pushgateway of the environment that
    cannot be used costs a line of the log.
    """
    of_environment, folder, gateway = (os.environ.get(name, "") for name in (PORT, FOLDER, PUSHGATEWAY))
    if not (port or of_environment or folder or gateway):
        yield
        return
    with contextlib.ExitStack() as stack:
        others = stack.enter_context(_folder_of_tasks(labels.run)) if port else None
        registry = _registry(labels, others)
        if port:
            stack.enter_context(_serving(port, LOOPBACK, registry))
        elif of_environment:
            try:
                stack.enter_context(_serving(int(of_environment), EVERYWHERE, registry))
            except (InputError, ValueError) as error:
                log(f"metrics: {PORT}={of_environment}: none are served ({error})")
        if folder:
            stack.enter_context(_writing(Path(folder), labels, registry))
        if gateway:
            # Of each task it is told once, by the task itself.
            stack.callback(_push, gateway, labels, _registry(labels, None))
        with _telling_its_end():
            yield


@contextlib.contextmanager
def _telling_its_end() -> Iterator[None]:
    put(instruments.TASK_RUNNING, 1)
    put(instruments.TASK_FAILED, 0)
    put(instruments.TASK_STARTED, time.time())
    put(instruments.RETRIES, tries_before(), "task")
    failed = False
    try:
        yield
    except SystemExit as end:
        failed = end.code not in (None, 0)
        raise
    except Exception:
        failed = True
        raise
    finally:
        put(instruments.TASK_RUNNING, 0)
        put(instruments.TASK_FAILED, failed and not stop_asked())
        put(instruments.TASK_ENDED, time.time())


def _registry(labels: TaskLabels, others: Path | None) -> "CollectorRegistry":
    """What shows this process's values, and those in the files of the folder `others`."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

    class Values(Collector):
        def collect(self) -> Iterable["Metric"]:
            _look()
            found = {family.name: family for family in _families(labels)}
            for file in sorted(others.glob("*.prom")) if others else ():
                for family in _read(file):
                    found.setdefault(family.name, family).samples += family.samples
            return found.values()

        def describe(self) -> Iterable["Metric"]:
            return []

    registry = CollectorRegistry()
    registry.register(Values())
    return registry


def _look() -> None:
    """Reads what is only of interest at the moment."""
    scratch = Path(os.environ.get("DATUM_SCRATCH", "/scratch"))
    for place, folder in {
        "tmp": Path(tempfile.gettempdir()),
        "scratch": scratch,
        **instruments.disks,
    }.items():
        with contextlib.suppress(OSError):
            disk = os.statvfs(folder)
            put(instruments.DISK_FREE, disk.f_bavail * disk.f_frsize, place)
            put(instruments.DISK_SIZE, disk.f_blocks * disk.f_frsize, place)
    for gpu in gpus():
        put(instruments.GPU_UTILIZATION, gpu.busy, gpu.number)
        put(instruments.GPU_MEMORY, gpu.used, gpu.number)
        put(instruments.GPU_MEMORY_SIZE, gpu.size, gpu.number)


def _families(labels: TaskLabels) -> Iterator["Metric"]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    common = dataclasses.asdict(labels)
    for instrument, values in readings():
        kind = CounterMetricFamily if instrument.kind == "counter" else GaugeMetricFamily
        names = [*common, *([instrument.label] if instrument.label else [])]
        family = kind(instrument.name, instrument.meaning, labels=names)
        for of, value in values.items():
            family.add_metric([*common.values(), *([of] if instrument.label else [])], value)
        yield family


def _read(file: Path) -> Iterator["Metric"]:
    from prometheus_client.parser import text_string_to_metric_families

    with contextlib.suppress(FileNotFoundError):
        yield from text_string_to_metric_families(file.read_text(encoding="utf-8"))


@contextlib.contextmanager
def _folder_of_tasks(run: str) -> Iterator[Path]:
    """A folder for the files of the tasks that this process starts, which learn of it by the environment."""
    with tempfile.TemporaryDirectory(prefix="datum-metrics-") as folder:
        os.environ |= {FOLDER: folder, RUN_NAME: run}
        try:
            yield Path(folder)
        finally:
            del os.environ[FOLDER]


@contextlib.contextmanager
def _serving(port: int, address: str, registry: "CollectorRegistry") -> Iterator[None]:
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise InputError(
            f"--metrics-port {port}: cannot be listened on ({error.strerror}), expected a free port; name "
            "another, or end the program that has it"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def _writing(folder: Path, labels: TaskLabels, registry: "CollectorRegistry") -> Iterator[None]:
    """Writes the values to a file of the task's own, every `WRITE_EVERY` seconds and when the block ends."""
    from prometheus_client import write_to_textfile

    name = hashlib.sha256(labels.task.encode()).hexdigest()[:16]
    ended = threading.Event()

    def write() -> None:
        # The run may have ended, and its folder gone.
        with contextlib.suppress(OSError):
            write_to_textfile(str(folder / f"{name}.prom"), registry)

    def keep_writing() -> None:
        while not ended.wait(WRITE_EVERY):
            write()

    thread = threading.Thread(target=keep_writing, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        write()


def _push(gateway: str, labels: TaskLabels, registry: "CollectorRegistry") -> None:
    """Tells the Pushgateway the values of now, in place of what it knows of the same task of the same run."""
    from prometheus_client import push_to_gateway

    faults: list[str] = []

    def push() -> None:
        try:
            key = {"run": labels.run, "task": labels.task}
            push_to_gateway(gateway, "datum", registry, key, PUSH_TIMEOUT)
        except Exception as error:
            faults.append(f"{type(error).__name__}: {error}")

    # A daemon: looking a name up has no time-out of its own.
    thread = threading.Thread(target=push, daemon=True)
    thread.start()
    thread.join(PUSH_TIMEOUT)
    if thread.is_alive() or faults:
        reason = one_line(shortened(faults[0])) if faults else "does not answer"
        log(f"metrics: the Pushgateway {urlsplit(gateway).hostname} was not told the last values ({reason})")
