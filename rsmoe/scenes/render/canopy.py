"""Tree crowns: a periodic tile of domes, with the number of the tree over each pixel."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from rsmoe.scenes.render.noise import TILE, tile

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
    cells = max(round(TILE / (radius_px * (1.45 if jitter else 2.4))), 4)
    pitch = TILE / cells
    rng = np.random.default_rng([41, int(radius_px * 10), int(jitter)])
    wander = 0.46 if jitter else 0.06
    low, high = (0.7, 1.35) if jitter else (0.85, 1.05)
    own_y, own_x = rng.uniform(-wander, wander, (2, cells, cells))
    radius = radius_px * rng.uniform(low, high, (cells, cells))
    chance, shade = rng.random((2, cells, cells), np.float32)
    tall = (0.55 + 0.45 * radius / radius_px / 1.35) ** 2

    def padded(values: np.ndarray, shift_y: int = 0, shift_x: int = 0) -> np.ndarray:
        """Flat copy with two more cells on every side; positions go on beyond the seam."""
        wide = np.pad(values, 2, mode="wrap")
        steps = np.arange(-2, cells + 2) + 0.5
        return ((wide + steps[:, None] * shift_y + steps * shift_x) * (pitch if shift_y or shift_x else 1)).ravel()

    trunk_y, trunk_x = padded(own_y, shift_y=1).astype(np.float32), padded(own_x, shift_x=1).astype(np.float32)
    peak, fall = padded(tall).astype(np.float32), padded(tall / radius**2).astype(np.float32)
    y, x = np.mgrid[:TILE, :TILE].astype(np.float32) + 0.5
    cell = ((y / pitch).astype(np.int32) + 2) * (cells + 4) + (x / pitch).astype(np.int32) + 2
    # Branches: a bent ground gives crowns that are never circles.
    bend = min(0.2 * radius_px, 1.5)
    bent_y, bent_x = y + bend * tile("fine"), x + bend * np.roll(tile("fine"), 201, axis=1)
    best = np.zeros((TILE, TILE), np.float32)
    winner = cell.copy()
    for down in (-2, -1, 0, 1, 2):
        for right in (-2, -1, 0, 1, 2) if abs(down) < 2 else (-1, 0, 1):
            index = cell + np.int32(down * (cells + 4) + right)
            away = (trunk_y.take(index) - bent_y) ** 2 + (trunk_x.take(index) - bent_x) ** 2
            height = peak.take(index) - away * fall.take(index)
            higher = height > best
            np.copyto(best, height, where=higher)
            np.copyto(winner, index, where=higher)
    return Crowns(
        dome=(np.round(np.sqrt(best) * 512) / 512).astype(np.float32),
        trunk_dy=np.round(trunk_y.take(winner) - y).astype(np.int16),
        trunk_dx=np.round(trunk_x.take(winner) - x).astype(np.int16),
        chance=padded(chance).astype(np.float32).take(winner),
        shade=padded(shade).astype(np.float32).take(winner),
    )


def nearest_radius(radius_px: float) -> float:
    """The tile whose crowns are closest to the wanted size."""
    return min(RADII_PX, key=lambda known: abs(np.log(known / radius_px)))
