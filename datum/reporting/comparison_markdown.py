"""`comparison.md`: a comparison as Markdown, for a merge request or a mail."""

from collections.abc import Mapping, Sequence
from typing import Any

from datum.reporting.comparison_tables import (
    Table,
    notes,
    table_of_classes,
    table_of_settings,
    tables_of_figures,
    verdicts,
)


def comparison_text(compared: Mapping[str, Any]) -> str:
    """The whole file."""
    runs = [f"{_plain(run['name'])}: {_plain(run['place'])}" for run in compared["runs"]]
    settings = table_of_settings(compared)
    parts = [
        f"# {' and '.join(_plain(run['name']) for run in compared['runs'])}",
        "\n".join(f"* {run}" for run in runs),
        "\n".join(f"* {_plain(text)}" for _, text in verdicts(compared)),
        *(["\n".join(f"* {_plain(text)}" for text in notes(compared))] if notes(compared) else []),
        "## Figures",
        *map(_table, tables_of_figures(compared)),
        "## Classes",
        _table(table_of_classes(compared)),
        "## Settings that differ",
        _table(settings) if settings.rows else "None.",
    ]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    lines = [_row(table.head), "|---" + "|---:" * (len(table.head) - 1) + "|", *map(_row, table.rows)]
    return "\n\n".join([_plain(table.caption), "\n".join(lines)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """`text` with what Markdown and HTML would take for theirs escaped."""
    return "".join(f"\\{character}" if character in r"\`*_{}[]<>#|~" else character for character in text)
