"""Boxes that were found tile by tile, one for each thing."""

from __future__ import annotations

import numpy as np

from rsmoe.data.boxes.geometry import Point, box_corners, clip_polygon, hbb_of_obb, obb_around, polygon_area

_SAME = 0.5
"""Intersection over union from which two boxes are one thing."""
_STEP = 0.01
"""Of a tile's side: a box that ends so close to an edge is cut by it. One step of boxes in percent."""


def join_boxes(
    boxes: np.ndarray, scores: np.ndarray, seen: np.ndarray, size_px: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Non-maximum suppression for tiles that overlap: boxes of several tiles on one thing become one.

    Boxes of two tiles are one thing where they agree on the ground that both tiles see: there their IoU is 0.5 or more.
    Of those the surest that no edge of its tile cuts is kept; where all are cut, as those of a thing larger than a tile
    are, the smallest box around them. Boxes of one tile stay as they are.

    Args:
        boxes: (n, 4) ``x1 y1 x2 y2`` or (n, 5) ``cx cy w h angle_deg`` in pixels of the picture.
        scores: (n,) the higher the surer.
        seen: (n, 4) ``x1 y1 x2 y2`` of the tile that each was found in.
        size_px: (width, height) of the picture.

    Returns:
        boxes (m, 4) or (m, 5) float32, and scores (m,); the surest first.
    """
    boxes, seen = np.asarray(boxes, np.float64), np.asarray(seen, np.float64)
    hulls = hbb_of_obb(boxes).astype(np.float64) if boxes.shape[1] == 5 else boxes
    group = _groups(boxes, hulls, seen)
    step = _STEP * (seen[:, 2:] - seen[:, :2])
    inner = np.concatenate([seen[:, :2] > 0, seen[:, 2:] < size_px], axis=1)
    near = np.concatenate([hulls[:, :2] <= seen[:, :2] + step, hulls[:, 2:] >= seen[:, 2:] - step], axis=1)
    whole = ~(inner & near).any(axis=1)
    kept, sure = [], []
    for own in np.split(np.argsort(group, kind="stable"), np.flatnonzero(np.diff(np.sort(group))) + 1):
        if whole[own].any():
            own = own[whole[own]]
            own = own[[int(np.argmax(scores[own]))]]
        kept.append(boxes[own[0]] if len(own) == 1 else _around(boxes[own], hulls[own]))
        sure.append(float(np.max(scores[own])))
    order = np.argsort(-np.array(sure), kind="stable")
    return np.array(kept, np.float32).reshape(-1, boxes.shape[1])[order], np.array(sure)[order]


def _groups(boxes: np.ndarray, hulls: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(n,) for each box the place of the first one on the same thing."""
    first = np.arange(len(boxes))
    order = np.argsort(hulls[:, 0], kind="stable")
    lefts = hulls[order, 0]
    for place, i in enumerate(order):
        later = order[place + 1 : np.searchsorted(lefts, hulls[i, 2])]
        meets = (hulls[later, 1] < hulls[i, 3]) & (hulls[i, 1] < hulls[later, 3])
        for j in later[meets & (seen[later] != seen[i]).any(axis=1)]:
            if first[i] != first[j] and _same(boxes[i], boxes[j], seen[[i, j]]):
                low, high = sorted((first[i], first[j]))
                first[first == high] = low
    return first


def _same(one: np.ndarray, other: np.ndarray, seen: np.ndarray) -> bool:
    """Whether two boxes agree on the ground that both tiles see."""
    (x1, y1), (x2, y2) = seen[:, :2].max(axis=0).tolist(), seen[:, 2:].min(axis=0).tolist()
    if x1 >= x2 or y1 >= y2:
        return False
    window = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    a, b = (clip_polygon([_point(corner) for corner in box_corners(box)], window) for box in (one, other))
    both = polygon_area(clip_polygon(a, [_point(corner) for corner in box_corners(other)]))
    return both > 0 and both >= _SAME * (polygon_area(a) + polygon_area(b) - both)


def _around(boxes: np.ndarray, hulls: np.ndarray) -> np.ndarray:
    if boxes.shape[1] == 5:
        return obb_around(np.concatenate([box_corners(box) for box in boxes])[None])[0]
    return np.concatenate([hulls[:, :2].min(axis=0), hulls[:, 2:].max(axis=0)])


def _point(corner: np.ndarray) -> Point:
    return float(corner[0]), float(corner[1])
