"""Overlap of oriented boxes."""

from __future__ import annotations

import numpy as np

from rsmoe.data.boxes.geometry import clip_polygon, hbb_of_obb, obb_corners, polygon_area


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
        both = polygon_area(clip_polygon(polygons_a[i], polygons_b[j]))
        iou[i, j] = both / (area_a[i] + area_b[j] - both)
    return iou
