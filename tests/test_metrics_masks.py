import numpy as np
import pytest
import torch

from rsmoe.metrics.mask_baselines import best_constant_mask, centre_box, full_image, mean_mask, resize_mask
from rsmoe.metrics.masks import MaskIoU


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
