"""Where in a picture a sentence fits: cosines of many tiles, averaged over each pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from rsmoe.archive import Embedder
from rsmoe.geo.windows import tile_starts

SIDES = (256, 512, 768)
"""Sides of the tiles in pixels, as AIR-SLT's maps have them (Yuan et al., arXiv 2209.06515)."""
_CELLS = 8
"""Cells of the map along the smallest tile: its edges lie half a tile apart, so that nothing finer is in it."""


def heat_map(
    embedder: Embedder,
    picture: Any,
    sentence: str,
    *,
    sides: Sequence[int] = SIDES,
    batch_size: int = 32,
    watch: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """(H, W) float32, 0 to 1: tiles of every side, half a tile apart, by their cosine to the sentence.

    A pixel has the mean of the tiles that show it; the map is stretched from its least to its greatest value, and each
    cell of an eighth of the smallest tile gets the median of those around it within that tile. What is smaller than a
    tile is one tile.

    Args:
        picture: (H, W, C) uint8, or what is cut like it.
        sentence: in the words that the embedder knows.
        sides: of the tiles, in pixels of the picture.
        batch_size: tiles that go through the embedder at once.
        watch: told the number of tiles that are done.

    Raises:
        UserError: a sentence without a word, a picture that cannot be read.
    """
    (asked,) = embedder.embed_texts([sentence])
    windows = tiles_of(picture.shape[:2], sides)
    found = []
    for start in range(0, len(windows), batch_size):
        some = windows[start : start + batch_size]
        pixels = [np.asarray(picture[rows, columns])[..., : embedder.bands] for rows, columns in some]
        found.append(embedder.embed_images(pixels) @ asked)
        watch(len(some))
    return averaged(windows, np.concatenate(found), shape=picture.shape[:2], side=min(sides))


def tiles_of(shape: tuple[int, int], sides: Sequence[int]) -> list[tuple[slice, slice]]:
    """Rows and columns of all tiles."""
    height, width = shape
    return [
        (slice(top, min(top + side, height)), slice(left, min(left + side, width)))
        for side in sides
        for top in tile_starts(height, side, overlap=0.5)
        for left in tile_starts(width, side, overlap=0.5)
    ]


def averaged(
    windows: Sequence[tuple[slice, slice]], scores: np.ndarray, *, shape: tuple[int, int], side: int
) -> np.ndarray:
    """(H, W) float32, 0 to 1, of scores of windows, see `heat_map`; 0 where all scores are the same."""
    cell = max(1, side // _CELLS)
    grid = (-(-shape[0] // cell), -(-shape[1] // cell))
    total, times = np.zeros(grid), np.zeros(grid)
    for (rows, columns), score in zip(windows, scores.tolist(), strict=True):
        own = (slice(rows.start // cell, -(-rows.stop // cell)), slice(columns.start // cell, -(-columns.stop // cell)))
        total[own] += score
        times[own] += 1
    mean = total / times
    least, most = float(mean.min()), float(mean.max())
    mean = (mean - least) / (most - least) if most > least else np.zeros(grid)
    mean = ndimage.median_filter(mean, size=_CELLS - 1, mode="nearest")
    fine = np.repeat(np.repeat(mean, cell, axis=0), cell, axis=1)[: shape[0], : shape[1]]
    return ndimage.uniform_filter(fine.astype(np.float32), size=cell, mode="nearest")
