"""Tables as plain text, for a person and for `grep`."""

from collections.abc import Sequence

from datum.text_tables import aligned


def print_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints `rows` under `heading` in aligned columns."""
    for line in aligned([heading, *rows]):
        print(line)
