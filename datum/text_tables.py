"""Tables as text: aligned for a terminal, and between the marks of a README."""

import re
from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line a row, the cells of each column aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def between_marks(readme: str, name: str, module: str, table: str) -> str:
    """The text `readme` with `table` between the two marks of `name`, of which the first says that `module`
    writes it."""
    begin, end = f"<!-- {name}: written by python -m {module} README.md -->", f"<!-- /{name} -->"
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{table}\n{end}", readme, flags=re.DOTALL)
