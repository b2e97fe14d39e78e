"""Agreement of the outlines of masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.metrics.regions.masks import Mask, same_size
from rsmoe.metrics.row_metric import RowMetric
from rsmoe.metrics.tally import Tally, ratio

TOLERANCE = 0.008
"""Distance within which outlines agree, in parts of the picture's diagonal: that of DAVIS."""


class BoundaryF(RowMetric):
    """Mean over samples of the F-measure of mask outlines.

    Perazzi et al., "A benchmark dataset and evaluation methodology for video object segmentation", CVPR 2016: precision
    is the share of the predicted outline that lies within a tolerance of the true one, recall the reverse. Thin and
    small things weigh here as much as large ones.

    Args:
        tolerance: in parts of the diagonal, rounded up to whole pixels.
        kwargs: of ``torchmetrics.Metric``.
    """

    higher_is_better = True

    def __init__(self, *, tolerance: float = TOLERANCE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tolerance = tolerance

    def update(self, predictions: Sequence[Mask | None], targets: Sequence[Mask]) -> None:
        """Adds one mask (H, W) bool per sample, of its target's size; None where the model gave none, which scores 0.

        Raises:
            ValueError: sizes differ.
        """
        pairs = zip(predictions, targets, strict=True)
        self.append(boundary_row(mask, target, tolerance=self.tolerance) for mask, target in pairs)

    def compute(self) -> dict[str, float]:
        """boundary_f, _precision, _recall from 0 to 1, n, parse_failures; raises ValueError without samples."""
        return boundary_tally(self.rows()).values()


def outline(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels of a mask with one of their four neighbours outside of it, or of the picture."""
    inner = np.pad(mask, 1)
    inside = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    return mask & ~inside


def grow(mask: np.ndarray, radius: int) -> np.ndarray:
    """(H, W) bool: pixels at most ``radius`` from one of the mask, centre to centre (a dilation by a disk)."""
    height, width = mask.shape
    grown = np.zeros_like(mask)
    before = np.concatenate([np.zeros((height, 1), dtype=np.int64), np.cumsum(mask, axis=1)], axis=1)
    columns = np.arange(width)
    for dy in range(-min(radius, height - 1), min(radius, height - 1) + 1):
        reach = int((radius**2 - dy**2) ** 0.5)
        near = before[:, (columns + reach + 1).clip(None, width)] > before[:, (columns - reach).clip(0, None)]
        grown[max(dy, 0) : height + min(dy, 0)] |= near[max(-dy, 0) : height - max(dy, 0)]
    return grown


def boundary_row(prediction: Mask | None, target: Mask, *, tolerance: float = TOLERANCE) -> list[Any]:
    """One sample, as `boundary_tally` reads it: precision, recall, F-measure, missing.

    Two empty masks agree (1); one empty outline against another scores 0.
    """
    mask, truth = same_size(prediction, target)
    mine, theirs = outline(mask), outline(truth)
    if prediction is None:
        return [0.0, 0.0, 0.0, 1]
    if not mine.any() or not theirs.any():
        return [float(mine.any() == theirs.any())] * 3 + [0]
    radius = int(np.ceil(tolerance * np.hypot(*mask.shape)))
    precision = float((mine & grow(theirs, radius)).sum() / mine.sum())
    recall = float((theirs & grow(mine, radius)).sum() / theirs.sum())
    return [precision, recall, 2 * precision * recall / max(precision + recall, 1e-12), 0]


def boundary_tally(rows: Sequence[list[Any]]) -> Tally:
    """Numbers of `BoundaryF` from rows of `boundary_row`."""
    if not rows:
        raise ValueError("no mask was added before compute()")

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        precision, recall, f, failed, n = np.moveaxis(sums, -1, 0)
        return {
            "boundary_f": ratio(f, n),
            "boundary_precision": ratio(precision, n),
            "boundary_recall": ratio(recall, n),
            "n": n,
            "parse_failures": failed,
        }

    return Tally(rows=np.array([[*row, 1.0] for row in rows]), finish=finish)
