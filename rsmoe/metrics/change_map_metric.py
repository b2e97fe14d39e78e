"""Overlap of predicted and true maps of change, over pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.data.images import images_key, read_array
from rsmoe.data.mask_sources import UNKNOWN
from rsmoe.data.sample import Sample
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.rows import RowMetric


class ChangeMapOverlap(RowMetric):
    """Change against no change, pixel by pixel, each pair once whatever is asked on it. All x100.

    - ``iou``, ``precision``, ``recall``, ``f1`` of changed pixels, over the pixels of all pairs (the numbers of change
      detection);
    - ``miou``: mean over the changed pairs of their own IoU;
    - ``false_alarm``: share of the unchanged pairs in which any pixel is called changed;
    - ``kind``: share of the rightly found pixels whose kind is right, where the model tells kinds.

    Pixels of unknown class (255) are not scored. A pair without a predicted map has none of its changes found. Samples
    without a class map are left out: there is nothing to compare with.

    Args:
        kwargs: of ``torchmetrics.Metric``.
    """

    tasks = ("change_caption", "change_vqa", "mask")
    protocol = "change/map@1"

    def update(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> None:
        """Adds a prediction, and the sample that it answers, each.

        Raises:
            ValueError: a predicted map is not of the size of the true one.
        """
        met = set()
        for prediction, sample in zip(predictions, samples, strict=True):
            key = images_key(sample)
            if sample.class_map is None or len(sample.images) != 2 or key in met:
                continue
            met.add(key)
            self.append([_row(prediction.change_map, read_array(sample.class_map))])

    def compute(self) -> dict[str, float]:
        """The numbers on the scale 0 to 100; empty where no pair has a true map."""
        rows = self.rows()
        if not rows:
            return {}
        both, said, true, kind = np.array(rows, dtype=np.float64).T
        found = {
            "iou": _share(both.sum(), (said + true - both).sum()),
            "precision": _share(both.sum(), said.sum()),
            "recall": _share(both.sum(), true.sum()),
            "f1": _share(2 * both.sum(), (said + true).sum()),
        }
        if (true > 0).any():
            changed = true > 0
            found["miou"] = 100 * float((both / np.maximum(said + true - both, 1))[changed].mean())
            found["kind"] = _share(kind.sum(), both.sum())
        if (true == 0).any():
            found["false_alarm"] = 100 * float((said[true == 0] > 0).mean())
        return found


def _row(said: np.ndarray | None, true: np.ndarray) -> list[Any]:
    """Pixels changed in both maps, in the predicted, in the true one, and those of the first with the right kind."""
    if said is None:
        said = np.zeros_like(true)
    if said.shape != true.shape:
        raise ValueError(f"map of {said.shape} against a target of {true.shape}: resize it to the target")
    known = true != UNKNOWN
    both = (said > 0) & (true > 0) & known
    numbers = both.sum(), ((said > 0) & known).sum(), ((true > 0) & known).sum(), (both & (said == true)).sum()
    return [int(n) for n in numbers]


def _share(part: float, whole: float) -> float:
    return 100.0 * float(part) / float(whole) if whole else 0.0
