"""The eight symmetries of the square, on pictures and directions.

A symmetry is a number from 0 to 7: ``symmetry % 4`` quarter turns counterclockwise, then, from 4 on, a mirror that
swaps left and right. 0 changes nothing. Coordinates are pixels with y down; the picture goes from (0, 0) to (S, S).
"""

from __future__ import annotations

from torch import Tensor

SYMMETRIES = tuple(range(8))
"""All of them; 0 is the identity."""

IDENTITY = 0
"""Number of the symmetry of the square that leaves a picture as it is."""


def turn_image(image: Tensor, symmetry: int) -> Tensor:
    """(..., S, S) -> the same shape; a view where it can be one."""
    if symmetry % 4:
        image = image.rot90(symmetry % 4, dims=(-2, -1))
    return image.flip(-1) if symmetry >= 4 else image


def turn_vector(vector: tuple[float, float], symmetry: int) -> tuple[float, float]:
    """A direction (x right, y down) as it points after the symmetry."""
    x, y = vector
    for _ in range(symmetry % 4):
        x, y = y, -x
    return (-x, y) if symmetry >= 4 else (x, y)


def inverse(symmetry: int) -> int:
    """The symmetry that undoes it: a mirror undoes itself."""
    return symmetry if symmetry >= 4 else -symmetry % 4


def swaps_axes(symmetry: int) -> bool:
    """Whether what was horizontal becomes vertical."""
    return symmetry % 2 == 1


def mirrors(symmetry: int) -> bool:
    """Whether clockwise becomes counterclockwise."""
    return symmetry >= 4
