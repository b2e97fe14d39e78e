"""Boxes answered in words against the true ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsmoe.data.boxes import ParsedBoxes, convention, hbb_of_obb, parse
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.regions.obb import obb_iou
from rsmoe.metrics.tally import Tally, ratio

THRESHOLDS = (0.5, 0.7)


_SENTENCE = (
    "x100: acc@0.5 and acc@0.7 of true boxes, their mean IoU, and AP at IoU 0.5, boxes in float pixels of the original "
    "image, matched one to one; what cannot be parsed is a wrong box."
)


class Grounding(Metric):
    """Accuracy at IoU 0.5 and 0.7, mean IoU and average precision of boxes.

    - ``acc@t``: share of true boxes with IoU >= t. Of an answer to m true boxes the first m boxes count, matched one to
      one: with one true box that is the first box of the answer, and naming many boxes wins nothing;
    - ``miou``: mean IoU over true boxes, 0 for one without a match;
    - ``ap@0.5``: average precision of all boxes of all answers, one to one at IoU 0.5 (`match`), whatever their class.

    - ``none``: where there are requests for what is not in the picture, the share of them without a box in the answer.

    What could not be parsed is a wrong box in the precision, its true box stays in every denominator, and
    ``parse_failures`` counts the answers that it happened in. ``n`` is the number of true boxes.

    Args:
        oriented: boxes are oriented and overlap as polygons; else oriented ones count by their horizontal hull.
        legacy_plus_one: the defect of published scorers, to compare with their tables: boxes as parts of the picture,
            in [0, 1], with 1 added to every side as if they were pixels.
    """

    def __init__(self, *, oriented: bool = False, legacy_plus_one: bool = False) -> None:
        if oriented and legacy_plus_one:
            raise ValueError("legacy_plus_one is a defect of horizontal boxes; leave out oriented")
        self.oriented, self.legacy_plus_one = oriented, legacy_plus_one
        if legacy_plus_one:
            name, title = "ground/legacy-plus-one@1", "Grounding as LHRS-Bot's script scores it"
            more = " With 1 added to every side of boxes in [0, 1], under which random boxes score 24 to 38: to "
            more += "compare with published rows only."
            source = "LHRS-Bot, main_vg.py, see https://github.com/NJU-LHRS/LHRS-Bot/issues/27"
            scorer = "the IoU of that script; it also drops what it cannot parse, which this does not"
        elif oriented:
            name, title, scorer = "ground/obb@1", "Grounding of oriented boxes", ""
            more, source = " IoU of oriented boxes by exact polygons.", "accuracy as in GeoChat, arXiv 2311.15826"
        else:
            name, title, scorer = "ground/hbb@1", "Grounding of horizontal boxes", ""
            more = " Oriented boxes by their horizontal hull."
            source = "accuracy as in DIOR-RSVG, doi:10.1109/TGRS.2023.3250471; matching as in COCO"
        self.protocol = Protocol(
            id=name, title=title, tasks=("ground",), sentence=_SENTENCE + more, source=source, scorer=scorer
        )

    def tally(self, pairs: Pairs) -> Tally:
        """One row a sample; raises `UserError` where it does not say how its boxes are written."""
        rows = []
        for sample, prediction in pairs:
            answer, true, size_px = _boxes(sample, prediction, self.oriented)
            rows.append(grounding_row(answer, true, plus_one_in=size_px if self.legacy_plus_one else None))
        return grounding_tally(rows)


def _boxes(sample: Sample, prediction: Prediction, oriented: bool) -> tuple[ParsedBoxes, np.ndarray, tuple[int, int]]:
    """Parsed answer, true boxes, the picture's size; oriented boxes become their hull where horizontal ones count."""
    name, size = sample.meta.get("box_convention"), sample.meta.get("size_px")
    if not name or not size:
        raise UserError(
            f"sample {sample.id!r} does not say how its boxes are written: it needs box_convention, size_px"
        )
    parsed = parse(prediction.text, convention=str(name), size_px=(int(size[0]), int(size[1])))
    target = sample.obb_px if oriented or sample.boxes_px is None else sample.boxes_px
    if target is None or (oriented and not convention(str(name)).oriented):
        raise UserError(f"sample {sample.id!r} has no oriented boxes in truth and answer. Use protocol ground/hbb@1")
    if not oriented:  # hulls are cut to the picture, as horizontal boxes are when they are read
        edge = [*size, *size]
        target = hbb_of_obb(target).clip(0, edge) if target.shape[1] == 5 else target
        if parsed.boxes.shape[1] == 5:
            parsed = ParsedBoxes(boxes=hbb_of_obb(parsed.boxes).clip(0, edge), failed=parsed.failed)
    return parsed, target, (int(size[0]), int(size[1]))


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


def match(iou: np.ndarray, *, at_least: float = 0.0) -> np.ndarray:
    """(n, m) overlaps of n predicted and m true boxes -> (n,) the true box of each predicted one, or -1.

    One to one, as in COCO, by overlap, the largest first: the order of boxes in a text means nothing.

    Args:
        iou: overlaps.
        at_least: a smaller overlap, or none at all, is no match.
    """
    predicted, true = np.nonzero((iou >= at_least) & (iou > 0))
    taken = np.full(len(iou), -1)
    free = np.ones(iou.shape[1], dtype=bool)
    for k in np.lexsort((true, predicted, -iou[predicted, true])):
        if taken[predicted[k]] < 0 and free[true[k]]:
            taken[predicted[k]], free[true[k]] = true[k], False
    return taken


def grounding_row(
    answer: ParsedBoxes, target: np.ndarray, *, plus_one_in: tuple[int, int] | None = None
) -> list[float]:
    """One sample, as `grounding_tally` reads it: true boxes, sum of IoU, hits, failed, matched at 0.5, predicted boxes,
    and whether there is no true box, and rightly none in the answer.

    Args:
        answer: parsed boxes, of the target's kind.
        target: (m, 4) or (m, 5) true boxes; with m = 0 an answer without a box is right.
        plus_one_in: (width, height) of the picture, for the defect of ``legacy_plus_one``; None for none.

    Raises:
        ValueError: boxes of the other kind.
    """
    width = target.shape[-1]
    if target.ndim != 2 or answer.boxes.shape[1:] != (width,):
        raise ValueError(f"expected boxes (n, {width}), got {answer.boxes.shape} and {target.shape}")
    if not len(target):
        said = len(answer.boxes) + answer.astray
        return [0, 0.0, 0, 0, False, 0, said, 1, said == 0]
    true = np.asarray(target[np.lexsort(target.T)], dtype=np.float64)  # of equal overlaps the first counts
    boxes = answer.boxes.astype(np.float64)
    if plus_one_in is not None:
        sides = np.array([*plus_one_in, *plus_one_in], dtype=np.float64)
        iou = hbb_iou(boxes / sides, true / sides, plus_one=True)
    else:
        iou = (obb_iou if width == 5 else hbb_iou)(boxes, true)
    first = iou[: len(true)]
    owner = match(first)
    best = first[owner >= 0, owner[owner >= 0]]
    matched = int((match(iou, at_least=THRESHOLDS[0]) >= 0).sum())
    right = [int((best >= t).sum()) for t in THRESHOLDS]
    return [len(true), float(best.sum()), *right, answer.failures > 0, matched, len(boxes) + answer.failures, 0, 0]


def grounding_tally(rows: Sequence[Sequence[float]]) -> Tally:
    """Numbers of `Grounding` from rows of `grounding_row`.

    Text has no confidences, so that the curve of precision over recall has one point: AP is precision times recall.
    """

    holds_absent = any(row[7] for row in rows)

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        n, iou, half, more, failed, matched, said, absent, refused = np.moveaxis(sums, -1, 0)
        return ({"none": ratio(refused, absent)} if holds_absent else {}) | {
            "acc@0.5": ratio(half, n),
            "acc@0.7": ratio(more, n),
            "miou": ratio(iou, n),
            "ap@0.5": ratio(matched, said, empty=0.0) * ratio(matched, n),
            "n": n,
            "parse_failures": failed,
        }

    return Tally(rows=np.array(rows, dtype=np.float64), finish=finish)
