"""Scenes told by their class names: the nearest class in the space of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsmoe.metrics.row_metric import RowMetric
from rsmoe.metrics.tally import Tally, ratio


class ZeroShot(RowMetric):
    """Top-1 accuracy over images, and its mean over classes.

    Classes of equal score share the hit: a model that gives every class the same score gets the chance level, not
    100 % nor 0 %. A score that is not finite hits nothing and is a parse failure.

    Args:
        classes: names, in the order of the scores' columns.
        kwargs: of ``torchmetrics.Metric``.
    """

    higher_is_better = True

    def __init__(self, *, classes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = tuple(classes)

    def update(self, scores: Tensor, labels: Sequence[str]) -> None:
        """Adds scores (B, C) of each class, and the name of the right one, per image.

        Raises:
            ValueError: another number of classes, or a label that is none of them.
        """
        if scores.shape != (len(labels), len(self.classes)) or not set(labels) <= set(self.classes):
            raise ValueError(f"scores {tuple(scores.shape)} for {len(labels)} labels of {len(self.classes)} classes")
        rows = []
        for row, label in zip(scores.detach().double().cpu(), labels, strict=True):
            valid = bool(torch.isfinite(row).all())
            best = row == row.max()
            hit = float(best[self.classes.index(label)]) / int(best.sum()) if valid else 0.0
            rows.append([label, hit, int(not valid)])
        self.append(rows)

    def compute(self) -> dict[str, float]:
        """top1, class_top1 on the scale 0 to 1, n, parse_failures; raises ValueError when no image was added."""
        return zero_shot_tally(self.rows()).values()


def class_embeddings(texts: Tensor) -> Tensor:
    """Embeddings (C, P, D) of P prompts for each of C classes -> (C, D) unit vectors.

    The mean over prompts is taken first and made a unit vector then, as GeoRSCLIP does it (RS5M's inference_tool.py);
    open_clip's recipe makes every prompt a unit vector before.
    """
    return torch.nn.functional.normalize(texts.mean(dim=1), dim=-1)


def zero_shot_tally(rows: Sequence[list[Any]]) -> Tally:
    """Numbers of `ZeroShot` from rows of [class, hit, failed]."""
    if not rows:
        raise ValueError("no image was added before compute()")
    classes = sorted({row[0] for row in rows})
    table = np.zeros((len(rows), 3 + 2 * len(classes)))
    for i, (label, hit, failed) in enumerate(rows):
        place = 3 + 2 * classes.index(label)
        table[i, :3], table[i, place : place + 2] = (1, hit, failed), (1, hit)

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        own = ratio(sums[..., 4::2], sums[..., 3::2])
        return {
            "top1": ratio(sums[..., 1], sums[..., 0]),
            "class_top1": np.nanmean(own, axis=-1),
            "n": sums[..., 0],
            "parse_failures": sums[..., 2],
        }

    return Tally(rows=table, finish=finish)
