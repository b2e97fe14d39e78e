from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation.constant_answers import best_constant_mask, centre_box, resize_mask
from rsmoe.metrics import find_metric
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.regions.boundary import TOLERANCE, boundary_row, boundary_tally, grow, outline
from rsmoe.metrics.regions.class_map_iou import class_map_tally, confusion
from rsmoe.metrics.regions.instance_masks import instances_row, instances_tally
from rsmoe.metrics.regions.masks import mask_row, mask_tally
from rsmoe.metrics.scoring import score


def box(size: int, top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((size, size), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def scores(predictions: list[np.ndarray | None], targets: list[np.ndarray]) -> dict[str, float]:
    return mask_tally([mask_row(*pair) for pair in zip(predictions, targets, strict=True)]).values()


def test_known_values() -> None:
    small, large = box(4, 0, 0, 1, 2), box(10, 0, 0, 8, 10)
    result = scores([box(4, 0, 0, 1, 1), box(10, 0, 0, 8, 10)], [small, large])
    assert result["miou"] == pytest.approx((0.5 + 1.0) / 2)
    assert result["ciou"] == pytest.approx(81 / 82)
    assert [result[f"p@{t}"] for t in (0.5, 0.6, 0.9)] == [1.0, 0.5, 0.5]


def test_perfect_and_disjoint() -> None:
    mask = box(8, 2, 2, 5, 6)
    perfect, wrong = scores([mask], [mask]), scores([~mask], [mask])
    assert all(v == 1.0 for k, v in perfect.items() if k != "parse_failures")
    assert all(v == 0.0 for k, v in wrong.items() if k != "n")


def test_empty_and_missing() -> None:
    empty, mask = np.zeros((4, 4), dtype=bool), box(4, 0, 0, 2, 2)
    assert scores([empty], [empty])["miou"] == scores([empty], [empty])["ciou"] == 1.0
    assert scores([mask], [empty])["miou"] == scores([empty], [mask])["miou"] == 0.0
    missing = scores([None, mask], [mask, mask])
    assert (missing["miou"], missing["n"], missing["parse_failures"]) == (0.5, 2, 1)
    assert missing["ciou"] == 0.5
    assert scores([None], [empty])["miou"] == 0.0


def test_order_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    predictions, targets = rng.random((2, 30, 6, 6)) > 0.5
    order = rng.permutation(30)
    shuffled = scores(list(torch.from_numpy(predictions[order])), list(torch.from_numpy(targets[order])))
    assert scores(list(predictions), list(targets)) == pytest.approx(shuffled, abs=1e-12)


def test_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="resize"):
        scores([np.ones((2, 2), dtype=bool)], [np.ones((4, 4), dtype=bool)])


def test_resize_keeps_regions() -> None:
    mask = box(8, 0, 0, 4, 8)
    assert np.array_equal(resize_mask(mask, (4, 2)), box(4, 0, 0, 2, 4)[:, :2])
    assert np.array_equal(resize_mask(resize_mask(mask, (16, 32)), (8, 8)), mask)


def test_constant_masks() -> None:
    assert centre_box((100, 200), 0.25).mean() == pytest.approx(0.25)
    masks = [box(10, 0, 0, 5, 10), box(20, 0, 0, 10, 20), box(10, 0, 0, 6, 10)]
    best = best_constant_mask(masks)
    assert resize_mask(best, (10, 10)).sum() == 50  # the upper half, not the full image nor a centre box
    assert best_constant_mask([np.ones((5, 5), dtype=bool)]).all()
    with pytest.raises(ValueError, match="at least one"):
        best_constant_mask([])


def test_per_class() -> None:
    small, large = box(4, 0, 0, 1, 2), box(10, 0, 0, 8, 10)
    rows = [(box(4, 0, 0, 1, 1), small, "ship"), (None, small, "ship"), (large, large, "road")]
    found = mask_tally([mask_row(*row) for row in rows]).values()
    assert (found["miou/ship"], found["miou/road"], found["class_miou"]) == (0.25, 1.0, 0.625)
    assert (found["n/ship"], found["n"], found["parse_failures"], found["miou"]) == (2, 3, 1, pytest.approx(0.5))


# ---- several targets


def instances(predictions: list[np.ndarray], targets: list[np.ndarray]) -> dict[str, float]:
    return instances_tally([instances_row(predictions, targets)]).values()


def test_each_true_mask_is_found_once() -> None:
    left, right = box(10, 0, 0, 10, 4), box(10, 0, 6, 10, 10)
    swapped = instances([right, left], [left, right])
    assert swapped["miou"] == swapped["precision@0.7"] == swapped["recall@0.7"] == 1.0
    doubled = instances([left, left, left], [left, right])
    assert (doubled["miou"], doubled["recall@0.5"], doubled["precision@0.5"]) == (0.5, 0.5, pytest.approx(1 / 3))
    assert doubled["n"] == 2


def test_the_best_pairs_are_matched_first() -> None:
    true, other = box(10, 0, 0, 10, 6), box(10, 0, 0, 10, 3)
    found = instances([box(10, 0, 0, 10, 5), box(10, 0, 0, 10, 3)], [true, other])
    assert found["miou"] == pytest.approx((5 / 6 + 1) / 2)


def test_no_mask_is_a_miss_and_a_failure() -> None:
    one = box(4, 0, 0, 2, 2)
    found = instances_tally([instances_row([], [one] * 2), instances_row([one], [one])]).values()
    assert (found["n"], found["parse_failures"], found["miou"]) == (3, 1, pytest.approx(1 / 3))
    assert (found["precision@0.5"], found["recall@0.5"]) == (1.0, pytest.approx(1 / 3))
    with pytest.raises(ValueError, match="at least one true mask"):
        instances_row([], [])
    with pytest.raises(ValueError, match="resize"):
        instances_row([box(4, 0, 0, 1, 1)], [box(5, 0, 0, 1, 1)])


# ---- outlines


def boundary(prediction: np.ndarray | None, target: np.ndarray, tolerance: float = TOLERANCE) -> dict[str, float]:
    return boundary_tally([boundary_row(prediction, target, tolerance=tolerance)]).values()


def test_outline_and_grow_against_distances() -> None:
    mask = box(9, 2, 3, 7, 8)
    assert outline(mask).sum() == 16 and not outline(mask)[3:6, 4:7].any()
    assert outline(np.ones((4, 5), dtype=bool)).sum() == 14
    rng = np.random.default_rng(0)
    points = rng.random((13, 17)) < 0.04
    rows, columns = np.mgrid[:13, :17]
    away = np.min([np.hypot(rows - r, columns - c) for r, c in np.argwhere(points)], axis=0)
    for radius in (0, 1, 2, 3, 5, 20):
        assert np.array_equal(grow(points, radius), away <= radius), radius
    assert not grow(np.zeros((3, 3), dtype=bool), 2).any()


def test_boundary_f_forgives_a_pixel_and_not_five() -> None:
    mask = box(100, 20, 20, 60, 60)
    near, far = box(100, 21, 21, 61, 61), box(100, 25, 25, 65, 65)
    assert boundary(mask, mask)["boundary_f"] == 1.0
    assert boundary(near, mask)["boundary_f"] == 1.0  # 0.8 % of the diagonal is 2 pixels here
    assert 0 < boundary(far, mask)["boundary_f"] < 0.5
    assert boundary(far, mask, tolerance=0.05)["boundary_f"] == 1.0


def test_boundary_f_sees_what_overlap_does_not() -> None:
    """A thin road beside a large field: IoU hardly moves, the outline does."""
    field = box(100, 0, 0, 100, 50)
    with_road = field | box(100, 0, 70, 100, 72)
    assert scores([field], [with_road])["miou"] > 0.95 > 0.7 > boundary(field, with_road)["boundary_recall"]
    assert boundary(field, with_road)["boundary_precision"] == 1.0


def test_boundary_of_nothing() -> None:
    empty, mask = np.zeros((8, 8), dtype=bool), box(8, 2, 2, 5, 5)
    assert boundary(empty, empty)["boundary_f"] == 1.0
    assert boundary(mask, empty)["boundary_f"] == boundary(empty, mask)["boundary_f"] == 0.0
    missing = boundary(None, empty)
    assert (missing["boundary_f"], missing["parse_failures"], missing["n"]) == (0.0, 1, 1)


# ---- class maps


def class_maps(said: list[np.ndarray | None], true: list[np.ndarray], *names: str) -> dict[str, float]:
    rows = [[1.0, a is None, *confusion(a, b, len(names)).ravel()] for a, b in zip(said, true, strict=True)]
    return class_map_tally(np.array(rows, dtype=np.float64), names).values()


def test_class_maps_by_hand() -> None:
    target = np.array([[0, 0, 1], [1, 255, 2]], dtype=np.uint8)
    said = np.array([[0, 1, 1], [1, 0, 0]], dtype=np.uint8)
    found = class_maps([said], [target], "none", "road", "building", "water")
    assert (found["iou/none"], found["iou/road"], found["iou/building"]) == pytest.approx((1 / 3, 2 / 3, 0.0))
    assert np.isnan(found["iou/water"]) and found["miou"] == pytest.approx(1 / 3)
    assert (found["pixel_accuracy"], found["n"], found["parse_failures"]) == (pytest.approx(3 / 5), 1, 0)


def test_class_maps_equal_scikit_learn_over_all_pixels() -> None:
    rng = np.random.default_rng(0)
    true, said = rng.integers(0, 4, (2, 5, 8, 8)).astype(np.uint8)
    found = class_maps(list(said), list(true), *"abcd")
    assert found["miou"] == pytest.approx(jaccard_score(true.ravel(), said.ravel(), average="macro"), abs=1e-9)
    each = jaccard_score(true.ravel(), said.ravel(), average=None)
    assert [found[f"iou/{name}"] for name in "abcd"] == pytest.approx(each.tolist(), abs=1e-9)


def test_class_maps_count_unknown_values_and_missing_maps_as_wrong() -> None:
    zero = np.array([[0, 0]], dtype=np.uint8)
    assert class_maps([np.array([[7, 0]], dtype=np.uint8)], [zero], "none", "road")["iou/none"] == 0.5
    missing = class_maps([None, zero], [zero, zero], "none", "road")
    assert (missing["iou/none"], missing["pixel_accuracy"], missing["parse_failures"]) == (0.5, 0.5, 1)


def mapped(name: str, true: np.ndarray, **extra: Any) -> Sample:
    options: dict[str, Any] = {"class_map": true, "classes": ("none", "road"), "task": "caption"} | extra
    return Sample(id=name, images=(Path(name),), instruction="", responses=("x",), source="toy", **options)


def test_each_image_with_a_class_map_counts_once_under_its_protocol() -> None:
    true, wrong = np.array([[0, 1]], dtype=np.uint8), np.array([[1, 1]], dtype=np.uint8)
    twice = [mapped("a", true), replace(mapped("a", true), id="b", task="vqa"), mapped("c", true)]
    twice.append(replace(mapped("d", true), class_map=None))
    predictions = [Prediction(id=s.id, task=s.task, text="x", outputs={"land_cover": wrong}) for s in twice]
    metric = find_metric("segmentation/miou@1")
    results = score(twice, predictions, protocol_prefix="", split="t", metrics={"cover": metric}, draws=20)
    found = {r.metric: r for r in results if r.metric.startswith("cover/")}
    assert found["cover/iou/road"].value == 50.0 and found["cover/miou"].value == 25.0
    assert found["cover/miou"].n == 2 and found["cover/miou"].low is not None
    with pytest.raises(UserError, match="beyond its 2 classes"):
        metric.tally([(mapped("a", np.array([[2, 0]], dtype=np.uint8)), predictions[0])])
    with pytest.raises(UserError, match=r"map of \(1, 2\) against a true one of \(1, 1\)"):
        metric.tally([(mapped("a", np.array([[1]], dtype=np.uint8)), predictions[0])])
    with pytest.raises(UserError, match="has the classes"):
        metric.tally([(twice[0], predictions[0]), (mapped("z", true, classes=("x", "y")), predictions[1])])
