"""Polygons to pixels, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsmoe.errors import UserError


def corners(polygon: Sequence[float] | Sequence[Sequence[float]]) -> tuple[float, ...]:
    """``x1 y1 x2 y2 ...`` of a polygon given so, or as a list of (x, y).

    Raises:
        UserError: for fewer than three corners, coordinates that are no finite numbers, or points of three.
    """
    try:
        given = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"expected a polygon as numbers x1 y1 x2 y2 ..., found {str(polygon)[:60]}") from None
    flat = given.reshape(-1)
    if not _are_numbers(polygon) or (given.ndim > 1 and given.shape[-1] != 2):
        raise UserError(f"expected a polygon as numbers x1 y1 x2 y2 ..., found {str(polygon)[:60]}")
    if flat.size < 6 or flat.size % 2 or not np.isfinite(flat).all():
        raise UserError(f"expected a polygon of three or more corners x y, found {str(polygon)[:60]}")
    return tuple(flat.tolist())


def _are_numbers(values: object) -> bool:
    """Whether no leaf is a text or true, which numpy takes for numbers."""
    if isinstance(values, list | tuple):
        return all(map(_are_numbers, values))
    return not isinstance(values, bool | str | bytes)


def area_left(polygon: Sequence[float], size: tuple[int, int]) -> bool:
    """Whether a polygon is more than a line, and reaches into a picture of (H, W) pixels."""
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    low, high = points.min(axis=0), points.max(axis=0)
    if (high <= 0).any() or (low >= (size[1], size[0])).any():
        return False
    return int(np.linalg.matrix_rank(points - points[0])) == 2


def fill_polygon(mask: np.ndarray, polygon: np.ndarray) -> None:
    """Sets the pixels of ``mask`` whose centre is inside ``polygon``: those with an odd number of edges left of them.

    A centre on an edge belongs to the polygon on its right or below, so that of two neighbours exactly one gets it.
    Where the polygon overlaps itself, the twice covered part is outside (even-odd).

    Args:
        mask: (H, W) bool, changed in place; pixel (i, j), column and row, covers i <= x < i + 1, j <= y < j + 1.
        polygon: (n, 2) x and y in pixels; may reach outside of the mask.
    """
    height, width = mask.shape
    start, stop = polygon, np.roll(polygon, -1, axis=0)
    ends = np.sort(np.stack([start[:, 1], stop[:, 1]]), axis=0)
    first, last = np.ceil(ends - 0.5).clip(0, height).astype(np.int64)  # rows whose centre each edge passes
    passed = last - first
    if not passed.any():
        return
    edge = np.repeat(np.arange(len(polygon)), passed)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(passed) - passed, passed) + first[edge]
    slope = (stop[edge, 0] - start[edge, 0]) / (stop[edge, 1] - start[edge, 1])
    x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope
    column = np.ceil(x - 0.5).clip(0, width).astype(np.int64)
    top, left, right = row.min(), column.min(), column.max()
    shape = (row.max() - top + 1, right - left + 1)
    crossings = np.bincount((row - top) * shape[1] + column - left, minlength=shape[0] * shape[1]).reshape(shape)
    odd = np.bitwise_xor.accumulate((crossings & 1).astype(bool), axis=1)[:, :-1]
    mask[top : top + shape[0], left:right] |= odd
