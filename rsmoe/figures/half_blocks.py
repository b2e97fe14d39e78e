"""A picture in a terminal: every character is two pixels, one above the other."""

from __future__ import annotations

import numpy as np
from rich.color import Color
from rich.style import Style
from rich.text import Text


def half_blocks(image: np.ndarray, *, columns: int) -> Text:
    """Lines of upper half blocks, the upper pixel their ink and the lower one their ground, in 24-bit colour.

    Args:
        image: (H, W, >= 3) uint8, of which the first three bands are red, green and blue; or (H, W, 1 or 2), grey.
        columns: characters a line at most; a smaller picture takes as many as it has pixels.
    """
    height, width = image.shape[:2]
    wide = min(columns, width)
    deep = max(2, round(height * wide / width) // 2 * 2)
    rows, places = (np.linspace(0, side, n + 1).astype(int) for side, n in ((height, deep), (width, wide)))
    rgb = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    # the mean of every cell: single pixels of a large picture would be noise
    sums = np.add.reduceat(np.add.reduceat(rgb.astype(np.int64), rows[:-1], axis=0), places[:-1], axis=1)
    cells = sums // (np.maximum(np.diff(rows), 1)[:, None, None] * np.maximum(np.diff(places), 1)[:, None])
    lines = []
    for pair in zip(cells[::2].tolist(), cells[1::2].tolist(), strict=True):
        line = Text()
        for ink, ground in zip(*pair, strict=True):
            line.append("▀", Style(color=Color.from_rgb(*ink), bgcolor=Color.from_rgb(*ground)))
        lines.append(line)
    return Text("\n").join(lines)
