"""The metrics of the command or task at work: which there are, and their values of now.

A stage reports through what it calls anyway: `datum.telemetry.Progress` counts units, a training's log gives
its figures, the training state and the stores say what they keep and move. Values are kept whether or not
anybody looks, since one costs a microsecond; `datum.exposition` shows them to Prometheus. To add a metric,
add a line to the table here, and `python -m datum.instruments README.md` to README.
"""

import dataclasses
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from datum.text_tables import between_marks

INSTRUMENTS: dict[str, "Instrument"] = {}
"""Every metric by its name, in the order of README's table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instrument:
    """A metric: every value of it has the labels of the task beside the one here."""

    name: str
    meaning: str
    kind: Literal["counter", "gauge"]
    label: str = ""
    """Name of its own label, if it has one."""
    values: tuple[str, ...] = ()
    """Values that the label may have, where they are known; a counter then begins with 0 for each."""


def _counter(name: str, meaning: str, label: str = "", *values: str) -> Instrument:
    return _declared(name, meaning, "counter", label, values)


def _gauge(name: str, meaning: str, label: str = "", *values: str) -> Instrument:
    return _declared(name, meaning, "gauge", label, values)


def _declared(
    name: str, meaning: str, kind: Literal["counter", "gauge"], label: str, values: tuple[str, ...]
) -> Instrument:
    found = Instrument(name=f"datum_{name}", meaning=meaning, kind=kind, label=label, values=values)
    INSTRUMENTS[found.name] = found
    return found


TASK_RUNNING = _gauge("task_running", "1 while the task is at work, 0 in the last values that it leaves")
TASK_FAILED = _gauge("task_failed", "1 if the task has failed; one that was asked to stop has not")
TASK_STARTED = _gauge("task_started_timestamp_seconds", "When the task began, or began again")
TASK_ENDED = _gauge("task_ended_timestamp_seconds", "When the task ended")
WORK_DONE = _gauge("work_done", "Units of the work at hand that are done, as the log shows them", "unit")
WORK_PLANNED = _gauge("work_planned", "Units of the work at hand in all", "unit")
PROGRESSED = _gauge("progress_timestamp_seconds", "When a unit of the work at hand was done last")
ITERATIONS = _counter("iterations_total", "Optimizer steps of personalization and training")
IMAGES = _counter(
    "images_processed_total", "Images trained on, drawn, or tested; its rate is images a second"
)
IMAGES_RATE = _gauge("images_per_second", "The training log's figure, which leaves saving and validation out")
LOSS = _gauge("loss", "Each loss as the training log has it, the latest", "term")
NOT_FINITE = _counter("losses_not_finite_total", "Losses, weights and scores that were found not finite")
LEARNING_RATE = _gauge("learning_rate", "The encoder's learning rate")
CONFIDENT = _gauge("confident_pseudo_labels_ratio", "Share of target pixels with a confident pseudo-label")
VALIDATION_MIOU = _gauge("validation_miou", "mIoU of the latest validation, in percent")
STEP_SECONDS = _counter(
    "step_seconds_total",
    "Time of the steps by what it went into; on a GPU what waits for it counts, mostly computing",
    "part",
    *("loading", "computing", "saving", "validating"),
)
PEAK_MEMORY = _gauge(
    "peak_memory_bytes", "Most memory that the training had in use at once: the GPU's, if any"
)
DRAWN = _counter("images_drawn_total", "Images drawn, those that are rejected included")
REJECTED = _counter(
    "images_rejected_total",
    "Drawn images that are not used: black by the safety checker, or the worst by their labels",
    "reason",
    *("safety_checker", "label_agreement"),
)
STATE_SAVED = _gauge(
    "state_saved_timestamp_seconds", "When resumable state was stored last, or its work began"
)
STORE_BYTES = _counter(
    "store_bytes_total", "Bytes moved from and to stores, of every try", "direction", "received", "sent"
)
RETRIES = _counter(
    "retries_total",
    "Faults that were waited out: of the store, a download, the model registry, or of the whole task",
    "of",
    *("store", "download", "registry", "task"),
)
GPU_UTILIZATION = _gauge("gpu_utilization_ratio", "Share of the time that the GPU is busy, by NVML", "gpu")
GPU_MEMORY = _gauge("gpu_memory_used_bytes", "Memory of the GPU that is in use, by all processes", "gpu")
GPU_MEMORY_SIZE = _gauge("gpu_memory_size_bytes", "Memory of the GPU", "gpu")
DISK_FREE = _gauge("disk_free_bytes", "Room on the disk of a folder that the task writes to", "place")
DISK_SIZE = _gauge("disk_size_bytes", "Size of that disk", "place")
REPRODUCTION_MIOU = _gauge("reproduction_miou", "mIoU of the median checkpoint of a report, in percent")
REPRODUCTION_FINISHED = _gauge("reproduction_finished_timestamp_seconds", "When that report was written")
REPRODUCTION_DRIFTED = _gauge(
    "reproduction_drifted", "1 where that result is out of the band of earlier or published ones, else 0"
)

disks: dict[str, Path] = {}
"""Folders whose disks are looked at, by the value of the label `place`."""

_values: dict[tuple[Instrument, str], float] = {}
_lock = threading.Lock()


def put(instrument: Instrument, value: float, of: str = "") -> None:
    """Sets a value; `of` is that of the instrument's own label."""
    _values[instrument, of] = value


def add(instrument: Instrument, amount: float = 1.0, of: str = "") -> None:
    """Adds to a value; threads may do so at once."""
    with _lock:
        _values[instrument, of] = _values.get((instrument, of), 0.0) + amount


def readings() -> Iterator[tuple[Instrument, Mapping[str, float]]]:
    """Each metric that there is anything to say of, with its values by that of its own label."""
    known = dict(_values)
    for instrument in INSTRUMENTS.values():
        zeros = dict.fromkeys(instrument.values or ("",), 0.0) if instrument.kind == "counter" else {}
        found = {of: value for (one, of), value in known.items() if one is instrument}
        if values := zeros | found:
            yield instrument, values


def forget() -> None:
    """Begins anew, with nothing to say."""
    _values.clear()
    disks.clear()


class StepClock:
    """Tells the parts of a step apart; what happens between two steps belongs to none."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def restart(self) -> None:
        """Forgets the time since the last part."""
        self._since = time.monotonic()

    def part(self, name: str) -> None:
        """Counts the time since the last part for `name`, a value of `STEP_SECONDS`'s label."""
        now = time.monotonic()
        add(STEP_SECONDS, now - self._since, name)
        self._since = now


def _unlock() -> None:
    """A process that is forked while another thread adds would wait for ever."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock)


def with_metrics(readme: str) -> str:
    """The text `readme` with the table of the metrics between its two marks."""
    lines = ["| metric | kind | own label | what it says |", "|---|---|---|---|"]
    for one in INSTRUMENTS.values():
        label = f"`{one.label}`" + (f": {', '.join(one.values)}" if one.values else "") if one.label else ""
        lines.append(f"| `{one.name}` | {one.kind} | {label} | {one.meaning} |")
    return between_marks(readme, "metrics", "datum.instruments", "\n".join(lines))


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_metrics(file.read_text(encoding="utf-8")), encoding="utf-8")
