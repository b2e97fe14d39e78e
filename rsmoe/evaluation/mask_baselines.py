"""Masks that do not look at the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_GRID = 64
_SHARES = tuple(i / 20 for i in range(1, 20))


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour to (H, W) bool."""
    rows, columns = ((np.arange(new) + 0.5) * old / new for new, old in zip(shape, mask.shape, strict=True))
    return np.asarray(mask, dtype=bool)[rows.astype(int)[:, None], columns.astype(int)]


def centre_box(shape: tuple[int, int], share: float) -> np.ndarray:
    """(H, W) bool: the box in the middle, of the image's proportions, that covers ``share`` of its area."""
    side = share**0.5
    rows, columns = (np.abs((np.arange(n) + 0.5) / n - 0.5) <= side / 2 for n in shape)
    return rows[:, None] & columns


def best_constant_mask(masks: Sequence[np.ndarray]) -> np.ndarray:
    """The one mask with the highest mean IoU on the training masks: the strongest answer without looking.

    Candidates: the full image, centre boxes of 5 to 95 % of the area, and the mean mask at thresholds 5 to 95 %.

    Args:
        masks: training masks (H, W) bool, of any sizes.

    Returns:
        (64, 64) bool; `resize_mask` brings it to an image.

    Raises:
        ValueError: no mask.
    """
    if not masks:
        raise ValueError("best_constant_mask needs at least one training mask")
    truth = np.stack([resize_mask(m, (_GRID, _GRID)) for m in masks]).reshape(len(masks), -1).astype(np.float32)
    mean, area = truth.mean(0).reshape(_GRID, _GRID), truth.sum(1)

    def mean_iou(mask: np.ndarray) -> float:
        both = truth @ mask.reshape(-1).astype(np.float32)
        either = area + mask.sum() - both
        return float(np.where(either > 0, both / np.maximum(either, 1.0), 1.0).mean())

    return max(_candidates(mean), key=mean_iou)


def _candidates(mean: np.ndarray) -> Iterator[np.ndarray]:
    shape = (_GRID, _GRID)
    yield np.ones(shape, dtype=bool)
    for share in _SHARES:
        yield centre_box(shape, share)
        yield mean >= share
