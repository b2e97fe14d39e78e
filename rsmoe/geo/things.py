"""Things on a large map: connected regions of what is marked, found strip by strip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.geo.strips import StripMap, row_slices
from rsmoe.geo.write import NO_DATA

_STRIP_PIXELS = 2**22


def large_things(values: Any, *, least: int) -> tuple[StripMap, StripMap]:
    """The regions of an (H, W) uint8 map above 0, and not `NO_DATA`, of ``least`` pixels or more (4 neighbours).

    A strip is looked at with ``least`` rows above and below it: what reaches further is large enough.

    Args:
        values: an array, or what is cut like one.
        least: pixels of the smallest region that stays.

    Returns:
        (H, W) bool, where there is one; and its values there, 0 elsewhere.
    """
    from scipy import ndimage

    mask, kept = StripMap(values.shape, np.bool_), StripMap(values.shape, np.uint8)
    for rows in row_slices(values.shape, _STRIP_PIXELS):
        top = max(0, rows.start - least)
        own = values[top : rows.stop + least, :]
        labels, count = ndimage.label((own > 0) & (own != NO_DATA))
        large = np.bincount(labels.ravel(), minlength=count + 1) >= least
        large[0] = False
        inner = slice(rows.start - top, rows.stop - top)
        marked = large[labels[inner]]
        mask.append(marked)
        kept.append(np.where(marked, own[inner], 0))
    return mask, kept


def mean_inside(values: Any, rings: Sequence[np.ndarray]) -> float:
    """Mean of an (H, W) map over the pixels of a region.

    Args:
        values: an array, or what is cut like one.
        rings: of `rsmoe.geo.polygons.map_polygons`.
    """
    from affine import Affine
    from rasterio.features import rasterize

    (left, top), (right, bottom) = rings[0].min(axis=0).tolist(), rings[0].max(axis=0).tolist()
    shape = {"type": "Polygon", "coordinates": [ring.tolist() for ring in rings]}
    total, pixels = 0, 0
    for rows in row_slices((bottom - top, right - left), _STRIP_PIXELS):
        size = (rows.stop - rows.start, right - left)
        inside = rasterize([shape], out_shape=size, transform=Affine.translation(left, top + rows.start)) > 0
        total += int(values[top + rows.start : top + rows.stop, left:right][inside].sum(dtype=np.int64))
        pixels += int(inside.sum())
    return total / pixels
