"""Overlap of predicted and true masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from rsmoe.data.rasters.images import read_array
from rsmoe.data.sample import Sample
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, ratio

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)

Mask = np.ndarray | Tensor


class MaskIoU(Metric):
    """mIoU, cIoU and precision at five thresholds, one binary mask per sample.

    - ``miou``: mean over samples of the intersection over union (called gIoU in referring segmentation);
    - ``ciou``: sum of intersections over sum of unions (cumulative, also oIoU; large objects dominate it);
    - ``p@t``: share of samples with IoU >= t;
    - ``miou/<class>``: mean over the samples of a class, and ``class_miou``, the mean of those over classes.

    Empty against empty is IoU 1. A missing mask is an empty one and a parse failure: IoU 0 unless the target is empty,
    and then 0 as well, because nothing was answered. A sample with a class map and no mask asks for no one thing and is
    left out.
    """

    protocol = Protocol(
        id="mask/giou@1",
        title="gIoU, cIoU and precision of masks",
        tasks=("mask",),
        sentence="One binary mask per sample, x100: miou is the mean IoU over samples (gIoU), also per class and as "
        "mean over classes; ciou (oIoU) the sum of intersections over the sum of unions; p@t the share with IoU >= t. "
        "Empty against empty is 1; no mask is 0.",
        source="LISA, arXiv 2308.00692 (gIoU, cIoU); LAVT, arXiv 2112.02244 (P@t)",
        fields=("mask",),
    )

    def tally(self, pairs: Pairs) -> Tally | None:
        """One row a mask; None where every sample asks for all classes, which `ClassMapIoU` scores. Raises ValueError
        where sizes differ."""
        asked = [(s, p) for s, p in pairs if s.mask is not None or s.class_map is None]
        return mask_tally([mask_row(p.mask, true_mask(s), s.kind) for s, p in asked]) if asked else None


def true_mask(sample: Sample) -> np.ndarray:
    """(H, W) bool; ValueError without one."""
    if sample.mask is None:
        raise ValueError(f"sample {sample.id!r} is of task {sample.task!r} and has no mask")
    return read_array(sample.mask)


def as_bool(mask: Mask) -> np.ndarray:
    """(H, W) bool in main memory."""
    return np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask, dtype=bool)


def same_size(prediction: Mask | None, target: Mask) -> tuple[np.ndarray, np.ndarray]:
    """Both masks as bool, an empty one where the model gave none; ValueError when their sizes differ."""
    truth = as_bool(target)
    mask = np.zeros_like(truth) if prediction is None else as_bool(prediction)
    if mask.shape != truth.shape:
        raise ValueError(f"mask of {mask.shape} against a target of {truth.shape}: resize it to the target")
    return mask, truth


def mask_row(prediction: Mask | None, target: Mask, kind: str = "") -> list[Any]:
    """One sample, as `mask_tally` reads it: class, intersection, union, missing."""
    mask, truth = same_size(prediction, target)
    return [kind, int((mask & truth).sum()), int((mask | truth).sum()), int(prediction is None)]


def mask_tally(rows: Sequence[list[Any]]) -> Tally:
    """Numbers of `MaskIoU` from rows of `mask_row`."""
    if not rows:
        raise ValueError("no mask was added")
    both, either, missing = (np.array([row[i] for row in rows], dtype=np.float64) for i in (1, 2, 3))
    iou = np.where(missing > 0, 0.0, ratio(both, either, empty=1.0))
    kinds = sorted({row[0] for row in rows} - {""})
    own = np.array([[row[0] == kind for kind in kinds] for row in rows], dtype=np.float64).reshape(len(rows), -1)
    hits = iou[:, None] >= np.array(THRESHOLDS)
    columns = [np.ones(len(rows)), iou, both, either, missing]
    table = np.concatenate([np.stack(columns, axis=1), hits, own, own * iou[:, None]], axis=1)

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        n, total, shared, union, failed = np.moveaxis(sums[..., :5], -1, 0)
        miou = ratio(total, n)
        found = {"miou": miou, "ciou": ratio(shared, union, empty=miou)}
        found |= {f"p@{t}": ratio(sums[..., 5 + i], n) for i, t in enumerate(THRESHOLDS)}
        if kinds:
            count, inside = np.split(sums[..., 5 + len(THRESHOLDS) :], 2, axis=-1)
            mean = ratio(inside, count)
            found["class_miou"] = np.nanmean(mean, axis=-1)
            found |= {f"miou/{kind}": mean[..., i] for i, kind in enumerate(kinds)}
            found |= {f"n/{kind}": count[..., i] for i, kind in enumerate(kinds)}
        return {**found, "n": n, "parse_failures": failed}

    return Tally(rows=table, finish=finish)
