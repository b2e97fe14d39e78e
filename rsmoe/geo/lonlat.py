"""Polygons in longitude and latitude, as RFC 7946 (GeoJSON) wants them: cut at the antimeridian, closed at a pole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.errors import UserError
from rsmoe.geo.georeference import Georeference, geographic

_DECIMALS = 7
"""Of a degree: 1 cm."""
_SLIVER = 1e-14
"""Square degrees: what is left of a polygon whose edge lies on the antimeridian."""
_POLE = -1
_PARTS = 16
"""A line that is straight in a projection is curved in degrees: no edge is longer than this share of the grid."""


def lonlat_geometry(rings: Sequence[np.ndarray], place: Georeference) -> dict[str, Any]:
    """Polygon or MultiPolygon of WGS 84 degrees; outlines run counterclockwise and holes clockwise.

    What crosses the antimeridian is cut there in two or more parts, and what holds a pole goes around by 90 degrees of
    latitude (RFC 7946, sections 3.1.6 and 3.1.9). Edges are straight between their points; in a projected CRS long
    ones get points in between.

    Args:
        rings: the outline, then holes: closed, (n, 2) ``x y`` in pixels, the region on the right as the eye sees it.
        place: of these pixels.

    Raises:
        UserError: for a CRS that lies nowhere on the earth, or points outside of the area where it is defined.
    """
    a, b, _, d, e, _ = place.transform
    if geographic(place.crs):
        step = 90 / max(abs(a), abs(b), abs(d), abs(e))  # further apart, nothing says which way around the earth
    else:
        step = max(1.0, max(place.width, place.height) / _PARTS)
    turned = a * e - b * d < 0  # a ring that has its region on the right in the picture has it there on the map, too
    degrees = [_wrapped(place.to_lonlat(_dense(ring[::-1] if turned else ring, step))) for ring in rings]
    if not any(_jumps(ring).any() for ring in degrees):
        return {"type": "Polygon", "coordinates": [_listed(ring) for ring in degrees]}
    closed = [ring for ring in degrees if not _jumps(ring).any()]
    chains = [chain for ring in degrees if _jumps(ring).any() for chain in _cut(ring)]
    found = [ring for ring in [*closed, *_linked(chains)] if abs(_area(ring)) > _SLIVER]
    outlines = [ring for ring in found if _area(ring) > 0]
    polygons = [[ring] for ring in outlines]
    for hole in (ring for ring in found if _area(ring) < 0):
        around = next((i for i, ring in enumerate(outlines) if _inside(hole[0], ring)), None)
        if around is not None:
            polygons[around].append(hole)
    listed = [[_listed(ring) for ring in polygon] for polygon in polygons]
    if len(listed) == 1:
        return {"type": "Polygon", "coordinates": listed[0]}
    return {"type": "MultiPolygon", "coordinates": listed}


def has_degrees(place: Georeference) -> bool:
    """Whether all of a picture lies on the earth, and where its CRS is defined."""
    try:
        place.to_lonlat(place.outline(_PARTS))
    except UserError:
        return False
    return True


def _dense(ring: np.ndarray, step: float) -> np.ndarray:
    """The ring with points on edges that are longer than ``step`` pixels."""
    lengths = np.abs(np.diff(ring, axis=0)).max(axis=1)
    counts = np.maximum(1, np.ceil(lengths / step)).astype(np.int64)
    if (counts == 1).all():
        return ring
    edge = np.repeat(np.arange(len(counts)), counts)
    share = (np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)) / counts[edge]
    points = ring[edge] + (ring[edge + 1] - ring[edge]) * share[:, None]
    return np.concatenate([points, ring[-1:]])


def _wrapped(ring: np.ndarray) -> np.ndarray:
    """Longitudes from -180 to 180."""
    lon = ring[:, 0]
    return np.stack([np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon), ring[:, 1]], axis=1)


def _jumps(ring: np.ndarray) -> np.ndarray:
    """(n - 1,) bool: edges over the antimeridian."""
    crosses: np.ndarray = np.abs(np.diff(ring[:, 0])) > 180
    return crosses


def _cut(ring: np.ndarray) -> list[np.ndarray]:
    """A closed ring that crosses the antimeridian, as chains from there to there."""
    first = int(np.flatnonzero(_jumps(ring))[0])
    ring = np.roll(ring[:-1], -(first + 1), axis=0)  # begins behind a crossing
    ring = np.concatenate([ring, ring[:1]])
    chains, start = [], 0
    entry = _crossing(ring[-2], ring[0])[1]
    for place in np.flatnonzero(_jumps(ring)).tolist():
        leave, enter = _crossing(ring[place], ring[place + 1])
        chains.append(np.concatenate([entry[None], ring[start : place + 1], leave[None]]))
        start, entry = place + 1, enter
    return chains


def _crossing(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the edge from a to b meets the antimeridian: on the side of a, and on the side of b."""
    side = 180.0 if a[0] > 0 else -180.0
    along = b[0] + 2 * side - a[0]
    share = (side - a[0]) / along if along else 0.0
    lat = a[1] + (b[1] - a[1]) * share
    return np.array([side, lat]), np.array([-side, lat])


def _linked(chains: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Closes chains along the antimeridian, and around a pole that lies inside.

    On either side of the rectangle of all degrees, what lies between the first and the second end of chains from the
    south is inside, and so on; an odd number of ends means that a pole is.
    """
    pole = 0.0 if len(chains) % 2 == 0 else 90.0 if np.concatenate(chains)[:, 1].mean() > 0 else -90.0
    next_to: dict[tuple[float, int], tuple[float, int]] = {}  # (side, end); end 2 i begins chain i, 2 i + 1 ends it
    for side in (-180.0, 180.0):
        ends = [(chain[-last, 1], 2 * i + last) for i, chain in enumerate(chains) for last in (0, 1)
                if chain[-last, 0] == side]  # fmt: skip
        ends = sorted([*ends, (pole, _POLE)] if pole else ends)
        for (_, one), (_, other) in zip(ends[::2], ends[1::2], strict=True):
            next_to[side, one], next_to[side, other] = (side, other), (side, one)
    rings, left = [], set(range(len(chains)))
    while left:
        here = min(left)
        points: list[np.ndarray] = []
        while here in left:
            left.remove(here)
            points.append(chains[here])
            side, end = next_to[float(chains[here][-1, 0]), 2 * here + 1]
            if end == _POLE:  # along it to the other side
                points.append(np.array([[side, pole], [-side, pole]]))
                side, end = next_to[-side, _POLE]
            here = end // 2
        rings.append(np.concatenate([*points, points[0][:1]]))
    return rings


def _area(ring: np.ndarray) -> float:
    """Signed, in square degrees; positive for counterclockwise."""
    x, y = (ring - ring[0]).T
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def _inside(point: np.ndarray, ring: np.ndarray) -> bool:
    """Whether a point lies in a closed ring (crossings of a ray)."""
    (x0, y0), (x1, y1) = ring[:-1].T, ring[1:].T
    meets = (y0 > point[1]) != (y1 > point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        x = x0 + (point[1] - y0) * (x1 - x0) / (y1 - y0)
    return bool((meets & (x > point[0])).sum() % 2)


def _listed(ring: np.ndarray) -> list[list[float]]:
    rounded = np.round(ring, _DECIMALS) + 0.0  # no "-0.0"
    new = (np.diff(rounded, axis=0) != 0).any(axis=1)
    listed: list[list[float]] = np.concatenate([rounded[:1], rounded[1:][new]]).tolist()
    return listed
