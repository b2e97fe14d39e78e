"""Boxes of tiles that overlap: one for each thing, whatever the tiles saw of it."""

from __future__ import annotations

import numpy as np
import pytest

from rsmoe.data.boxes import obb_corners
from rsmoe.data.boxes.joined import join_boxes
from rsmoe.geo.windows import tile_starts
from rsmoe.metrics.regions.obb import obb_iou

SIZE = (400, 300)


def tiles(side: int) -> np.ndarray:
    starts = [tile_starts(length, side, overlap=0.25) for length in SIZE]
    return np.array([(x, y, x + side, y + side) for y in starts[1] for x in starts[0]], np.float64)


def looked(things: np.ndarray, side: int, jitter: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """What every tile sees of horizontal things, clipped to it."""
    boxes, seen, rng = [], [], np.random.default_rng(0)
    for tile in tiles(side):
        for x1, y1, x2, y2 in things + rng.uniform(-jitter, jitter, things.shape):
            part = max(x1, tile[0]), max(y1, tile[1]), min(x2, tile[2]), min(y2, tile[3])
            if part[2] - part[0] > 1 and part[3] - part[1] > 1:
                boxes.append(part)
                seen.append(tile)
    return np.array(boxes), np.array(seen)


THINGS = np.array(
    [(10, 10, 40, 30), (80, 60, 125, 90), (90, 95, 130, 130), (300, 200, 320, 215), (20, 150, 390, 190)], np.float64
)


def test_every_thing_is_one_box_also_one_larger_than_a_tile() -> None:
    boxes, seen = looked(THINGS, 100)
    assert len(boxes) > 2 * len(THINGS)
    found, scores = join_boxes(boxes, np.full(len(boxes), 0.5), seen, SIZE)
    np.testing.assert_allclose(found[np.lexsort(found.T)], THINGS[np.lexsort(THINGS.T)])
    assert found.dtype == np.float32 and (scores == 0.5).all()


def test_tiles_that_differ_by_some_pixels_agree_and_the_surest_whole_box_stays() -> None:
    boxes, seen = looked(THINGS, 100, jitter=2.0)
    scores = np.random.default_rng(1).uniform(0.1, 0.9, len(boxes))
    found, sure = join_boxes(boxes, scores, seen, SIZE)
    assert len(found) == len(THINGS) and (np.diff(sure) <= 0).all()
    nearest = np.abs(found[:, None] - THINGS).max(-1)
    assert nearest.min(1).max() <= 2.0 and sorted(nearest.argmin(1)) == list(range(len(THINGS)))
    cut, whole = [90.0, 10, 100, 20], [90.0, 10, 120, 20]  # a surer box that an edge cuts gives way
    found, sure = join_boxes(
        np.array([cut, whole]), np.array([0.9, 0.4]), np.array([[0, 0, 100, 100], [75, 0, 175, 100.0]]), SIZE
    )
    assert found.tolist() == [whole] and sure.tolist() == [0.4]


def test_boxes_of_one_tile_and_neighbours_stay_apart() -> None:
    tile = np.array([[0, 0, 100, 100.0]] * 2)
    same = np.array([[10, 10, 50, 50], [11, 10, 50, 50.0]])
    assert len(join_boxes(same, np.ones(2), tile, SIZE)[0]) == 2
    beside = np.array([[80, 10, 90, 20], [91, 10, 99, 20.0]])
    assert len(join_boxes(beside, np.ones(2), np.array([[0, 0, 100, 100], [75, 0, 175, 100.0]]), SIZE)[0]) == 2


def test_oriented_boxes_are_compared_as_they_lie() -> None:
    seen = np.array([[0, 0, 100, 100], [75, 0, 175, 100.0]])
    ship = [87, 50, 20, 6, 40.0]
    found, _ = join_boxes(np.array([ship, [87.5, 50, 20, 6, 42]]), np.array([0.3, 0.6]), seen, SIZE)
    np.testing.assert_allclose(found, [[87.5, 50, 20, 6, 42]])
    crossed = np.array([ship, [87, 50, 20, 6, -50.0]])  # hulls are alike, boxes are not
    assert len(join_boxes(crossed, np.ones(2), seen, SIZE)[0]) == 2


@pytest.mark.parametrize("angle", [0.0, 30.0, -75.0])
def test_an_oriented_thing_larger_than_a_tile_is_the_box_around_its_pieces(angle: float) -> None:
    """Pieces of a long thin thing, each tile's own."""
    side, middle, length, width = 100, np.array([200.0, 150.0]), 180.0, 8.0
    axis = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    along = np.linspace(-length / 2, length / 2, 721)
    boxes, seen = [], []
    for tile in tiles(side):
        points = middle + along[:, None] * axis
        inside = ((points >= tile[:2]) & (points <= tile[2:])).all(1)
        if inside.sum() > 8:
            low, high = along[inside].min(), along[inside].max()
            boxes.append((*(middle + (low + high) / 2 * axis), high - low, width, angle))
            seen.append(tile)
    assert len(boxes) > 2
    found, _ = join_boxes(np.array(boxes), np.ones(len(boxes)), np.array(seen), SIZE)
    assert len(found) == 1
    assert obb_iou(found, np.array([[*middle, length, width, angle]]))[0, 0] > 0.9
    assert (obb_corners(found) > 0).all()
