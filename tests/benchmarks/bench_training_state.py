"""How long a training at MiT-B5's size stops for its state to be saved: in its own thread, as datum 0.1
did it, and beside the training.

Run with `python tests/benchmarks/bench_training_state.py [saves]`; takes 8 GB of memory, 7 GB of disk in the
temporary folder and a minute. The state is DAFormer's on a processor: student, teacher, AdamW's moments and
the best network, 1.7 GB.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from datum.adaptation.optimizer import build_optimizer
from datum.adaptation.self_training import Teacher
from datum.config import PAPER
from datum.outputs import sha256
from datum.segmentation.segmentor import Segmentor, SegmentorConfig, build_segmentor
from datum.store import FolderStore
from datum.training_state import TrainingState


def state_of(student: Segmentor) -> dict[str, Any]:
    optimizer = build_optimizer(student, PAPER.adaptation)
    for parameter in student.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {
        "student": student.state_dict(),
        "teacher": Teacher(student).segmentor.state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def save_in_the_training(folder: Path, state: dict[str, Any]) -> None:
    """What `TrainingState.save` of datum 0.1 did."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "state.pt"
        torch.save(state, file)
        FolderStore(folder).put(file, "state.pt")
        sha256(file)


def main() -> None:
    torch.set_num_threads(1)
    saves = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    student = build_segmentor(SegmentorConfig(encoder="mit-b5"))
    state = state_of(student)
    best = {"weights": {name: tensor.clone() for name, tensor in student.state_dict().items()}}
    stops: dict[str, list[float]] = {"in the training": [], "beside it": []}
    with tempfile.TemporaryDirectory() as folder:
        states = TrainingState(FolderStore(Path(folder) / "new"), Path(folder) / "scratch")
        for step in range(1, saves + 1):
            start = time.perf_counter()
            save_in_the_training(Path(folder) / "old", {**state, "best": best})
            stops["in the training"].append(time.perf_counter() - start)
            start = time.perf_counter()
            states.save(step, state, seldom={"best": best})
            stops["beside it"].append(time.perf_counter() - start)
            states.wait()
    before, after = (statistics.median(seconds) for seconds in stops.values())
    print(f"a save stops the training for {before:.2f} s in its thread, {after:.2f} s beside it: ", end="")
    print(f"ratio {before / after:.1f}; longest {max(stops['beside it']):.2f} s, expected less than 2 s")


if __name__ == "__main__":
    main()
