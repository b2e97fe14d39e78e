"""Where the boxes of the original image are on the square picture that the model sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsmoe.data.boxes import wrap_angle
from rsmoe.data.transforms.symmetries import IDENTITY, turn_points


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The geometry of one augmentation: resize to S x S, turn, cut a window out, resize that to S x S."""

    size_px: tuple[int, int]
    """(W, H) of the original image."""
    size: int
    """S."""
    symmetry: int = IDENTITY
    """See `rsmoe.data.transforms.symmetries`."""
    window: tuple[int, int, int, int] | None = None
    """``x y w h`` in pixels of the turned S x S picture; None is all of it."""

    def points(self, points_px: np.ndarray) -> np.ndarray:
        """(..., 2) pixels of the original -> pixels of the result."""
        placed = np.asarray(points_px, np.float64) * self.size / np.asarray(self.size_px)
        placed = turn_points(placed, self.symmetry, self.size)
        if self.window is not None:
            placed = (placed - self.window[:2]) * self.size / np.asarray(self.window[2:])
        return placed

    def boxes(self, boxes_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 4) ``x1 y1 x2 y2`` -> (n, 4) clipped to the picture, and (n,) bool: whether its centre is still in it."""
        corners = self.points(np.asarray(boxes_px).reshape(-1, 2, 2))
        placed = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        return placed.clip(0, self.size).astype(np.float32), self._inside(corners.mean(axis=1))

    def obb(self, obb_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 5) ``cx cy w h angle_deg`` -> (n, 5), not clipped, and (n,) bool: whether its centre is in the picture.

        Where the two axes are scaled unequally a slanted rectangle becomes a parallelogram; the box then keeps its
        centre, the direction and length of its first side, and its area.
        """
        boxes = np.asarray(obb_px, np.float64).reshape(-1, 5)
        angle = np.deg2rad(boxes[:, 4])
        ahead = np.stack([np.cos(angle), np.sin(angle)], axis=1) * boxes[:, 2:3]
        aside = np.stack([-np.sin(angle), np.cos(angle)], axis=1) * boxes[:, 3:4]
        centre = self.points(boxes[:, :2])
        first, second = self.points(boxes[:, :2] + ahead) - centre, self.points(boxes[:, :2] + aside) - centre
        width = np.hypot(first[:, 0], first[:, 1])
        area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
        turned = wrap_angle(np.rad2deg(np.arctan2(first[:, 1], first[:, 0])))
        placed = np.stack([centre[:, 0], centre[:, 1], width, area / np.maximum(width, 1e-9), turned], axis=1)
        return placed.astype(np.float32), self._inside(centre)

    def _inside(self, points: np.ndarray) -> np.ndarray:
        return np.all((points >= 0) & (points <= self.size), axis=1)
