"""`report.json`: the figures of a report, for machines; `datum.reporting.summary` says what they are.

It comes last where a report is published: where it is, all is.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datum.outputs import write_json

REPORT_FIGURES = "report.json"
"""Name of the file in the output of `datum report`."""


def write_figures(folder: Path, figures: Mapping[str, Any]) -> None:
    """Writes `figures` into `folder`."""
    write_json(folder / REPORT_FIGURES, figures)


def read_figures(folder: Path) -> dict[str, Any]:
    """The figures of the report in `folder`."""
    return parse_figures((folder / REPORT_FIGURES).read_bytes())


def parse_figures(content: bytes) -> dict[str, Any]:
    """The figures in the content of the file, for a reader that has it from a store."""
    return dict(json.loads(content))
