"""The scale that trainings read a source data set at, and a source that the ingestion stored at it.

Two thirds of what a training sample of GTA costs a processor is the decoding of 1914x1052 pixels, of which
training makes 1280x704 at once. So the ingestion stores a source that is larger as training resizes it, by
the same function and without loss: the crops are the same to the last bit, and half as much is fetched. What
is counted of a label, by which images are chosen, stays that of its full size. A file in the root tells the
scale; a training at another scale needs the original.
"""

import json
from pathlib import Path

from datum.config import AdaptationSettings, Settings
from datum.errors import InputError
from datum.methods import BENCHMARKS

SCALE_FILE = "source_scale.json"
"""Of a source that is stored smaller than it came: an object with `scale`, (width, height) in pixels."""

Scale = tuple[int, int]


def training_scale(benchmark: str, settings: AdaptationSettings) -> Scale:
    """(width, height) that a training resizes source images to fit within."""
    width, height = settings.source_scale or BENCHMARKS[benchmark].source_scale
    return width * settings.resolution_factor, height * settings.resolution_factor


def ingestion_scale(settings: Settings) -> Scale | None:
    """The scale that a run's source may be stored at; None where images are drawn from its label maps too,
    which are cut out in full size."""
    if settings.generation.labels == "source":
        return None
    return training_scale(settings.run.benchmark, settings.adaptation)


def write_scale(root: Path, scale: Scale) -> None:
    """Records that the images and labels in `root` are stored to fit within `scale`."""
    (root / SCALE_FILE).write_text(json.dumps({"scale": scale}), encoding="utf-8")


def is_stored_smaller(root: Path) -> bool:
    """Whether the source in `root` is stored smaller than it came."""
    return (root / SCALE_FILE).is_file()


def require_scale(where: object, stored: bytes, scale: Scale | None) -> None:
    """Raises `InputError` where the source at `where`, a root or a URI, whose `SCALE_FILE` holds `stored`, is
    needed at another `scale`, or (None) as it came."""
    try:
        width, height = json.loads(stored)["scale"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(
            f"{where}: {SCALE_FILE} is not the object that the ingestion writes; ingest the original again"
        ) from None
    if (width, height) != scale:
        needed = f"at {scale[0]}x{scale[1]}" if scale else "in full size"
        raise InputError(
            f"{where}: was stored to fit within {width}x{height}, and this run needs it {needed}; name the "
            "original data set"
        )


def require_scale_of(root: Path, scale: Scale | None) -> None:
    """The same of a root, which is as good as any where it is stored as it came."""
    if is_stored_smaller(root):
        require_scale(root, (root / SCALE_FILE).read_bytes(), scale)
