"""A training step on a GPU beside DAFormer's and HRDA's own, in one run.

    python tests/benchmarks/bench_gpu.py [STEPS]

STEPS (default 8) steps of each way, at MiT-B5 and batch 2, DAFormer at 512 and HRDA at 1024 pixels, with
feature distance, jitter and blur: the median of the seconds from an idle GPU to an idle GPU, and the most
memory that tensors had. The references, which DAFORMER and HRDA name as `bench_adaptation.py` says, take
turns with ours, in float32 and in TF32 (PyTorch's default where they were written, since Ampere).

Before that, losses of steps in CUDA graphs beside the same steps without: they differ by rounding alone,
since a GPU adds in any order what several threads write to one place.

One H100 80GB (torch 2.11, 2026-11-27; losses 1.3e-5 apart), milliseconds and GB:

| | reference, float32 and TF32 | ours, float32 | float32, graphs | TF32, graphs | bf16, graphs |
|---|---|---|---|---|---|
| DAFormer | 864.0, 931.6; 41.7 | 468.5; 7.1 | 216.0; 7.1 | 172.4; 7.1 | 104.9; 5.4 |
| HRDA | 1395.7, 1275.1; 64.8 | 690.0; 12.2 | 533.2; 12.4 | 414.1; 12.4 | 259.8; 9.0 |

What a step starts on the GPU, counted by the profiler on an H100 (the same day); neither waits:

| | kernels | graphs | copies and fills | in all | in all without graphs |
|---|---|---|---|---|---|
| DAFormer | 127 | 3 | 17 | 147 | 10,382 |
| HRDA | 128 | 3 | 23 | 154 | 21,871 |

The references' memory has the room that cuDNN takes to try algorithms, which their settings ask for. Ours in
graphs, and the times in bf16, are of another H100 on the same day, `ours` in a process for each (there 218.0,
171.3, 531.4 and 413.3 ms in float32 and TF32), HRDA's while other processors of the machine had work.
"""

import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from datum.adaptation.sampling import Batch
from datum.adaptation.training import Training
from tests.benchmarks.bench_adaptation import made_batch, made_training, reference_step, start_reference

WARM_UP = 4
MOST_LAUNCHES = 4000
"""Calls by which a step in graphs may start work on the GPU."""
STARTING = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpy", "cudaMemset")
GRAPHS_APART = 1e-4
"""Largest relative difference of a loss after a few steps in graphs and without."""


def on_gpu(batch: Batch) -> Batch:
    assert batch.target is not None
    moved = {name: getattr(batch, name).cuda() for name in ("source", "labels", "target")}
    return Batch(classes=batch.classes, **moved)


def our_step(training: Training, batch: Batch) -> tuple[float, float]:
    """Seconds of a step, and the most GB that tensors have had."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    training._step(batch)
    torch.cuda.synchronize()
    return time.perf_counter() - start, torch.cuda.max_memory_allocated() / 1e9


def timed(name: str, step: Callable[[], tuple[float, float]], steps: int) -> float:
    found = [step() for _ in range(WARM_UP + steps)]
    seconds = statistics.median(seconds for seconds, _ in found[WARM_UP:])
    print(f"  {name:28} {1000 * seconds:7.1f} ms, {found[-1][1]:6.2f} GB", flush=True)
    return seconds


def theirs(crop: int, batch: Batch, folder: Path, steps: int, *ways: str) -> float | None:
    checkout = "HRDA" if "hrda" in ways else "DAFORMER"
    process = start_reference("mit-b5", crop, batch, folder, *ways, "cuda", checkout_in=checkout)
    if process is None:
        return None
    try:
        name = f"reference, {'TF32' if 'tf32' in ways else 'float32'}"
        return timed(name, lambda: reference_step(process), steps)
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def ours(
    crop: int, batch: Batch, folder: Path, steps: int, precision: str, *, hrda: bool, graphs: bool
) -> float:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    training = made_training(
        "mit-b5", crop, folder, hrda=hrda, device="cuda", mixed_precision=precision, cuda_graphs=graphs
    )
    name = f"ours, {precision}, {'graphs' if graphs else 'no graphs'}"
    return timed(name, lambda: our_step(training, batch), steps)


def launches(crop: int, folder: Path, *, hrda: bool, graphs: bool) -> int:
    """Calls by which a step of MiT-B5 starts work on the GPU, in the eyes of the profiler. Raises where the
    step waits for the GPU."""
    batch = on_gpu(made_batch(2, crop))
    training = made_training("mit-b5", crop, folder, hrda=hrda, device="cuda", cuda_graphs=graphs)
    for _ in range(WARM_UP):
        training._step(batch)
    torch.cuda.synchronize()
    with torch.profiler.profile() as profiler:
        training._step(batch)
    calls = Counter(event.name for event in profiler.events())
    started = {name: count for name, count in calls.items() if name.startswith(STARTING)}
    print(f"  {'HRDA' if hrda else 'DAFormer'}, {'graphs' if graphs else 'no graphs'}: {started}", flush=True)
    waits = {name: count for name, count in calls.items() if "Synchronize" in name}
    assert waits in ({}, {"cudaDeviceSynchronize": 1}), waits  # The profiler's own, at its end.
    return sum(started.values())


def compare(crop: int, steps: int, *, hrda: bool) -> None:
    print(f"{'HRDA' if hrda else 'DAFormer'}, MiT-B5, {crop}, batch 2, {torch.cuda.get_device_name()}:")
    batch, way = made_batch(2, crop), ["hrda"] * hrda
    with tempfile.TemporaryDirectory() as folder:
        slow = theirs(crop, batch, Path(folder), steps, *way)
        slow_tf32 = theirs(crop, batch, Path(folder), steps, *way, "tf32")
        for precision in ("no", "tf32", "bf16"):
            for graphs in (False, True):
                seconds = ours(crop, on_gpu(batch), Path(folder), steps, precision, hrda=hrda, graphs=graphs)
                if slow and slow_tf32:
                    print(f"    {slow / seconds:.2f} and {slow_tf32 / seconds:.2f} times the reference's")


def apart_by_graphs(crop: int, *, hrda: bool) -> float:
    """How far losses of five steps in graphs and without are apart, from the same weights."""
    batch, found = on_gpu(made_batch(2, crop)), []
    for graphs in (False, True):
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            ways = {"cuda_graphs": graphs, "masked_consistency": True}
            training = made_training("mit-b0", crop, Path(folder), hrda=hrda, device="cuda", **ways)
            steps = []
            for training._iteration in range(1, 6):
                steps.append({name: float(loss) for name, loss in training._step(batch).items()})
            found.append(steps)
    apart = max(
        abs(graph[name] - plain[name]) / max(abs(plain[name]), 1e-3)
        for plain, graph in zip(*found)
        for name in plain
    )
    print(f"losses in graphs and without, {'HRDA' if hrda else 'DAFormer'} and MIC: {apart:.1e} apart")
    print(f"  {found[1][-1]}")
    return apart


def main() -> None:
    if not torch.cuda.is_available():
        print("no GPU is visible: nothing is measured")
        return
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    apart = max(apart_by_graphs(256, hrda=hrda) for hrda in (False, True))
    print("calls that start work on the GPU in a step of MiT-B5, batch 2:")
    with tempfile.TemporaryDirectory() as folder:
        for crop, hrda in ((512, False), (1024, True)):
            launches(crop, Path(folder), hrda=hrda, graphs=False)
            assert launches(crop, Path(folder), hrda=hrda, graphs=True) <= MOST_LAUNCHES
    for crop, hrda in ((512, False), (1024, True)):
        compare(crop, steps, hrda=hrda)
    assert apart <= GRAPHS_APART, "graphs change the losses"


if __name__ == "__main__":
    main()
