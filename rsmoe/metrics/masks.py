"""Overlap of predicted and true masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)

Mask = np.ndarray | Tensor


class MaskIoU(Metric):
    """mIoU, cIoU and precision at five thresholds, one binary mask per sample.

    - ``miou``: mean over samples of the intersection over union (called gIoU in referring segmentation);
    - ``ciou``: sum of intersections over sum of unions (cumulative, also oIoU; large objects dominate it);
    - ``p@t``: share of samples with IoU >= t.

    Empty against empty is IoU 1. A missing mask is an empty one and a parse failure: IoU 0 unless the target is empty,
    and then 0 as well, because nothing was answered.

    Args:
        kwargs: of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = True
    iou_sum: Tensor
    intersection: Tensor
    union: Tensor
    hits: Tensor
    n: Tensor
    missing: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("iou_sum", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("hits", default=torch.zeros(len(THRESHOLDS), dtype=torch.long), dist_reduce_fx="sum")
        for name in ("intersection", "union", "n", "missing"):
            self.add_state(name, default=torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[Mask | None], targets: Sequence[Mask]) -> None:
        """Adds one mask (H, W) bool per sample, of its target's size; None where the model gave none.

        Raises:
            ValueError: sizes differ; bring the prediction to the size of the target first.
        """
        for prediction, target in zip(predictions, targets, strict=True):
            truth = _array(target)
            mask = np.zeros_like(truth) if prediction is None else _array(prediction)
            if mask.shape != truth.shape:
                raise ValueError(f"mask of {mask.shape} against a target of {truth.shape}: resize it to the target")
            both, either = int((mask & truth).sum()), int((mask | truth).sum())
            iou = 0.0 if prediction is None else both / either if either else 1.0
            self.iou_sum += iou
            self.intersection += both
            self.union += either
            self.hits += torch.tensor([iou >= t for t in THRESHOLDS], dtype=torch.long, device=self.hits.device)
            self.n += 1
            self.missing += prediction is None

    def compute(self) -> dict[str, float]:
        """miou, ciou, p@0.5 .. p@0.9 on the scale 0 to 1, n, parse_failures; raises ValueError without samples."""
        n = int(self.n)
        if n == 0:
            raise ValueError("no mask was added before compute()")
        return {
            "miou": float(self.iou_sum) / n,
            "ciou": int(self.intersection) / int(self.union) if int(self.union) else float(self.iou_sum) / n,
            **{f"p@{t}": int(hit) / n for t, hit in zip(THRESHOLDS, self.hits, strict=True)},
            "n": float(n),
            "parse_failures": float(self.missing),
        }


def _array(mask: Mask) -> np.ndarray:
    return np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask, dtype=bool)
