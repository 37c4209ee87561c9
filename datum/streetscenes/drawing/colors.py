"""Colors of surfaces and lights."""

Color = tuple[float, float, float]
"""RGB, 0 to 1 each."""


def scaled(color: Color, factor: float) -> Color:
    """A color, or light, times a factor."""
    return (color[0] * factor, color[1] * factor, color[2] * factor)
