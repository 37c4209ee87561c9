"""The images under test, and the table of what was measured of them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TABLE: list[str] = []
"""Lines printed after the tests."""


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Stage -> image, as `make images` recorded them."""
    return json.loads((ROOT / "build" / "test-images.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def table() -> Iterator[list[str]]:
    """Lines to print after the tests."""
    yield TABLE


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("images and tasks")
    for line in TABLE:
        terminalreporter.line(line)
