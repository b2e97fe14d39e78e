"""The 3 x 3 grid in which change instructions say where something changed.

Names and their order are those that ChangeChat-105k's evaluation reads: Deng et al., "DeltaVLM", arXiv:2507.22346,
``scripts/test-loc.ipynb``.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

CELLS = tuple(f"{row}-{column}" for row in ("top", "center", "bottom") for column in ("left", "center", "right"))
"""The cells row by row, from "top-left" to "bottom-right"."""

MIN_SHARE = 0.05
"""Share of a class's changed pixels that a cell must hold to be named."""


def cell_shares(mask: np.ndarray) -> np.ndarray:
    """(9,) float64: the share of the True pixels of an (H, W) mask that each of `CELLS` holds; zeros for an empty mask.

    Pixel (row, column) lies in cell (3 row // H, 3 column // W): the nine cells cover every pixel once, also where H or
    W is no multiple of three.
    """
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    held = np.bincount(3 * rows // height * 3 + 3 * columns // width, minlength=9).astype(np.float64)
    return held / max(len(rows), 1)


def cells_of(mask: np.ndarray) -> tuple[str, ...]:
    """Cells that hold at least `MIN_SHARE` of the True pixels of an (H, W) mask, in the order of `CELLS`.

    A share of the change, not of the cell: a lone house is named although it fills a hundredth of its cell, and the
    sliver of a house that reaches over the border of a cell is not. A mask that is not empty has at least one cell,
    for nine shares below 1/9 cannot add up to one.
    """
    return tuple(name for name, share in zip(CELLS, cell_shares(mask), strict=True) if share >= MIN_SHARE)


def in_order(cells: Iterable[str]) -> tuple[str, ...]:
    """The cells once each, in the order of `CELLS`; ValueError for a name that is none."""
    return tuple(sorted(set(cells), key=CELLS.index))


def cell_at(x: float, y: float, width: float, height: float) -> int:
    """Index in `CELLS` of a point in pixels."""
    column = min(2, max(0, int(3 * x / width)))
    row = min(2, max(0, int(3 * y / height)))
    return 3 * row + column
