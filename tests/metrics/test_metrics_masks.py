import numpy as np
import pytest
import torch

from rsmoe.evaluation.mask_baselines import best_constant_mask, centre_box, full_image, mean_mask, resize_mask
from rsmoe.metrics.regions.boundary import BoundaryF, grow, outline
from rsmoe.metrics.regions.class_map_iou import ClassMapIoU
from rsmoe.metrics.regions.instance_masks import InstanceMasks
from rsmoe.metrics.regions.masks import MaskIoU


def box(size: int, top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((size, size), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def scores(predictions: list[np.ndarray | None], targets: list[np.ndarray]) -> dict[str, float]:
    metric = MaskIoU()
    metric.update(predictions, targets)
    return metric.compute()


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


def test_order_and_batching_change_nothing() -> None:
    rng = np.random.default_rng(0)
    predictions, targets = rng.random((2, 30, 6, 6)) > 0.5
    whole, single = MaskIoU(), MaskIoU()
    whole.update(list(predictions), list(targets))
    for i in rng.permutation(30):
        single.update(torch.from_numpy(predictions[i : i + 1]), torch.from_numpy(targets[i : i + 1]))
    assert whole.compute() == pytest.approx(single.compute(), abs=1e-12)


def test_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="resize"):
        scores([np.ones((2, 2), dtype=bool)], [np.ones((4, 4), dtype=bool)])


def test_resize_keeps_regions() -> None:
    mask = box(8, 0, 0, 4, 8)
    assert np.array_equal(resize_mask(mask, (4, 2)), box(4, 0, 0, 2, 4)[:, :2])
    assert np.array_equal(resize_mask(resize_mask(mask, (16, 32)), (8, 8)), mask)


def test_constant_masks() -> None:
    assert full_image((2, 3)).all()
    assert centre_box((100, 200), 0.25).mean() == pytest.approx(0.25)
    masks = [box(10, 0, 0, 5, 10), box(20, 0, 0, 10, 20), box(10, 0, 0, 6, 10)]
    assert mean_mask(masks, 0.5, (10, 10)).sum() == 50
    best = best_constant_mask(masks)
    assert resize_mask(best, (10, 10)).sum() == 50  # the upper half, not the full image nor a centre box
    assert best_constant_mask([full_image((5, 5))]).all()
    with pytest.raises(ValueError, match="at least one"):
        best_constant_mask([])


def test_per_class() -> None:
    small, large = box(4, 0, 0, 1, 2), box(10, 0, 0, 8, 10)
    metric = MaskIoU()
    metric.update([box(4, 0, 0, 1, 1), None, large], [small, small, large], ["ship", "ship", "road"])
    found = metric.compute()
    assert (found["miou/ship"], found["miou/road"], found["class_miou"]) == (0.25, 1.0, 0.625)
    assert (found["n/ship"], found["n"], found["parse_failures"], found["miou"]) == (2, 3, 1, pytest.approx(0.5))


# ---- several targets


def instances(predictions: list[np.ndarray], targets: list[np.ndarray]) -> dict[str, float]:
    metric = InstanceMasks()
    metric.update([predictions], [targets])
    return metric.compute()


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
    metric = InstanceMasks()
    metric.update([[], [box(4, 0, 0, 2, 2)]], [[box(4, 0, 0, 2, 2)] * 2, [box(4, 0, 0, 2, 2)]])
    found = metric.compute()
    assert (found["n"], found["parse_failures"], found["miou"]) == (3, 1, pytest.approx(1 / 3))
    assert (found["precision@0.5"], found["recall@0.5"]) == (1.0, pytest.approx(1 / 3))
    with pytest.raises(ValueError, match="at least one true mask"):
        metric.update([[]], [[]])
    with pytest.raises(ValueError, match="resize"):
        metric.update([[box(4, 0, 0, 1, 1)]], [[box(5, 0, 0, 1, 1)]])


# ---- outlines


def boundary(prediction: np.ndarray | None, target: np.ndarray, **kwargs: float) -> dict[str, float]:
    metric = BoundaryF(**kwargs)
    metric.update([prediction], [target])
    return metric.compute()


def test_outline_and_grow_against_distances() -> None:
    mask = box(9, 2, 3, 7, 8)
    assert outline(mask).sum() == 16 and not outline(mask)[3:6, 4:7].any()
    assert outline(full_image((4, 5))).sum() == 14
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


def test_class_maps_by_hand() -> None:
    target = np.array([[0, 0, 1], [1, 255, 2]], dtype=np.uint8)
    said = np.array([[0, 1, 1], [1, 0, 0]], dtype=np.uint8)
    metric = ClassMapIoU(classes=("none", "road", "building", "water"))
    metric.update([said], [target])
    found = metric.compute()
    assert (found["iou/none"], found["iou/road"], found["iou/building"]) == pytest.approx((1 / 3, 2 / 3, 0.0))
    assert "iou/water" not in found and found["miou"] == pytest.approx(1 / 3)
    assert (found["pixel_accuracy"], found["n"]) == (pytest.approx(3 / 5), 5)


def test_class_maps_count_unknown_values_as_wrong() -> None:
    metric = ClassMapIoU(classes=("none", "road"))
    metric.update([np.array([[7, 0]])], [np.array([[0, 0]])])
    assert metric.compute()["iou/none"] == 0.5
    with pytest.raises(ValueError, match="classes 2 to 2"):
        metric.update([np.array([[0]])], [np.array([[2]])])
