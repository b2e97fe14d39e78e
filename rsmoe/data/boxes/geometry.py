"""Oriented boxes and their corners."""

from __future__ import annotations

import numpy as np


def wrap_angle(angle_deg: np.ndarray) -> np.ndarray:
    """The same orientation in [-90, 90): a box turned by 180 degrees is itself."""
    return (np.asarray(angle_deg, dtype=np.float64) + 90.0) % 180.0 - 90.0


def obb_corners(obb: np.ndarray) -> np.ndarray:
    """(n, 5) ``cx cy w h angle_deg`` -> (n, 4, 2) corners.

    Clockwise to the eye, from the one that is top left while the angle is 0.
    """
    boxes = np.asarray(obb, dtype=np.float64).reshape(-1, 5)
    half = boxes[:, None, 2:4] / 2 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])  # (n, 4, 2)
    angle = np.deg2rad(boxes[:, 4])[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    x = half[..., 0] * cos - half[..., 1] * sin
    y = half[..., 0] * sin + half[..., 1] * cos
    return boxes[:, None, :2] + np.stack([x, y], axis=-1)


def obb_from_corners(corners: np.ndarray) -> np.ndarray:
    """(n, 4, 2) or (n, 8) corners in any order -> (n, 5) float32 ``cx cy w h angle_deg``, w >= h, angle in [-90, 90).

    Of a quadrilateral that is no rectangle (annotators click four points), the smallest rectangle around it. One of its
    sides lies along a side of the hull, so the six directions between four points are all that have to be tried.
    """
    points = np.asarray(corners, dtype=np.float64).reshape(-1, 4, 2)
    first, second = np.triu_indices(4, k=1)
    delta = points[:, second] - points[:, first]  # (n, 6, 2)
    angle = np.arctan2(delta[..., 1], delta[..., 0])
    axes = np.stack([np.cos(angle), np.sin(angle)], axis=-1)  # (n, 6, 2)
    along = np.einsum("npd,nkd->nkp", points, axes)
    across = np.einsum("npd,nkd->nkp", points, np.stack([-axes[..., 1], axes[..., 0]], axis=-1))
    low = np.stack([along.min(-1), across.min(-1)], axis=-1)  # (n, 6, 2)
    high = np.stack([along.max(-1), across.max(-1)], axis=-1)
    best = np.argmin(np.prod(high - low, axis=-1), axis=-1)
    rows = np.arange(len(points))
    low, high, axis = low[rows, best], high[rows, best], axes[rows, best]
    middle, side = (low + high) / 2, high - low
    cx = middle[:, 0] * axis[:, 0] - middle[:, 1] * axis[:, 1]
    cy = middle[:, 0] * axis[:, 1] + middle[:, 1] * axis[:, 0]
    upright = side[:, 0] < side[:, 1]
    turned = np.rad2deg(np.arctan2(axis[:, 1], axis[:, 0])) + 90.0 * upright
    w, h = side.max(-1), side.min(-1)
    return np.stack([cx, cy, w, h, wrap_angle(turned)], axis=-1).astype(np.float32)


def hbb_of_obb(obb: np.ndarray) -> np.ndarray:
    """(n, 5) -> (n, 4) float32 ``x1 y1 x2 y2``: the smallest horizontal box around each oriented one."""
    corners = obb_corners(obb)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=-1).astype(np.float32)
