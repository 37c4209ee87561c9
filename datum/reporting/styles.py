"""CSS classes that tell seeds and baselines apart, the same all over the page."""


def style_of(position: int) -> str:
    """CSS class of the seed at `position`."""
    return f"seed-{position % 6}"


def baseline_style(position: int) -> str:
    """CSS class of the baseline at `position`."""
    return f"base-{position % 5}"
