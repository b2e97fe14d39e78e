"""Outlines of regions with fewer corners: the stairs that pixels make of a slanted edge become one line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rsmoe.geo.strips import row_slices

HALF_PX = 0.5
"""Tolerance by default. Where in a pixel an edge lies nobody knows; slanted ones are straight again from 0.25 on."""
MOST_PX = 1.0
"""Largest tolerance, see `simplified`."""

_MOVED = 0.125
"""Share of its area that an island may win or lose."""
_RUNS = 2**18
"""Edges of a ring that are looked at together."""


class Junctions:
    """Corners of pixels where more than two borders of a class map meet: there outlines of several regions part. And
    the four corners of the map.

    Args:
        class_map: (H, W) uint8, an array or what is cut like one. All that is around it counts as one class more.
    """

    def __init__(self, class_map: Any) -> None:
        height, width = class_map.shape
        self._wide = width + 1
        corners = np.zeros((height + 1, -(-self._wide // 8)), np.uint8)  # a bit each
        above = np.full((1, width + 2), -1, np.int16)
        for rows in row_slices(class_map.shape):
            own = np.pad(class_map[rows, :].astype(np.int16), ((0, rows.stop == height), (1, 1)), constant_values=-1)
            pixels = np.concatenate([above, own])
            sides = pixels[1:] != pixels[:-1]  # (h, W + 2) left and right of a corner, where borders run
            ends = pixels[:, 1:] != pixels[:, :-1]  # (h + 1, W + 1) above and below it
            count = sides[:, 1:].astype(np.uint8) + sides[:, :-1] + ends[1:] + ends[:-1]
            corners[rows.start : rows.start + len(own)] = np.packbits(count > 2, axis=1)
            above = pixels[-1:]
        for x in (0, width):
            corners[[0, -1], x >> 3] |= np.uint8(128 >> (x & 7))
        self._corners = corners

    def at(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) ``x y`` of corners -> (n,) bool."""
        x, y = points.T
        found: np.ndarray = self._corners[y, x >> 3] >> (7 - (x & 7)) & 1 > 0
        return found


def simplified(rings: Sequence[np.ndarray], junctions: Junctions, *, tolerance_px: float) -> list[np.ndarray]:
    """The outline and the holes of a region with fewer corners; it stays what it is beside its neighbours.

    An outline is cut at its `Junctions`. Along each part the longest chords replace stairs, from corner to corner, as
    long as a chord is less than ``tolerance_px`` off the outline wherever it passes a column of corners of pixels, or a
    row of them (a cone that narrows from column to column: Sklansky and Gonzalez, Pattern Recognition 12, 1980). Up to
    one pixel no corner of another line lies between a chord and its stairs, so that no two lines of a map ever cross:
    regions do not overlap, holes stay holes, and nothing vanishes. Parts are the same from either side:
    neighbours share their border, without gaps.

    Args:
        rings: of `rsmoe.geo.polygons.map_polygons`.
        junctions: of the same map.
        tolerance_px: above 0, to `MOST_PX`.
    """
    found = []
    for ring in rings:
        points, ends = _parted(ring, junctions)
        corners = points[:1].tolist()
        for first, last in pairwise(ends.tolist()):
            part = points[first : last + 1].tolist()
            closed = part[0] == part[-1]
            chords = _island(part, tolerance_px) if closed else _chords(part, tolerance_px)
            corners += chords[1:]
        found.append(np.array(corners, np.int64))
    return found


def _parted(ring: np.ndarray, junctions: Junctions) -> tuple[np.ndarray, np.ndarray]:
    """A ring of corners with the junctions on its edges, which it begins at; and places of the ends of its parts."""
    points = []
    for start in range(0, len(ring) - 1, _RUNS):
        ends = ring[start : start + _RUNS + 1]
        steps = np.diff(ends, axis=0)
        lengths = np.abs(steps).sum(axis=1)
        edge = np.repeat(np.arange(len(steps)), lengths)
        along = np.arange(len(edge)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        every = ends[edge] + np.sign(steps)[edge] * along[:, None]
        points.append(every[(along == 0) | junctions.at(every)])
    own = np.concatenate(points)
    parts = np.flatnonzero(junctions.at(own))
    # without one it is a single part: an island, or the hole around it, from its first corner in reading order
    first = parts[0] if len(parts) else np.lexsort((own[:, 0], own[:, 1]))[0]
    own = np.roll(own, -first, axis=0)
    return np.concatenate([own, own[:1]]), np.append(parts - first if len(parts) else 0, len(own))


def _chords(part: list[list[int]], tolerance_px: float) -> list[list[int]]:
    """The corners of a part that stay: its ends, and as few as greed finds in between."""
    turned = part[0] > part[-1]  # one way, whichever side one looks from
    path = part[::-1] if turned else part
    kept = _greedy(path, len(path), tolerance_px)
    if len(kept) == 2 < len(path) and _area(path) < 0:
        # what lies between two lines from end to end must not vanish: one of them has a corner
        kept = _greedy(path, len(path) - 1, tolerance_px)
    return kept[::-1] if turned else kept


def _island(ring: list[list[int]], tolerance_px: float) -> list[list[int]]:
    """`_chords` of a part that ends where it begins: as of two parts, up to where it is furthest from there.

    What is as thin as a pixel would lose half of itself: it stays as it is.
    """
    x, y = ring[0]
    middle = max(range(len(ring)), key=lambda i: ((ring[i][0] - x) ** 2 + (ring[i][1] - y) ** 2, ring[i]))
    found = _chords(ring[: middle + 1], tolerance_px) + _chords(ring[middle:], tolerance_px)[1:]
    own = _area(ring)
    return found if abs(_area(found) - own) <= _MOVED * abs(own) else ring


def _greedy(path: list[list[int]], first: int, tolerance_px: float) -> list[list[int]]:
    """Corners of the longest chords, one after another; the first of them ends before corner ``first``."""
    swapped = [[y, x] for x, y in path]
    kept, here, end = path[:1], 0, first
    while here < len(path) - 1:
        here = max(_reach(way, here, end, tolerance_px) for way in (path, swapped))
        kept.append(path[here])
        end = len(path)
    return kept


def _area(ring: Sequence[Sequence[int]]) -> int:
    """Twice the signed area of a ring, which may be open."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise([*ring, ring[0]]))


def _reach(path: Sequence[Sequence[int]], start: int, end: int, tolerance_px: float) -> int:
    """The last corner before ``end`` that a chord from ``start`` reaches, along stairs that go one way in x and in y.

    ``low`` and ``high`` bound the slopes of chords that were close enough so far. A column of corners holds the outline
    from ``least`` to ``most``: where it has a step, a chord may pass anywhere beside it.
    """
    u0, v0 = path[start]
    low, high, found = -math.inf, math.inf, start + 1
    ways = [0, 0]
    before = u0
    least = most = v0
    for number in range(start + 1, end):
        u, v = path[number]
        along = u != before
        step = _sign(u - before) if along else _sign(v - path[number - 1][1])
        if ways[along] not in (0, step):
            break
        ways[along] = step
        if not along:
            least, most = min(least, v), max(most, v)
        else:
            columns = [(before, least, most)] if before != u0 else []
            columns += [(before + step, v, v), (u - step, v, v)] if u - step != before else []
            for column, bottom, top in columns:
                far = abs(column - u0)
                low = max(low, (bottom - tolerance_px - v0) / far)
                high = min(high, (top + tolerance_px - v0) / far)
            if low >= high:
                break
            before, least, most = u, v, v
        if u != u0 and low < (v - v0) / abs(u - u0) < high:
            found = number
    return found


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
