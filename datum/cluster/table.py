"""Tables as plain text, for a person and for `grep`."""

from collections.abc import Sequence


def print_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints `rows` under `heading` in aligned columns."""
    widths = [max(map(len, column)) for column in zip(heading, *rows)]
    for row in (heading, *rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
