"""Regions of a class map as polygons, strip by strip, joined where strips meet."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rsmoe.geo.strips import row_slices


@dataclass
class _Region:
    """A region of which more may come below."""

    kind: int
    edges: list[np.ndarray] = field(default_factory=list)
    """(n, 4) int64 ``x0 y0 x1 y1`` each, the region on the right of the way as the eye sees it (y points down)."""
    seam: list[tuple[int, int]] = field(default_factory=list)
    """``x0 x1`` of the edges at the bottom of the strip."""


def map_polygons(
    class_map: Any, *, skip: int, least: int = 1, pixels: int = 2**22
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Vectorises the 4-connected regions of an (H, W) uint8 class map, ``skip`` and what is below ``least`` left out.

    Memory is that of a strip of the map, and of the outlines of regions that reach into the next one.

    Args:
        class_map: an array, or what is cut like one.
        skip: another value that is no region.
        least: value that is a region; 0 for classes of which none is a background.
        pixels: of a strip, at most; one row at least.

    Yields:
        the value, and closed rings of (n, 2) int64 ``x y`` in pixels along their edges: the outline, then holes.
    """
    height = class_map.shape[0]
    regions: list[_Region] = []
    for rows in row_slices(class_map.shape, pixels):
        values = np.ascontiguousarray(class_map[rows, :], np.uint8)
        pieces: list[_Region] = []
        tops: list[list[tuple[int, int]]] = []
        for kind, rings in _rings(values, rows.start, skip, least):
            high, low = int(rings[0][:, 1].min()), int(rings[0][:, 1].max())
            if (high > rows.start or high == 0) and (low < rows.stop or low == height):
                yield kind, rings
                continue
            piece, above = _piece(kind, rings, rows.start, rows.stop, height)
            pieces.append(piece)
            tops.append(above)
        regions = _joined(regions, pieces, tops, rows.start)
        for region in regions:
            if not region.seam:
                yield region.kind, _chained(np.concatenate(region.edges))
        regions = [region for region in regions if region.seam]


def _rings(values: np.ndarray, top: int, skip: int, least: int) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Polygons of one strip, the region on the right of every edge."""
    from affine import Affine
    from rasterio.features import shapes

    mask = (values >= least) & (values != skip)
    if not mask.any():
        return
    for geometry, value in shapes(values, mask=mask, connectivity=4, transform=Affine.translation(0, top)):
        rings = [np.asarray(ring, np.int64) for ring in geometry["coordinates"]]
        yield int(value), [ring if (area(ring) > 0) == (i == 0) else ring[::-1] for i, ring in enumerate(rings)]


def area(ring: np.ndarray) -> int:
    """Signed area of a closed ring (shoelace formula), positive where the region is on the right as the eye sees it."""
    x, y = (ring - ring[0]).T
    return int(x[:-1] @ y[1:] - x[1:] @ y[:-1]) // 2


def _piece(
    kind: int, rings: Sequence[np.ndarray], top: int, bottom: int, height: int
) -> tuple[_Region, list[tuple[int, int]]]:
    """A polygon of a strip as edges, without those on the seams; ``x0 x1`` of those on the upper one."""
    edges = np.concatenate([np.hstack([ring[:-1], ring[1:]]) for ring in rings])
    flat = edges[:, 1] == edges[:, 3]
    above = flat & (edges[:, 1] == top) & (top > 0)
    below = flat & (edges[:, 1] == bottom) & (bottom < height)
    piece = _Region(kind, [edges[~(above | below)]], [(x1, x0) for x0, _, x1, _ in edges[below].tolist()])
    return piece, [(x0, x1) for x0, _, x1, _ in edges[above].tolist()]


def _joined(
    regions: Sequence[_Region], pieces: Sequence[_Region], tops: Sequence[Sequence[tuple[int, int]]], y: int
) -> list[_Region]:
    """Regions above a seam and pieces below it, as one where equal pixels share the seam."""
    upper = sorted((x0, x1, i) for i, region in enumerate(regions) for x0, x1 in region.seam)
    lower = sorted((x0, x1, len(regions) + i) for i, own in enumerate(tops) for x0, x1 in own)
    members = [*regions, *pieces]
    parent = list(range(len(members)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    shared: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    up = down = 0
    while up < len(upper) and down < len(lower):
        (a0, a1, a), (b0, b1, b) = upper[up], lower[down]
        start, end = max(a0, b0), min(a1, b1)
        if start < end and members[a].kind == members[b].kind:
            parent[root(b)] = root(a)
            shared[a, a0].append((start, end))
            shared[b, b0].append((start, end))
        up, down = (up + 1, down) if a1 <= b1 else (up, down + 1)
    groups: dict[int, _Region] = {}
    for i, member in enumerate(members):
        group = groups.setdefault(root(i), _Region(member.kind))
        group.edges += member.edges
        group.seam += [] if i < len(regions) else member.seam
    for intervals, below in ((upper, False), (lower, True)):
        for (
            x0,
            x1,
            i,
        ) in intervals:  # what nobody shares stays an edge: of a piece below to the right, above to the left
            ends = [x0, *(x for pair in shared[i, x0] for x in pair), x1]
            rest = [
                (p, y, q, y) if below else (q, y, p, y) for p, q in zip(ends[::2], ends[1::2], strict=True) if p < q
            ]
            if rest:
                groups[root(i)].edges.append(np.array(rest, np.int64))
    return list(groups.values())


def _chained(edges: np.ndarray) -> list[np.ndarray]:
    """Closed rings of the edges of one region, its outline first; corners only.

    Where two corners of a region meet, a ring goes on to the left: so none touches itself, and what lies between them
    on one side is a hole.
    """
    wide = int(edges[:, [0, 2]].max()) + 1
    starts, ends = edges[:, 1] * wide + edges[:, 0], edges[:, 3] * wide + edges[:, 2]
    order = np.argsort(starts, kind="stable")
    place = np.searchsorted(starts[order], ends)
    after = order[place]
    other = order[np.minimum(place + 1, len(order) - 1)]
    ways = edges[:, 2:] - edges[:, :2]
    meet = np.flatnonzero((starts[other] == ends) & (other != after))
    left, right = (ways[meet, 0] * ways[to[meet], 1] - ways[meet, 1] * ways[to[meet], 0] for to in (after, other))
    after[meet] = np.where(left < right, after[meet], other[meet])
    rings, seen, follow = [], bytearray(len(edges)), memoryview(after)
    for first in range(len(edges)):
        if not seen[first]:
            ring = array("q")
            here = first
            while not seen[here]:
                seen[here] = 1
                ring.append(here)
                here = follow[here]
            points = edges[np.frombuffer(ring, np.int64), :2]
            rings.append(_corners(np.concatenate([points, points[:1]])))
    rings.sort(key=area, reverse=True)
    return rings


def _corners(ring: np.ndarray) -> np.ndarray:
    """A closed ring without the points on straight lines."""
    steps = np.sign(np.diff(ring, axis=0))
    turns = (steps != np.roll(steps, 1, axis=0)).any(axis=1)
    kept = ring[:-1][turns]
    return np.concatenate([kept, kept[:1]])
