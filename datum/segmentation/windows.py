"""Windows that slide over an image."""

from collections.abc import Sequence

Box = tuple[slice, slice]
"""Rows and columns of a part of an image."""


def windows(size: Sequence[int], side: int, stride: int) -> list[Box]:
    """Squares of `side` pixels, `stride` apart, that cover an image of `size` = (height, width); the last of
    a row or column is moved back until it ends with the image, and a shorter side is taken whole."""
    rows, columns = (
        [min(start, last) for start in range(0, last + stride, stride)]
        for last in (max(length - side, 0) for length in size)
    )
    return [(slice(y, y + side), slice(x, x + side)) for y in rows for x in columns]
