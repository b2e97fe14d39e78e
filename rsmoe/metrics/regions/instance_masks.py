"""Several masks for one request: each true one is found once, or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.data.rasters.images import read_array
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.regions.grounding import THRESHOLDS, match
from rsmoe.metrics.regions.masks import Mask, as_bool, true_mask
from rsmoe.metrics.tally import Tally, overlap, ratio


class InstanceMasks(Metric):
    """Masks of several targets, matched one to one by overlap (`grounding.match`), so that a duplicate wins nothing.

    - ``miou``: mean over true masks of the IoU with the mask that was matched to them, 0 without one;
    - ``precision@t``, ``recall@t``, ``f1@t``: of masks matched at IoU >= t, over all samples.

    True masks are ``Sample.masks``, else ``Sample.mask``. A sample without any predicted mask is a parse
    failure; its true masks stay in every denominator. ``n`` is the number of true masks. An empty mask is the right
    answer to an empty true one, and to no other.
    """

    protocol = Protocol(
        id="mask/instances@1",
        title="Several masks matched one to one",
        tasks=("mask",),
        sentence="Several masks a sample, matched one to one by IoU, x100: mean IoU of true masks, precision, recall "
        "and F1 at IoU 0.5 and 0.7. Empty against empty is 1; no mask is a miss of each.",
        source="ours, for GeoPixInstruct",
        fields=("mask",),
    )

    def tally(self, pairs: Pairs) -> Tally:
        """One row a sample; raises ValueError where sizes differ."""
        rows = []
        for sample, prediction in pairs:
            targets = [read_array(mask) for mask in sample.masks] or [true_mask(sample)]
            single = () if prediction.mask is None else (prediction.mask,)
            rows.append(instances_row(prediction.masks or single, targets))
        return instances_tally(rows)


def mask_iou(first: Sequence[Mask], second: Sequence[Mask]) -> np.ndarray:
    """n and m masks of one size -> (n, m) float64 intersection over union, 1 where both are empty."""
    sizes = {np.shape(mask) for mask in (*first, *second)}
    if len(sizes) > 1:
        raise ValueError(f"masks of {sorted(sizes)} in one sample: resize them to one size")
    if not first or not second:
        return np.zeros((len(first), len(second)))
    a, b = (np.stack([as_bool(mask).ravel() for mask in masks]).astype(np.float32) for masks in (first, second))
    both = (a @ b.T).astype(np.float64)
    return ratio(both, a.sum(1)[:, None] + b.sum(1) - both, empty=1.0)


def instances_row(predictions: Sequence[Mask], targets: Sequence[Mask]) -> list[Any]:
    """One sample, as `instances_tally` reads it: true masks, predicted ones, sum of IoU, matches per threshold."""
    if not targets:
        raise ValueError("a sample of several masks needs at least one true mask")
    # of equal overlaps the first counts: no order of the file may decide
    said, true = (sorted(map(as_bool, masks), key=np.ndarray.tobytes) for masks in (predictions, targets))
    iou = mask_iou(said, true)
    owner = match(iou)
    total = float(sum(iou[i, j] for i, j in enumerate(owner) if j >= 0))
    hits = [int((match(iou, at_least=t) >= 0).sum()) for t in THRESHOLDS]
    return [len(targets), len(predictions), total, *hits]


def instances_tally(rows: Sequence[list[Any]]) -> Tally:
    """Numbers of `InstanceMasks` from rows of `instances_row`."""
    table = np.array([[*row, row[1] == 0] for row in rows], dtype=np.float64)

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        n, said, total = np.moveaxis(sums[..., :3], -1, 0)
        found = {"miou": ratio(total, n)}
        for i, t in enumerate(THRESHOLDS, start=3):
            hits = sums[..., i]
            found |= {f"{key}@{t}": value for key, value in overlap(hits, said - hits, n - hits).items()}
        return {**found, "n": n, "parse_failures": sums[..., -1]}

    return Tally(rows=table, finish=finish)
