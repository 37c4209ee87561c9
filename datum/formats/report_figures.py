"""`report.json`: the figures of a report, for machines; `datum.reporting.summary` says what they are.

It comes last where a report is published: where it is, all is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.formats.json_files import parse_json, read_json
from datum.outputs import write_json

REPORT_FIGURES = "report.json"
"""Name of the file in the output of `datum report`."""

_MEDIAN_CHECKPOINTS = tuple(f"median_checkpoint/{name}.safetensors" for name in ("best", "last"))


def write_figures(folder: Path, figures: Mapping[str, Any]) -> None:
    """Writes `figures` into `folder`."""
    write_json(folder / REPORT_FIGURES, figures)


def read_figures(folder: Path) -> dict[str, Any]:
    """The figures of the report in `folder`; raises `InputError` where they are missing or are none."""
    file = folder / REPORT_FIGURES
    return _require_median(str(file), read_json(file))


def parse_figures(where: str, content: bytes) -> dict[str, Any]:
    """The figures in the content of the file, for a reader that has it from a store; raises `InputError`,
    which begins with `where`, as above."""
    return _require_median(where, parse_json(where, content.decode("utf-8", errors="replace")))


def _require_median(where: str, figures: dict[str, Any]) -> dict[str, Any]:
    """`figures`, which name the median checkpoint, its digest and its mIoU; the name leads nowhere else."""
    median = figures.get("median_checkpoint")
    if (
        not isinstance(median, dict)
        or median.get("file") not in _MEDIAN_CHECKPOINTS
        or not isinstance(median.get("sha256"), str)
        or type(median.get("miou")) not in (int, float)
    ):
        raise InputError(
            f"{where}: names no median checkpoint with its sha256 and miou, expected one of "
            f"{', '.join(_MEDIAN_CHECKPOINTS)}; make the report again"
        )
    return figures
