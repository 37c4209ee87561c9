"""How many weights the parts of a pipeline have, told from the heads of their files."""

import json
import math
from collections.abc import Iterable
from pathlib import Path

BYTES = 4
"""Of a weight in float32, in which models are trained and kept."""


def count_parameters(folder: Path, files: Iterable[str]) -> dict[str, int]:
    """Weights by part (`unet`, `vae`, …) in `files` of the pipeline in `folder`; 0 for a damaged file, which
    loading names."""
    counts: dict[str, int] = {}
    for name in files:
        if name.endswith((".safetensors", ".bin")):
            part = name.partition("/")[0]
            counts[part] = counts.get(part, 0) + _count(folder / name)
    return counts


def _count(file: Path) -> int:
    if file.suffix == ".bin":
        return file.stat().st_size // BYTES
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            head = json.loads(stream.read(min(length, file.stat().st_size)))
            return sum(math.prod(tensor["shape"]) for name, tensor in head.items() if name != "__metadata__")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return 0
