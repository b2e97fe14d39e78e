"""Boxes answered in words against the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from rsmoe.data.boxes import ParsedBoxes
from rsmoe.metrics.obb import obb_iou
from rsmoe.metrics.rows import gather_rows

THRESHOLDS = (0.5, 0.7)


def hbb_iou(first: np.ndarray, second: np.ndarray, *, plus_one: bool = False) -> np.ndarray:
    """(n, 4) and (m, 4) ``x1 y1 x2 y2`` -> (n, m) float64 intersection over union; 0 where the union is empty.

    Args:
        first: horizontal boxes.
        second: in the same space.
        plus_one: adds 1 to every side, as scorers of whole-pixel boxes do; wrong in any other space.
    """
    a, b = (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) for boxes in (first, second))
    sides = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2]) + plus_one
    both = np.prod(sides.clip(0, None), axis=-1)
    area_a, area_b = (np.prod((boxes[:, 2:] - boxes[:, :2] + plus_one).clip(0, None), axis=1) for boxes in (a, b))
    either = area_a[:, None] + area_b - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def match(iou: np.ndarray, *, at_least: float = 0.0, scores: np.ndarray | None = None) -> np.ndarray:
    """(n, m) overlaps of n predicted and m true boxes -> (n,) the true box of each predicted one, or -1.

    One to one, as in COCO: the surest predicted box takes the true one that it overlaps most. Equally sure boxes,
    which are all boxes without scores, take their turn by overlap, so that their order in the text means nothing.

    Args:
        iou: overlaps.
        at_least: a smaller overlap, or none at all, is no match.
        scores: (n,) confidences.
    """
    predicted, true = np.nonzero((iou >= at_least) & (iou > 0))
    sure = np.zeros(len(iou)) if scores is None else np.asarray(scores, dtype=np.float64)
    order = np.lexsort((true, predicted, -iou[predicted, true], -sure[predicted]))
    taken = np.full(len(iou), -1)
    free = np.ones(iou.shape[1], dtype=bool)
    for k in order:
        if taken[predicted[k]] < 0 and free[true[k]]:
            taken[predicted[k]], free[true[k]] = true[k], False
    return taken


def average_precision(scores: np.ndarray, hits: np.ndarray, n_true: int) -> float:
    """Area under precision over recall, precision made monotonous from the right as in COCO, without its 101 steps.

    Boxes of the same score are one point of the curve. Without confidences there is one point, and this is precision
    times recall: no order is invented.

    Args:
        scores: (n,) confidences.
        hits: (n,) whether the box was matched.
        n_true: boxes to be found.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))[: len(scores)]
    found = np.cumsum(hits[order])[last]
    precision = np.maximum.accumulate((found / (last + 1))[::-1])[::-1]
    return float(np.sum(np.diff(found / n_true, prepend=0.0) * precision))


class Grounding(Metric):
    """Accuracy at IoU 0.5 and 0.7, mean IoU and average precision of boxes.

    - ``acc@t``: share of true boxes with IoU >= t. Of an answer to m true boxes the first m boxes count, matched one to
      one: with one true box that is the first box of the answer, and naming many boxes wins nothing;
    - ``miou``: mean IoU over true boxes, 0 for one without a match;
    - ``ap@0.5``: average precision of all boxes of all answers (`average_precision`), one to one at IoU 0.5 (`match`),
      whatever their class.

    What could not be parsed is a wrong box in the precision, its true box stays in every denominator, and
    ``parse_failures`` counts the answers that it happened in. ``n`` is the number of true boxes.

    Args:
        oriented: boxes are (n, 5) and overlap as polygons; else (n, 4).
        legacy_plus_one: the defect of published scorers, to compare with their tables: boxes as parts of the picture,
            in [0, 1], with 1 added to every side as if they were pixels. A number of this mode has its own protocol.
        kwargs: of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = True
    iou_sum: Tensor
    hits: Tensor
    n: Tensor
    failed: Tensor
    ranked: list[Tensor]

    def __init__(self, *, oriented: bool = False, legacy_plus_one: bool = False, **kwargs: Any) -> None:
        super().__init__(dist_sync_fn=kwargs.pop("dist_sync_fn", gather_rows), **kwargs)
        if oriented and legacy_plus_one:
            raise ValueError("legacy_plus_one is a defect of horizontal boxes; leave out oriented")
        self.oriented, self.legacy_plus_one = oriented, legacy_plus_one
        self.add_state("iou_sum", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("hits", default=torch.zeros(len(THRESHOLDS), dtype=torch.long), dist_reduce_fx="sum")
        for name in ("n", "failed"):
            self.add_state(name, default=torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("ranked", default=[], dist_reduce_fx="cat")  # (k, 2): score, matched

    def update(
        self,
        predictions: Sequence[ParsedBoxes],
        targets: Sequence[np.ndarray],
        *,
        sizes_px: Sequence[tuple[int, int]] | None = None,
        scores: Sequence[np.ndarray] | None = None,
    ) -> None:
        """Adds one answer and its true boxes per sample, all in pixels.

        Args:
            predictions: parsed answers; of numbers from elsewhere, ``ParsedBoxes(boxes=array)``.
            targets: (m, 4) or (m, 5), m >= 1.
            sizes_px: (width, height) of each image, for ``legacy_plus_one`` only.
            scores: (n,) confidence of each predicted box, for detectors; text has none.

        Raises:
            ValueError: a sample without a true box, boxes of the other kind, or no sizes where they are needed.
        """
        if self.legacy_plus_one and sizes_px is None:
            raise ValueError("legacy_plus_one needs sizes_px, to write the boxes as parts of the picture")
        width = 5 if self.oriented else 4
        best, ranked, failed = [np.zeros(0)], [np.zeros((0, 2))], 0
        for i, (answer, target) in enumerate(zip(predictions, targets, strict=True)):
            true = np.asarray(target, dtype=np.float64)
            boxes = np.asarray(answer.boxes, dtype=np.float64)
            if true.ndim != 2 or not len(true) or true.shape[1] != width or boxes.shape[1:] != (width,):
                raise ValueError(f"expected boxes (n, {width}) and >= 1 target, got {boxes.shape} and {true.shape}")
            if self.legacy_plus_one and sizes_px is not None:
                sides = np.array([*sizes_px[i], *sizes_px[i]], dtype=np.float64)
                iou = hbb_iou(boxes / sides, true / sides, plus_one=True)
            else:
                iou = (obb_iou if self.oriented else hbb_iou)(boxes, true)
            sure = np.ones(len(boxes)) if scores is None else np.asarray(scores[i], dtype=np.float64)
            best.append(_overlaps(iou))
            ranked.append(np.stack([sure, match(iou, at_least=THRESHOLDS[0], scores=sure) >= 0], axis=1))
            ranked.append(np.tile([sure.max(initial=0.0) if scores is not None else 1.0, 0.0], (answer.failures, 1)))
            failed += answer.failures > 0
        overlaps = np.concatenate(best)
        self.iou_sum += float(overlaps.sum())
        self.hits += torch.tensor([int((overlaps >= t).sum()) for t in THRESHOLDS], device=self.hits.device)
        self.n += len(overlaps)
        self.failed += failed
        self.ranked.append(torch.from_numpy(np.concatenate(ranked)).to(self.device))

    def compute(self) -> dict[str, float]:
        """acc@0.5, acc@0.7, miou, ap@0.5 on the scale 0 to 1, n, parse_failures; ValueError without samples."""
        n = int(self.n)
        if n == 0:
            raise ValueError("no box was added before compute()")
        parts = self.ranked if isinstance(self.ranked, list) else [self.ranked]  # one tensor after a sync
        ranked = torch.cat([part.cpu() for part in parts]).numpy()
        return {
            **{f"acc@{t}": int(hit) / n for t, hit in zip(THRESHOLDS, self.hits, strict=True)},
            "miou": float(self.iou_sum) / n,
            f"ap@{THRESHOLDS[0]}": average_precision(ranked[:, 0], ranked[:, 1], n),
            "n": float(n),
            "parse_failures": float(self.failed),
        }


def _overlaps(iou: np.ndarray) -> np.ndarray:
    """(n, m) -> (m,): the overlap of each true box with its match among the first m boxes of the answer, or 0."""
    first = iou[: iou.shape[1]]
    owner = match(first)
    best = np.zeros(iou.shape[1])
    best[owner[owner >= 0]] = first[owner >= 0, owner[owner >= 0]]
    return best
