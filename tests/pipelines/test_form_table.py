"""README's table of the form's fields."""

from pathlib import Path

from pipelines.form import FIELDS
from pipelines.form_table import with_fields


def test_the_readme_has_the_form_of_now() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert with_fields(readme) == readme, "run `python -m pipelines.form_table README.md`"
    assert all(f"| `{name}` |" in readme for name in FIELDS)


def test_what_the_ui_shows_of_a_field_is_short() -> None:
    assert FIELDS["data_target"].brief == "Target data set in Cityscapes' layout"
    # A line each of the pop-up, which does not scroll.
    assert all(5 < len(field.brief) < 60 for field in FIELDS.values())
