"""Overlap of oriented boxes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from rsmoe.data.boxes import hbb_of_obb, obb_corners

Point = tuple[float, float]


def obb_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, 5) and (m, 5) ``cx cy w h angle_deg`` -> (n, m) float64 intersection over union; 0 where the union is empty.

    Exact: the polygon that both share is cut out, nothing is rasterised.
    """
    a, b = (np.asarray(boxes, dtype=np.float64).reshape(-1, 5) for boxes in (first, second))
    area_a, area_b = (np.prod(boxes[:, 2:4].clip(0, None), axis=1) for boxes in (a, b))
    around_a, around_b = hbb_of_obb(a).astype(np.float64), hbb_of_obb(b).astype(np.float64)
    touch = (around_a[:, None, :2] <= around_b[None, :, 2:]) & (around_b[None, :, :2] <= around_a[:, None, 2:])
    polygons_a, polygons_b = ([[tuple(p) for p in box] for box in obb_corners(boxes).tolist()] for boxes in (a, b))
    iou = np.zeros((len(a), len(b)))
    for i, j in np.argwhere(touch.all(-1) & (area_a[:, None] > 0) & (area_b > 0)):
        both = _area(_clip(polygons_a[i], polygons_b[j]))
        iou[i, j] = both / (area_a[i] + area_b[j] - both)
    return iou


def _clip(polygon: list[Point], window: list[Point]) -> list[Point]:
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


def _area(polygon: list[Point]) -> float:
    """Shoelace formula, about the first corner so that large coordinates cancel before they are multiplied."""
    if len(polygon) < 3:
        return 0.0
    x0, y0 = polygon[0]
    moved = [(x - x0, y - y0) for x, y in polygon[1:]]
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(moved))) / 2
