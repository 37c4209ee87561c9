"""A browser for the tests that look at pages: Debian's chromium, driven by Playwright."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_browser = pytest.mark.skipif(
    not CHROMIUM, reason="no chromium on this machine: apt-get install chromium, and pages are looked at too"
)

LOOKS = [(width, scheme) for width in (1400, 420) for scheme in ("light", "dark")]
"""Widths in pixels and color schemes that pages are made for."""

_PATIENCE = 180_000
"""Milliseconds that a busy machine may take."""


@contextlib.contextmanager
def opened_browser() -> Iterator[Any]:
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=_PATIENCE
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def opened_page(
    browser: Any, url: str, width: int, scheme: str
) -> Iterator[tuple[Any, list[str], list[str]]]:
    """The page at `url` as so wide a window shows it, the addresses that it asks for, and its errors."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(_PATIENCE)
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(url)
    yield page, asked, errors
    context.close()


def assert_fits_and_is_accessible(page: Any) -> None:
    """Nothing is wider than the window, and axe finds nothing serious."""
    from axe_playwright_python.sync_playwright import Axe

    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{wide} pixels wider than the window"
    found = Axe().run(page).response["violations"]
    grave = [
        f"{rule['id']}: {rule['help']}, as in {rule['nodes'][0]['html'][:200]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
    assert not grave, "\n".join(grave)
