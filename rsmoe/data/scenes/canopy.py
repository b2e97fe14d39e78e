"""Tree crowns: a periodic tile of domes that tells every pixel which tree stands over it."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from rsmoe.data.scenes.noise import TILE, tile

RADII_PX = (1.1, 1.6, 2.3, 3.3, 4.8, 7.0, 10.0, 14.5)
"""Mean crown radii for which there is a tile."""


class Crowns(NamedTuple):
    """Per pixel of a tile: the crown that stands highest there."""

    dome: np.ndarray
    """(TILE, TILE) float32 in 0-1, height of the crown's surface; 0 between crowns."""
    trunk_dy: np.ndarray
    """(TILE, TILE) int16, rows from the pixel to the trunk."""
    trunk_dx: np.ndarray
    """(TILE, TILE) int16, columns from the pixel to the trunk."""
    chance: np.ndarray
    """(TILE, TILE) float32 in 0-1, one number per tree: it stands where the tree cover exceeds it."""
    shade: np.ndarray
    """(TILE, TILE) float32 in 0-1, one number per tree for its colour."""


@cache
def crowns(radius_px: float, jitter: bool) -> Crowns:
    """Crowns of about ``radius_px`` pixels, scattered (natural wood) or in rows (orchard)."""
    cells = max(int(round(TILE / (radius_px * (1.45 if jitter else 2.4)))), 4)
    pitch = TILE / cells
    rng = np.random.default_rng([41, int(radius_px * 10), int(jitter)])
    wander = 0.46 if jitter else 0.06
    trunk_y = (np.arange(cells)[:, None] + 0.5 + rng.uniform(-wander, wander, (cells, cells))) * pitch
    trunk_x = (np.arange(cells)[None] + 0.5 + rng.uniform(-wander, wander, (cells, cells))) * pitch
    radius = radius_px * (rng.uniform(0.7, 1.35, (cells, cells)) if jitter else rng.uniform(0.85, 1.05, (cells, cells)))
    chance, shade = rng.random((2, cells, cells))
    y, x = np.mgrid[:TILE, :TILE].astype(np.float32) + 0.5
    # Branches: the outline of a crown is never a circle.
    ragged = (tile("fine") * 0.5 + tile("mid") * 0.5) * min(0.16 * radius_px, 1.2)
    near_y, near_x = (y / pitch).astype(int), (x / pitch).astype(int)
    best = np.zeros((TILE, TILE), np.float32)
    out = [np.zeros((TILE, TILE), np.float32) for _ in range(4)]
    for down in (-2, -1, 0, 1, 2):
        for right in (-2, -1, 0, 1, 2):
            row, column = (near_y + down) % cells, (near_x + right) % cells
            dy = (trunk_y[row, column] - y + TILE / 2) % TILE - TILE / 2
            dx = (trunk_x[row, column] - x + TILE / 2) % TILE - TILE / 2
            size = radius[row, column]
            inside = 1 - ((np.hypot(dy, dx) + ragged) / size) ** 2
            height = np.sqrt(np.maximum(inside, 0)) * (0.55 + 0.45 * size / radius_px / 1.35)
            higher = height > best
            best[higher] = height[higher]
            for target, value in zip(out, (dy, dx, chance[row, column], shade[row, column]), strict=True):
                target[higher] = value[higher]
    dome = (np.round(np.minimum(best, 1) * 512) / 512).astype(np.float32)
    return Crowns(dome, np.round(out[0]).astype(np.int16), np.round(out[1]).astype(np.int16), out[2], out[3])


def nearest_radius(radius_px: float) -> float:
    """The tile whose crowns are closest to the wanted size."""
    return min(RADII_PX, key=lambda known: abs(np.log(known / radius_px)))
