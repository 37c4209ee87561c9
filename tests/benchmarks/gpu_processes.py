"""Whether two processes on a GPU learn what one does with the whole batch, up to rounding.

    python tests/benchmarks/gpu_processes.py

The trainings are those of `tests/adaptation/test_processes.py`, in float64, on the GPU. Where one GPU is
visible, both processes compute on it and exchange what they find through gloo: NCCL, which several GPUs
exchange by, takes one process a GPU. With more, nothing is changed, and each process has its own.
"""

import functools
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed

sys.path.insert(0, str(Path(__file__).parents[2]))

from datum.adaptation.processes import helped
from tests.adaptation.shared_training import CASES, assert_alike, help_training, trained

_init = torch.distributed.init_process_group


def _init_through_gloo(*_: Any, backend: str, **others: Any) -> None:
    _init(backend="gloo", **others)


if torch.cuda.device_count() == 1:
    # At the top: helpers import this file, and are to meet in the same way.
    torch.distributed.init_process_group = _init_through_gloo


def main() -> None:
    if not torch.cuda.is_available():
        print("no GPU is visible: nothing is compared")
        return
    device = torch.device("cuda", 0)
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            alone = trained(case, Path(folder) / "alone", device=device)
            with helped(2, device, functools.partial(help_training, case)):
                together = trained(case, Path(folder) / "together", device=device)
        apart = max(
            float((together.weights[name].double() - value.double()).abs().max())
            for name, value in alone.weights.items()
        )
        print(f"{case}: weights of two processes and of one are {apart:.1e} apart", flush=True)
        assert_alike(together, alone)


if __name__ == "__main__":
    main()
