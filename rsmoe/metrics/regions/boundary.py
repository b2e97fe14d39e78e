"""Agreement of the outlines of masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.regions.masks import Mask, same_size, true_mask
from rsmoe.metrics.tally import Tally, ratio

TOLERANCE = 0.008
"""Distance within which outlines agree, in parts of the picture's diagonal: that of DAVIS."""


class BoundaryF(Metric):
    """Mean over samples of the F-measure of mask outlines.

    Perazzi et al., "A benchmark dataset and evaluation methodology for video object segmentation", CVPR 2016: precision
    is the share of the predicted outline that lies within a tolerance of the true one, recall the reverse. Thin and
    small things weigh here as much as large ones. The tolerance is `TOLERANCE`, rounded up to whole pixels.
    """

    protocol = Protocol(
        id="mask/boundary@1",
        title="Boundary F-measure of masks",
        tasks=("mask",),
        sentence="Mean over samples of the F-measure of outlines within 0.8 % of the diagonal, and its precision and "
        "recall, x100. Two empty masks are 1; no mask is 0.",
        source="DAVIS, Perazzi et al., CVPR 2016",
        fields=("mask",),
    )

    def tally(self, pairs: Pairs) -> Tally:
        """One row a mask; raises ValueError where sizes differ."""
        return boundary_tally([boundary_row(p.mask, true_mask(s)) for s, p in pairs])


def outline(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels of a mask with one of their four neighbours outside of it, or of the picture."""
    found: np.ndarray = mask & ~ndimage.binary_erosion(mask)
    return found


def grow(mask: np.ndarray, radius: int) -> np.ndarray:
    """(H, W) bool: pixels at most ``radius`` from one of the mask, centre to centre (a dilation by a disk)."""
    near: np.ndarray = ndimage.distance_transform_edt(~mask) <= radius
    return near if mask.any() else mask


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
