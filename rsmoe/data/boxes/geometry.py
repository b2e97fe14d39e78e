"""Oriented boxes and their corners."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

Point = tuple[float, float]
"""``(x, y)`` in pixels."""


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


def box_corners(box: np.ndarray) -> np.ndarray:
    """(4,) ``x1 y1 x2 y2`` or (5,) oriented -> (4, 2) corners, in the order of `obb_corners`."""
    return obb_corners(box)[0] if len(box) == 5 else np.asarray(box)[[[0, 1], [2, 1], [2, 3], [0, 3]]]


def obb_from_corners(corners: np.ndarray) -> np.ndarray:
    """(n, 4, 2) or (n, 8) corners in any order -> (n, 5) float32 ``cx cy w h angle_deg``, w >= h, angle in [-90, 90).

    Of a quadrilateral that is no rectangle (annotators click four points), the smallest rectangle around it.
    """
    return obb_around(np.asarray(corners, dtype=np.float64).reshape(-1, 4, 2))


def obb_around(points: np.ndarray) -> np.ndarray:
    """(n, k, 2) points -> (n, 5) float32: the smallest oriented box around each set of k points.

    One of its sides lies along a side of their hull, so the directions between two points are all that have to be
    tried.
    """
    first, second = np.triu_indices(points.shape[1], k=1)
    delta = points[:, second] - points[:, first]  # (n, pairs, 2)
    angle = np.arctan2(delta[..., 1], delta[..., 0])
    axes = np.stack([np.cos(angle), np.sin(angle)], axis=-1)  # (n, pairs, 2)
    along = np.einsum("npd,nkd->nkp", points, axes)
    across = np.einsum("npd,nkd->nkp", points, np.stack([-axes[..., 1], axes[..., 0]], axis=-1))
    low = np.stack([along.min(-1), across.min(-1)], axis=-1)  # (n, pairs, 2)
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


def clip_polygon(polygon: list[Point], window: list[Point]) -> list[Point]:
    """The part of a polygon inside a convex window whose corners turn clockwise to the eye.

    Sutherland and Hodgman, CACM 17(1), 1974: the half plane of each side of the window is cut off in turn. A corner
    that rounding puts on the wrong side of a line moves the area by no more than that rounding.
    """
    for (ax, ay), (bx, by) in zip(window, window[1:] + window[:1], strict=True):
        inside = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for x, y in polygon]
        kept: list[Point] = []
        for i, (point, depth) in enumerate(zip(polygon, inside, strict=True)):
            before, depth_before = polygon[i - 1], inside[i - 1]
            if (depth >= 0) != (depth_before >= 0):
                t = depth_before / (depth_before - depth)
                kept.append((before[0] + t * (point[0] - before[0]), before[1] + t * (point[1] - before[1])))
            if depth >= 0:
                kept.append(point)
        polygon = kept
    return polygon


def polygon_area(polygon: list[Point]) -> float:
    """Shoelace formula, about the first corner so that large coordinates cancel before they are multiplied."""
    if len(polygon) < 3:
        return 0.0
    x0, y0 = polygon[0]
    moved = [(x - x0, y - y0) for x, y in polygon[1:]]
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(moved))) / 2
