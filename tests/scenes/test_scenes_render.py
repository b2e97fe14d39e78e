"""The generated world: pictures, ground truth and pairs."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from collections import Counter
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from rsmoe.errors import UserError
from rsmoe.scenes import generator as generator_module
from rsmoe.scenes.generator import OBJECT_CLASSES, PAIR_CLASSES, SCENE_CLASSES, VISIBLE_LEVELS, SceneGenerator
from rsmoe.scenes.render.light import shading, shadows
from rsmoe.scenes.scene import LAND_COVER, Change, Scene, ScenePair

VEHICLES = {"airplane", "boat", "car", "ship", "truck"}
N = len(SCENE_CLASSES)


@cache
def generator(size: int = 64, bands: int = 4) -> SceneGenerator:
    return SceneGenerator(size_px=size, bands=bands, seed=5)


@cache
def scenes() -> tuple[Scene, ...]:
    return tuple(generator().scene(index) for index in range(8 * N))


@cache
def pairs() -> tuple[ScenePair, ...]:
    return tuple(generator().pair(index) for index in range(6 * N))


def fingerprint(scene: Scene) -> str:
    digest = hashlib.sha256()
    for array in (scene.image, scene.semantic, scene.instances):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr((scene.scene_class, scene.objects, scene.gsd_m, scene.season)).encode())
    return digest.hexdigest()


def cover(scene: Scene, *names: str) -> np.ndarray:
    return np.isin(scene.semantic, [LAND_COVER.index(name) for name in names])


def vehicle_pixels(scene: Scene) -> np.ndarray:
    return np.isin(scene.instances, [o.instance for o in scene.objects if o.category in VEHICLES])


def test_same_pixels_in_any_order() -> None:
    fresh = SceneGenerator(size_px=64, bands=4, seed=5)
    for index in (21, 3, 12):
        fresh.pair(index)
        assert fingerprint(fresh.scene(index)) == fingerprint(scenes()[index])
    pair = fresh.pair(7)
    assert fingerprint(pair.after) == fingerprint(pairs()[7].after)
    assert np.array_equal(pair.change_mask, pairs()[7].change_mask)


def test_same_pixels_in_another_process() -> None:
    code = (
        "import sys; sys.path[:0] = ['tests', 'tests/scenes']\n"
        "from test_scenes_render import *\n"
        "print(fingerprint(generator().scene(4)), fingerprint(generator().pair(2).after))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [fingerprint(scenes()[4]), fingerprint(pairs()[2].after)]


def test_seed_and_index_matter() -> None:
    other = SceneGenerator(size_px=64, bands=4, seed=6)
    assert len({fingerprint(s) for s in scenes()} | {fingerprint(other.scene(0))}) == len(scenes()) + 1


def test_three_bands_are_the_first_of_four() -> None:
    for index in range(4):
        plain = generator(bands=3).scene(index)
        assert plain.image.shape == (64, 64, 3)
        assert np.array_equal(plain.image, scenes()[index].image[..., :3])


@pytest.mark.parametrize("size", [32, 100, 256])
def test_shapes_and_types(size: int) -> None:
    scene = generator(size).scene(1)
    assert scene.image.shape == (size, size, 4) and scene.image.dtype == np.uint8
    assert scene.semantic.shape == (size, size) and scene.semantic.dtype == np.uint8
    assert scene.instances.shape == (size, size) and scene.instances.dtype == np.uint16
    assert 0.3 <= scene.gsd_m <= 10


def test_bad_arguments_say_what_to_type() -> None:
    for wrong in ({"size_px": 8}, {"size_px": 64, "bands": 5}, {"size_px": 64, "seed": -1}):
        with pytest.raises(UserError, match=r"[Tt]ype"):
            SceneGenerator(**wrong)
    with pytest.raises(UserError, match="index"):
        generator().scene(-1)


def test_every_block_holds_every_class_once() -> None:
    for block in range(0, len(scenes()), N):
        assert sorted(s.scene_class for s in scenes()[block : block + N]) == sorted(SCENE_CLASSES)
    orders = {tuple(s.scene_class for s in scenes()[block : block + N]) for block in range(0, len(scenes()), N)}
    assert len(orders) > 1


def test_every_object_class_occurs() -> None:
    seen = Counter(o.category for size, count in ((64, 8 * N), (256, 2 * N)) for index in range(count)
                   for o in (scenes()[index] if size == 64 else generator(256).scene(index)).objects)  # fmt: skip
    assert set(seen) == set(OBJECT_CLASSES)


def test_boxes_enclose_the_pixels_exactly() -> None:
    for scene in scenes():
        assert {o.instance for o in scene.objects} == set(np.unique(scene.instances).tolist()) - {0}
        for thing in scene.objects:
            rows, columns = np.nonzero(scene.instances == thing.instance)
            assert thing.box_px == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert thing.area_m2 == pytest.approx(len(rows) * scene.gsd_m**2)


def test_oriented_boxes_enclose_the_pixels_tightly() -> None:
    for scene in scenes()[: 4 * N]:
        for thing in scene.objects:
            corners = np.array(thing.obb_px)
            edges = np.roll(corners, -1, 0) - corners
            assert abs(edges[0] @ edges[1]) < 1e-6 * (1 + np.abs(edges).max() ** 2)
            area = edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]
            assert area > 0, "corners run clockwise, y down"
            rows, columns = np.nonzero(scene.instances == thing.instance)
            centres = np.stack([columns + 0.5, rows + 0.5], 1)
            for corner, edge in zip(corners, edges, strict=True):
                inward = edge[0] * (centres[:, 1] - corner[1]) - edge[1] * (centres[:, 0] - corner[0])
                assert (inward > -1e-6).all()
            assert area >= len(rows) * 0.999
            if thing.category in ("house", "warehouse", "storage tank", "tennis court") and len(rows) > 60:
                whole = thing.box_px[0] > 0 and thing.box_px[1] > 0 and thing.box_px[2] < 64 and thing.box_px[3] < 64
                assert not whole or area < 3.2 * len(rows)


def test_semantic_values_and_urban_flag() -> None:
    seen = set()
    for scene in scenes():
        seen |= set(np.unique(scene.semantic).tolist())
        assert scene.urban == (cover(scene, "building", "paved", "road").mean() > 0.2)
    assert seen == set(range(len(LAND_COVER)))


def test_houses_stand_on_building_ground() -> None:
    hits = [
        cover(s, "building")[s.instances == o.instance].mean()
        for s in scenes()
        for o in s.objects
        if o.category in ("house", "warehouse")
    ]
    assert len(hits) > 50 and np.mean(hits) > 0.99


def test_roads_connect_in_residential_areas() -> None:
    for scene in (s for s in scenes() if s.scene_class == "residential area"):
        road = cover(scene, "road")
        parts, count = ndimage.label(ndimage.binary_dilation(road, iterations=2))
        sizes = np.bincount(parts[road], minlength=count + 1)[1:]
        assert road.mean() > 0.03
        assert sizes.max() > 0.7 * road.sum()


def test_shadow_lies_away_from_the_sun() -> None:
    """The ground just behind a tank, seen from the sun, is darker than the ground before it."""
    differences = []
    for scene in scenes():
        turn = math.radians(scene.sun_azimuth_deg)
        to_sun = np.array([math.sin(turn), -math.cos(turn)])
        for tank in (o for o in scene.objects if o.category == "storage tank"):
            x1, y1, x2, y2 = tank.box_px
            if min(x1, y1) < 1 or max(x2, y2) > 63:
                continue
            reach = (x2 - x1) / 2 + 1.5
            spots = [np.array([(x1 + x2) / 2, (y1 + y2) / 2]) + side * reach * to_sun for side in (1, -1)]
            if all((s >= 0).all() and (s < 64).all() for s in spots):
                lit, dark = (float(scene.image[int(s[1]), int(s[0]), :3].mean()) for s in spots)
                differences.append(lit - dark)
    assert len(differences) >= 10
    assert np.mean(differences) > 15
    assert np.mean(np.array(differences) > 0) > 0.85


def test_shadow_length_follows_the_sun() -> None:
    height = np.zeros((64, 64), np.float32)
    height[30:34, 30:34] = 10
    for elevation in (35, 50):
        flat, up = math.cos(math.radians(elevation)), math.sin(math.radians(elevation))
        dark = shadows(height, (-flat, 0.0, up))  # sun in the west, shadow to the east
        length = (dark[31, 34:] > 0.5).sum()
        assert length == pytest.approx(10 / math.tan(math.radians(elevation)), abs=1.6)
        assert not dark[:, :30].any() and not dark[:28].any()


def test_slope_towards_the_sun_is_brighter() -> None:
    ramp = np.tile(np.linspace(0, 10, 32, dtype=np.float32), (32, 1))  # rises to the right: faces left
    assert shading(ramp, (-0.6, 0.0, 0.8))[5:-5, 5:-5].min() > 1.0 > shading(ramp, (0.6, 0.0, 0.8))[5:-5, 5:-5].max()
    assert np.allclose(shading(np.zeros((8, 8), np.float32), (0.6, 0.0, 0.8)), 1)


def test_near_infrared_is_plausible() -> None:
    def means(*names: str) -> np.ndarray:
        samples = [
            s.image[cover(s, *names) & (s.instances == 0)].reshape(-1, 4)
            for s in scenes()
            if s.season in ("spring", "summer")
        ]
        return np.concatenate(samples).astype(float).mean(0)

    green, water, road = means("grass", "forest"), means("water"), means("road")
    assert green[3] > 1.3 * green[0]
    assert water[3] < 0.8 * water[1]
    assert abs(road[3] - road[0]) < 0.25 * road[0]
    per_scene = [s.image[cover(s, "forest") & (s.instances == 0)].reshape(-1, 4).astype(float).mean(0)
                 for s in scenes() if s.season == "summer" and cover(s, "forest").mean() > 0.1]  # fmt: skip
    assert len(per_scene) > 5 and all(m[3] > m[0] for m in per_scene)


def test_presence_is_open_where_it_is_plausible() -> None:
    for scene_class, category in (
        ("airport", "airplane"), ("harbor", "ship"), ("residential area", "car"), ("residential area", "swimming pool"),
        ("lake", "boat"), ("farmland", "greenhouse"),
    ):  # fmt: skip
        found = [
            any(o.category == category for o in SceneGenerator(size_px=64, seed=s).scene(i).objects)
            for s, i in _indices(scene_class, 24)
        ]
        assert 0.1 < np.mean(found) < 0.92, (scene_class, category, np.mean(found))


def _indices(scene_class: str, count: int) -> list[tuple[int, int]]:
    """(seed, index) of scenes of a class, found without drawing the others."""
    found = []
    for seed in range(100, 100 + count):
        turns = [SceneGenerator(size_px=64, seed=seed)._turn(index, N, 0) for index in range(N)]
        found.append((seed, turns.index(SCENE_CLASSES.index(scene_class))))
    return found


def test_half_of_the_pairs_are_unchanged() -> None:
    block = 2 * len(PAIR_CLASSES)
    assert len(pairs()) >= block
    for start in range(0, len(pairs()) - block + 1, block):
        chunk = pairs()[start : start + block]
        assert Counter(p.before.scene_class for p in chunk if p.changes) == Counter(PAIR_CLASSES)
        assert Counter(p.before.scene_class for p in chunk if not p.changes) == Counter(PAIR_CLASSES)
    changed = np.array([bool(p.changes) for p in pairs()])
    assert abs(changed[::2].mean() - 0.5) < 0.2


def test_mask_is_empty_exactly_when_nothing_changed() -> None:
    kinds = Counter()
    for pair in pairs():
        assert bool(pair.changes) == bool(pair.change_mask.any())
        assert {c.mask_value for c in pair.changes} == set(np.unique(pair.change_mask).tolist()) - {0}
        for change in pair.changes:
            kinds[change.action] += 1
            x1, y1, x2, y2 = (int(v) for v in change.box_px)
            assert (pair.change_mask[y1:y2, x1:x2] == change.mask_value).any()
    assert set(kinds) == {"built", "demolished", "flooded", "drained", "cleared", "planted"}


def test_every_change_shows_and_developments_hold_neighbours() -> None:
    """Across two days a change differs from what was there by more than its surroundings do, on the mean."""
    changed = [pair for pair in pairs() if pair.changes]
    inside = [_levels(pair)[pair.change_mask > 0].mean() for pair in changed]
    outside = [_levels(pair)[pair.change_mask == 0].mean() for pair in changed]
    assert np.median(inside) > VISIBLE_LEVELS and np.mean(np.array(inside) > np.array(outside)) > 0.8
    buildings = [sum(change.mask_value == 1 for change in pair.changes) for pair in pairs()]
    assert max(buildings) >= 4 and np.mean(np.array(buildings) > 1) > 0.08


def test_on_either_day_the_change_is_all_that_differs_and_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A road under snow, or in haze, cannot be told from none: such a pair would have a label that no picture has."""
    asked: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    shows = generator_module._shows

    def record(one: np.ndarray, other: np.ndarray, changes: tuple[Change, ...], mask: np.ndarray) -> bool:
        asked.append((one.astype(float), other.astype(float), mask))
        return shows(one, other, changes, mask)

    monkeypatch.setattr(generator_module, "_shows", record)
    generator, seen = SceneGenerator(size_px=64, seed=11), 0
    for index in range(24):
        asked.clear()
        pair = generator.pair(index)
        if not pair.changes:
            assert not asked
            continue
        seen += 1
        for (one, other, mask), picture in zip(asked[-2:], (pair.before, None), strict=True):  # the days that were kept
            gap = np.abs(one - other).mean(-1)
            assert gap[mask > 0].mean() >= VISIBLE_LEVELS
            assert np.median(gap[mask == 0]) < 1, "noise, light and traffic of a day are the same in both pictures"
            assert picture is None or np.array_equal(one, picture.image)
    assert seen > 8


def test_whatever_appears_also_vanishes() -> None:
    """No kind of change has one direction only: which date is which must be read off the pictures."""
    told = {(c.mask_value, c.action in ("built", "flooded", "planted")) for pair in pairs() for c in pair.changes}
    assert told == {(kind, new) for kind in range(1, 6) for new in (False, True)}


def _levels(pair: ScenePair) -> np.ndarray:
    return np.abs(pair.after.image.astype(float) - pair.before.image).mean(-1)


def aligned(pair: ScenePair) -> tuple[slice, slice, slice, slice]:
    """Rows and columns of the overlap in the first and in the second picture."""
    x, y = (int(v) for v in pair.shift_px)
    rows = slice(max(-y, 0), 64 - max(y, 0))
    columns = slice(max(-x, 0), 64 - max(x, 0))
    return rows, columns, slice(rows.start + y, rows.stop + y), slice(columns.start + x, columns.stop + x)


def test_mask_is_where_the_static_ground_truth_differs() -> None:
    for pair in pairs():
        r1, c1, r2, c2 = aligned(pair)
        mask = pair.change_mask[r1, c1] > 0
        semantic = pair.before.semantic[r1, c1] != pair.after.semantic[r2, c2]
        assert not (semantic & ~mask).any(), "land cover differs outside the mask"
        first, second = pair.before.instances[r1, c1], pair.after.instances[r2, c2]
        busy = vehicle_pixels(pair.before)[r1, c1] | vehicle_pixels(pair.after)[r2, c2]
        both = (first > 0) & (second > 0) & ~busy
        assert np.array_equal((first != second)[both], mask[both] & (first != second)[both])
        # What only one of the instance maps knows is a sliver at the border, or a change.
        alone = ((first > 0) != (second > 0)) & ~busy & ~mask
        assert alone.mean() < 0.02
        assert mask[~busy & (semantic | (both & (first != second)))].all()


def test_unchanged_pairs_agree_on_everything_that_stands() -> None:
    for pair in (p for p in pairs() if not p.changes):
        r1, c1, r2, c2 = aligned(pair)
        assert np.array_equal(pair.before.semantic[r1, c1], pair.after.semantic[r2, c2])
        names = [{o.instance: (o.category, o.color) for o in s.objects if o.category not in VEHICLES}
                 for s in (pair.before, pair.after)]  # fmt: skip
        common = names[0].keys() & names[1].keys()
        assert all(names[0][k] == names[1][k] for k in common)


def test_nuisance_does_not_tell_whether_a_pair_changed() -> None:
    assert all(not np.array_equal(p.before.image, p.after.image) for p in pairs())
    changed = np.array([bool(p.changes) for p in pairs()])
    measures = {
        "sun": [abs(p.before.sun_azimuth_deg - p.after.sun_azimuth_deg) for p in pairs()],
        "season": [float(p.before.season != p.after.season) for p in pairs()],
        "shift": [math.hypot(*p.shift_px) for p in pairs()],
        "brightness": [abs(float(p.before.image.mean()) - float(p.after.image.mean())) for p in pairs()],
    }
    for name, values in measures.items():
        order = np.argsort(np.argsort(np.array(values) + 1e-6 * np.arange(len(values)) % 7e-6))
        ranks = order[changed].mean() - order[~changed].mean()
        assert abs(ranks) / len(values) < 0.15, name
