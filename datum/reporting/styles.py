"""What tells seeds, baselines and classes apart, the same on all pages."""

from datum.labels import CLASSES


def style_of(position: int) -> str:
    """CSS class of the seed at `position`."""
    return f"seed-{position % 6}"


def baseline_style(position: int) -> str:
    """CSS class of the baseline at `position`."""
    return f"base-{position % 5}"


def hexadecimal(color: tuple[int, int, int]) -> str:
    """An RGB color as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def class_legend() -> list[tuple[str, str]]:
    """(name, color in CSS) of every class."""
    return [(c.name, hexadecimal(c.color)) for c in CLASSES]
