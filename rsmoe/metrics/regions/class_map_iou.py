"""Agreement of class maps: the mIoU of semantic segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from rsmoe.data.rasters.mask_sources import UNKNOWN


class ClassMapIoU(Metric):
    """IoU per class from one confusion matrix over all pixels, their mean, and the share of right pixels.

    Pixels whose true value is 255 are not scored; a predicted value that is no class is a wrong one. A class that
    neither a true nor a predicted map holds has no IoU and is left out of the mean; one that only a prediction holds
    has IoU 0 and counts. Everingham et al., "The PASCAL visual object classes challenge", IJCV 2010.

    Args:
        classes: names of the values of the maps.
        kwargs: of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = True
    confusion: Tensor

    def __init__(self, *, classes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = tuple(classes)
        shape = len(self.classes), len(self.classes) + 1  # a value that is no class is a wrong one
        self.add_state("confusion", default=torch.zeros(shape, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> None:
        """Adds one map (H, W) of class indices per sample; ValueError for other sizes or unknown true values."""
        size = len(self.classes)
        for prediction, target in zip(predictions, targets, strict=True):
            if prediction.shape != target.shape:
                raise ValueError(f"map of {prediction.shape} against a target of {target.shape}: resize it")
            scored = target != UNKNOWN
            true, said = target[scored].astype(np.int64), prediction[scored].astype(np.int64)
            if true.size and not 0 <= true.min() <= true.max() < size:
                raise ValueError(f"the target holds classes {true.min()} to {true.max()}, but there are {size} classes")
            said = np.where((said >= 0) & (said < size), said, size)
            counts = np.bincount(true * (size + 1) + said, minlength=size * (size + 1))
            self.confusion += torch.from_numpy(counts.reshape(size, size + 1)).to(self.confusion)

    def compute(self) -> dict[str, float]:
        """miou, pixel_accuracy, iou/<class> on the scale 0 to 1, n (pixels); raises ValueError without pixels."""
        table = self.confusion.double()
        n = float(table.sum())
        if n == 0:
            raise ValueError("no pixel was added before compute()")
        both, square = table.diagonal(), table[:, : len(self.classes)]
        either = table.sum(1) + square.sum(0) - both
        iou = {name: float(b / e) for name, b, e in zip(self.classes, both, either, strict=True) if e > 0}
        return {
            "miou": sum(iou.values()) / len(iou),
            "pixel_accuracy": float(both.sum()) / n,
            **{f"iou/{name}": value for name, value in iou.items()},
            "n": n,
        }
