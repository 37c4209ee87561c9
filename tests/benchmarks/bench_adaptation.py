"""Seconds of a training step at the demo's size, on one thread, and what fused attention saves.

Run with `python tests/benchmarks/bench_adaptation.py [steps]`; processor time, so that other processes
on the machine disturb it little.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from mmseg.models.backbones.mit import EfficientMultiheadAttention

from datum.adaptation.sampling import Batch
from datum.adaptation.training import Training
from datum.config import DEMO
from datum.formats.training_log import TrainingLog
from datum.segmentation.encoders.mit import FusedAttention
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor
from datum.store import FolderStore
from datum.training_state import TrainingState


def median_seconds(run: Callable[[], object], repetitions: int) -> float:
    run()
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return statistics.median(times)


def bench_step(method: str, repetitions: int) -> float:
    settings = DEMO.adaptation
    images = torch.randn(settings.batch_size, 3, settings.crop, settings.crop)
    batch = Batch(
        source=images,
        labels=torch.randint(0, 19, (settings.batch_size, settings.crop, settings.crop)),
        target=None if method == "source-only" else images.clone(),
    )
    with tempfile.TemporaryDirectory() as folder:
        training = Training(
            student=build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=settings.head_channels)),
            settings=settings,
            evaluation=DEMO.evaluation,
            validation=[],
            seed=0,
            state=TrainingState(FolderStore(Path(folder))),
            training_log=TrainingLog(Path(folder)),
        )
        return median_seconds(lambda: training._step(batch), repetitions)


def bench_attention(kind: type[torch.nn.Module], size: int, reduction: int, repetitions: int) -> float:
    attention = kind(embed_dims=64, num_heads=2, qkv_bias=True, sr_ratio=reduction)
    tokens = torch.randn(2, size * size, 64, requires_grad=True)
    return median_seconds(
        lambda: attention(tokens, (size, size), identity=tokens).sum().backward(), repetitions
    )


def main() -> None:
    torch.set_num_threads(1)
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    for method in ("source-only", "daformer"):
        print(f"{method}: {bench_step(method, repetitions):.3f} s a step")
    for size, reduction in ((16, 4), (64, 4), (64, 1)):
        slow = bench_attention(EfficientMultiheadAttention, size, reduction, repetitions)
        fused = bench_attention(FusedAttention, size, reduction, repetitions)
        print(
            f"attention at {size}x{size}, reduction {reduction}: mmseg's {1e3 * slow:.1f} ms, "
            f"fused {1e3 * fused:.1f} ms, ratio {slow / fused:.2f}"
        )


if __name__ == "__main__":
    main()
