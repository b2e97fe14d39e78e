"""Boxes held against the size of their picture: what of a truth can be a truth about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsmoe.data.boxes.geometry import clip_polygon, hbb_of_obb, obb_around, obb_corners, polygon_area

NOT_FINITE, INVERTED, NO_AREA, OUTSIDE = "not finite", "corners out of order", "no area", "outside of its picture"
"""Why a box is left out. Of the first two nobody knows where the object is; of the others it is in no pixel."""

UNKNOWN_PLACE = (NOT_FINITE, INVERTED)
"""Faults of a box after which it is not known where it lies."""

_WHOLE = 0.9
"""Share of an oriented box that has to lie inside for it to stay as it is."""


@dataclass(frozen=True, kw_only=True)
class HeldBoxes:
    """Boxes clipped to one picture, without those that do not fit it."""

    boxes: np.ndarray
    """(m, 4) or (m, 5) float32, those that are kept, cut to the picture."""
    kept: np.ndarray
    """(m,) their places among the given."""
    reasons: tuple[str, ...]
    """Of each given box why it is left out, or ""."""
    strayed: int
    """How many kept ones reached over the edge by more than rounding: a pixel and a hundredth of the side."""


def hold_boxes(boxes: np.ndarray, size_px: tuple[int, int]) -> HeldBoxes:
    """Boxes as they can be seen.

    A horizontal box that reaches over the edge is clipped. An oriented one stays as it is while nine tenths of its area
    lie inside; of another the smallest oriented box around the part inside is taken, so that its hull is in the picture
    but for a corner. Left out is what has no area, corners out of order, coordinates that are no finite numbers, or
    less than a pixel in the picture. The picture is 0 to W and 0 to H with both ends: pixels counted from 1 fit.

    Args:
        boxes: (n, 4) ``x1 y1 x2 y2`` or (n, 5) ``cx cy w h angle_deg``, float pixels.
        size_px: (width, height) of the picture as it is seen, see `rsmoe.data.rasters.images.picture_size`.
    """
    given = np.asarray(boxes, dtype=np.float64)
    oriented = given.shape[1] == 5
    limit = np.array([*size_px, *size_px], dtype=np.float64)
    slack = 1 + 0.01 * limit
    with np.errstate(invalid="ignore", over="ignore"):
        extents = given[:, 2:4] if oriented else given[:, 2:] - given[:, :2]
        around = hbb_of_obb(given).astype(np.float64) if oriented else given
        whole = (around >= 0).all(axis=1) & (around <= limit).all(axis=1) & (extents > 0).all(axis=1)
    seen, reasons, strayed = given.copy(), [""] * len(given), 0
    for i in np.flatnonzero(~whole):  # few: the rest is as it should be
        box, extent = given[i], extents[i]
        if not np.isfinite(box).all():
            reasons[i] = NOT_FINITE
        elif (extent < 0).any():
            reasons[i] = INVERTED
        elif (extent == 0).any():
            reasons[i] = NO_AREA
        else:
            seen[i] = _oriented(box, limit[:2]) if oriented else box.clip(0, limit)
            sides = seen[i, 2:4] if oriented else seen[i, 2:] - seen[i, :2]
            if (sides <= 0).any() or ((sides < 1) & (sides < extent)).any():
                reasons[i] = OUTSIDE
            else:
                strayed += bool((around[i] < -slack).any() or (around[i] > limit + slack).any())
    kept = np.array([i for i, reason in enumerate(reasons) if not reason], dtype=np.int64)
    return HeldBoxes(boxes=seen[kept].astype(np.float32), kept=kept, reasons=tuple(reasons), strayed=strayed)


def _oriented(box: np.ndarray, side: np.ndarray) -> np.ndarray:
    """What is seen of an oriented box; sides of 0 where that is nothing."""
    corners = obb_corners(box[None])[0]
    if (corners >= 0).all() and (corners <= side).all():
        return box
    width, height = side.tolist()
    picture = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    inside = clip_polygon([(float(x), float(y)) for x, y in corners], picture)
    area = polygon_area(inside)
    if area >= _WHOLE * float(box[2] * box[3]):
        return box
    if area <= 0:
        return np.zeros(5)
    return obb_around(np.array([inside]))[0].astype(np.float64)
