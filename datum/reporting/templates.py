"""The pages' templates and their style."""

import datetime
import functools
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from datum import __version__

_FOLDER = Path(__file__).parent


def rendered(name: str, **given: Any) -> str:
    """A whole page by the template in the file `name`, in the style of all pages, with the release that wrote
    it and when."""
    written = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    style = Markup((_FOLDER / "style.css").read_text(encoding="utf-8"))
    return template(name).render(style=style, version=__version__, written=written, **given)


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
