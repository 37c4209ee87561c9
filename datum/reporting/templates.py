"""The pages' templates and their style."""

import functools
from pathlib import Path

import jinja2
from markupsafe import Markup

_FOLDER = Path(__file__).parent


@functools.cache
def template(name: str) -> jinja2.Template:
    """The template in the file `name`; what it is given is text, never markup."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


@functools.cache
def style_sheet() -> Markup:
    """The style sheet of all pages."""
    return Markup((_FOLDER / "style.css").read_text(encoding="utf-8"))
