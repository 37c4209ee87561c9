"""The table of the form's fields in README: `python -m pipelines.form_table README.md` writes it anew."""

import sys
from pathlib import Path

from datum.text_tables import between_marks
from pipelines.form import FIELDS


def fields_as_markdown() -> str:
    """All fields in the form's order, each with the whole of what is to be said of it."""
    rows = [f"| `{name}` | {' '.join(field.description.split())} |" for name, field in FIELDS.items()]
    return "\n".join(["| field | what it is |", "|---|---|", *rows])


def with_fields(readme: str) -> str:
    """The text `readme` with the table of now between its two marks."""
    return between_marks(readme, "form", "pipelines.form_table", fields_as_markdown())


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_fields(file.read_text(encoding="utf-8")), encoding="utf-8")
