"""What the metrics take of a training step, on one core: all that a step reports, and being shown beside it.

    python tests/benchmarks/bench_metrics.py

Shown every two seconds, as the file of a task of `datum run` is written. Goal: under 1 % of a step of 100 ms,
which is short for a training.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from datum.exposition import WRITE_EVERY, TaskLabels, _registry
from datum.formats.training_log import TrainingLog
from datum.instruments import IMAGES, ITERATIONS, StepClock, add
from datum.telemetry import Progress

STEPS, SHOWS = 5000, 100
STEP = 0.1
"""Seconds of a short step."""


def main() -> None:
    from prometheus_client import generate_latest

    clock, progress = StepClock(), Progress("adapt", 10**9, unit="iterations")
    started = time.thread_time()
    for _ in range(STEPS):
        for part in ("loading", "computing", "saving", "validating"):
            clock.part(part)
        add(IMAGES, 4)
        add(ITERATIONS)
        progress._note()
    report = (time.thread_time() - started) / STEPS
    with tempfile.TemporaryDirectory() as folder:
        log = TrainingLog(Path(folder))
        for term in ("source", "mixed", "masked", "feature_distance"):
            log.append({"iteration": 1, term: 1.0})
    registry = _registry(TaskLabels(run="run", seed="1", stage="adapt", task="seed 1 · adapt"), None)
    started = time.thread_time()
    for _ in range(SHOWS):
        generate_latest(registry)
    show = (time.thread_time() - started) / SHOWS
    share = report / STEP + show / WRITE_EVERY
    print(f"a step reports in {1e6 * report:.1f} µs, all is shown in {1e3 * show:.2f} ms")
    print(f"of a step of {1e3 * STEP:.0f} ms: {100 * share:.3f} % (goal: under 1 %)")
    if share >= 0.01:
        sys.exit(1)


if __name__ == "__main__":
    main()
