"""Meridians and parallels over a picture that lies on the earth, for a page without map tiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from rsmoe.errors import UserError
from rsmoe.geo.georeference import WGS84, Georeference, project

_LINES = 5
"""Most of each kind."""
_GRID = 9
"""Points of a side of the grid of coordinates."""
_DENSE = 33
"""Points of a line: straight in degrees is curved in another CRS."""


def graticule(place: Georeference | None) -> dict[str, Any] | None:
    """``lines``: {label, px: [[x, y], ...]} of round degrees; ``lonlat``: 9 x 9 points, row by row, over the picture.

    Between these points a page interpolates what lies under the pointer. Longitudes may exceed 180 where the picture
    crosses the antimeridian. None without a place on the earth.
    """
    if place is None:
        return None
    steps = np.linspace(0, 1, _GRID)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2) * (place.width, place.height)
    try:
        lonlat = place.to_lonlat(grid)
        if np.ptp(lonlat[:, 0]) > 180:
            lonlat[:, 0] %= 360
        lines = [line for axis in (0, 1) for line in _lines(place, lonlat, axis)]
    except UserError:  # a local system, or beyond the area where the CRS is defined
        return None
    return {"lines": lines, "lonlat": np.round(lonlat, 7).tolist()}


def _lines(place: Georeference, lonlat: np.ndarray, axis: int) -> list[dict[str, Any]]:
    """Lines of round longitudes (axis 0) or latitudes (axis 1)."""
    low, high = lonlat.min(0), lonlat.max(0)
    step, decimals = _step(float(high[axis] - low[axis]))
    values = np.arange(np.ceil(low[axis] / step), np.floor(high[axis] / step) + 1) * step
    found = []
    for value in values.tolist():
        points = np.empty((_DENSE, 2))
        points[:, axis] = value
        points[:, 1 - axis] = np.linspace(low[1 - axis], high[1 - axis], _DENSE)
        pixels = place.to_pixel(project(points, WGS84, place.crs))
        found.append({"label": _label(value, axis, decimals), "px": np.round(pixels, 1).tolist()})
    return found


def _step(span: float) -> tuple[float, int]:
    """A step of 1, 2 or 5 times a power of ten that gives at most so many lines, and its decimals."""
    power = int(np.floor(np.log10(max(span, 1e-9) / _LINES)))
    digit = next(d for d in (1, 2, 5, 10) if span <= d * 10.0**power * _LINES)
    return digit * 10.0**power, max(0, -power - (digit == 10))


def _label(value: float, axis: int, decimals: int) -> str:
    value = (value + 180) % 360 - 180 if axis == 0 else value
    return f"{abs(value):.{decimals}f}° {('EW', 'NS')[axis][value < 0]}"
