"""Outlines with fewer corners: nothing crosses, nothing is lost, neighbours share their borders."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from rasterio.features import rasterize
from scipy import ndimage

from rsmoe.geo.geojson import map_features
from rsmoe.geo.polygons import area
from rsmoe.geo.strips import StripMap


def noise(seed: int, size: tuple[int, int], classes: int, smooth: float) -> np.ndarray:
    """(H, W) uint8 classes, from speckles to large blobs."""
    rng = np.random.default_rng(seed)
    fields = rng.normal(size=(classes, *size))
    return np.stack([ndimage.gaussian_filter(field, smooth) for field in fields]).argmax(0).astype(np.uint8)


def polygons(values: Any, **options: Any) -> list[list[np.ndarray]]:
    return [list(rings) for _, rings in map_features(values, least=0, **options)]


def segments(found: list[list[np.ndarray]]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Lines of the map, each once: a border has one on either side of it."""
    every = [
        (tuple(a), tuple(b)) for rings in found for ring in rings for a, b in zip(ring[:-1].tolist(), ring[1:].tolist(),
                                                                                strict=True)
    ]  # fmt: skip
    return sorted({(min(a, b), max(a, b)) for a, b in every})


def crossings(lines: list[tuple[tuple[int, int], tuple[int, int]]]) -> int:
    """Pairs that meet anywhere but in an end that they share; exact, in whole numbers."""
    ends = np.array(lines, np.int64)
    a, b = ends[:, 0], ends[:, 1]

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return np.sign(
            (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
        )

    def on(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        inside = (np.minimum(p, q) <= r) & (r <= np.maximum(p, q))
        return (side(p, q, r) == 0) & inside.all(axis=-1) & (r != p).any(axis=-1) & (r != q).any(axis=-1)

    count = 0
    for i in range(len(lines)):
        p, q, c, d = a[i], b[i], a[i + 1 :], b[i + 1 :]
        proper = (side(p, q, c) * side(p, q, d) < 0) & (side(c, d, p) * side(c, d, q) < 0)
        count += int((proper | on(p, q, c) | on(p, q, d) | on(c, d, p) | on(c, d, q)).sum())
    return count


MAPS = [
    noise(seed, size, classes, smooth)
    for seed, (size, classes, smooth) in enumerate(
        [((24, 30), 2, 0.0), ((24, 30), 4, 0.0), ((40, 50), 2, 0.7), ((40, 50), 3, 1.0), ((60, 70), 5, 2.0),
         ((90, 80), 2, 3.0), ((90, 80), 6, 4.0), ((1, 30), 3, 0.0), ((30, 1), 3, 0.5), ((1, 1), 2, 0.0)]
    )
]  # fmt: skip


@pytest.mark.parametrize("tolerance", [0.3, 0.75, 1.0])
@pytest.mark.parametrize("number", range(len(MAPS)))
def test_a_map_stays_a_partition(number: int, tolerance: float) -> None:
    values = MAPS[number]
    exact, found = polygons(values, simplify_px=0.0), polygons(values, simplify_px=tolerance)
    assert [len(rings) for rings in found] == [len(rings) for rings in exact]
    assert crossings(segments(found)) == 0
    for rings in found:
        assert area_of(rings[0]) > 0 and all(area_of(ring) < 0 for ring in rings[1:])
        assert all(len(ring) >= 4 and np.array_equal(ring[0], ring[-1]) for ring in rings)
    # every line has a region on either side, or the edge of the map: no gap, no overlap
    assert sum(area_of(ring) for rings in found for ring in rings) == 2 * values.size
    lines = Counter(
        (tuple(p), tuple(q)) for rings in found for ring in rings
        for p, q in zip(ring[:-1].tolist(), ring[1:].tolist(), strict=True)
    )  # fmt: skip
    height, width = values.shape
    for (p, q), times in lines.items():
        edge = any(p[i] == q[i] and p[i] in (0, side) for i, side in ((0, width), (1, height)))
        assert times == 1 and ((q, p) in lines) != edge


def area_of(ring: np.ndarray) -> int:
    """Twice the signed area: whole."""
    x, y = ring.T
    return int(x[:-1] @ y[1:] - x[1:] @ y[:-1])


@pytest.mark.parametrize("number", range(4, 7))
def test_corners_go_and_nothing_moves_by_a_pixel(number: int) -> None:
    values = MAPS[number]
    exact, found = polygons(values, simplify_px=0.0), polygons(values)
    assert corners(found) < 0.6 * corners(exact)
    for before, after in zip(exact, found, strict=True):
        inside = [drawn(rings, values.shape) for rings in (before, after)]
        moved = inside[0] ^ inside[1]
        assert not (moved & ndimage.binary_erosion(inside[0], border_value=1)).any()
        assert not (moved & ~ndimage.binary_dilation(inside[0])).any()


def corners(found: list[list[np.ndarray]]) -> int:
    return sum(len(ring) for rings in found for ring in rings)


def drawn(rings: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    polygon = {"type": "Polygon", "coordinates": [ring.tolist() for ring in rings]}
    return rasterize([polygon], out_shape=shape).astype(bool)


def test_a_slanted_edge_is_one_line_and_a_house_keeps_its_corners() -> None:
    y, x = np.mgrid[:60, :80]
    for a, b in ((3, 7), (1, 20), (11, 13)):
        half = (a * x + b * y < 300).astype(np.uint8)
        (_, rings), *_ = map_features(half)
        assert len(rings) == 1 and len(rings[0]) <= 7
    house = np.zeros((40, 40), np.uint8)
    house[10:30, 12:20], house[20:30, 12:34], house[24:27, 15:17] = 1, 1, 0
    (said, rings), *_ = map_features(house)
    (exact_said, exact), *_ = map_features(house, simplify_px=0.0)
    assert said == exact_said and said["pixels"] == sum(area(ring) for ring in exact)
    assert [set(map(tuple, ring.tolist())) for ring in rings] == [set(map(tuple, ring.tolist())) for ring in exact]
    assert next(iter(map_features(np.ones((1, 1), np.uint8))))[1][0].shape == (5, 2)


def test_strips_of_a_large_map_change_nothing() -> None:
    values = noise(3, (200, 120), 4, 3.0)
    strips = StripMap(values.shape, np.uint8)
    for top in range(0, 200, 33):
        strips.append(values[top : top + 33])
    key = [tuple(map(int, ring.ravel())) for rings in polygons(values) for ring in rings]
    assert sorted(key) == sorted(tuple(map(int, ring.ravel())) for rings in polygons(strips) for ring in rings)
