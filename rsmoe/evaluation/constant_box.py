"""The box that does best without looking at the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rsmoe.data.boxes import convention, write
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread
from rsmoe.evaluation.constant_answers import ConstantAnswer
from rsmoe.metrics.regions.grounding import hbb_iou
from rsmoe.metrics.regions.obb import obb_iou

_MOST = 500
"""Boxes that are compared with one another."""


class ConstantBox(ConstantAnswer):
    """The training box that has an IoU of 0.5 with most others, and of those the highest mean IoU.

    One of the horizontal boxes and one of the oriented ones, each for requests that are answered so: once, or where a
    caption is to be grounded, once for each of its phrases.
    """

    def best(self, train: Sequence[Sample]) -> dict[int, np.ndarray]:
        """Numbers of a box, 4 or 5 -> the box, float in parts of the sides; {} where training has none."""
        each = [boxes for boxes in map(_boxes, train) if len(boxes)]
        kinds = sorted({boxes.shape[1] for boxes in each})
        return {kind: _best(np.concatenate([b for b in each if b.shape[1] == kind])) for kind in kinds}

    def true(self, sample: Sample) -> dict[int, np.ndarray]:
        """The first box of a sample, likewise."""
        boxes = _boxes(sample)
        return {boxes.shape[1]: boxes[0]} if len(boxes) else {}

    def as_fields(self, answer: Mapping[int, np.ndarray] | None, test: Sample) -> dict[str, str]:
        """The text, as the boxes of the sample are written; "" for none."""
        name, size = test.meta.get("box_convention"), test.meta.get("size_px")
        kind = 5 if name and convention(name).oriented else 4
        if not size or kind not in (answer or {}):
            return {"text": ""}
        assert name and answer
        width, height = size
        box = answer[kind][None] * _scale(kind, width, height)
        text = write(box, convention=name, size_px=(width, height))
        phrases = test.meta.get("phrases", ())
        return {"text": " and ".join(f"<p>{phrase}</p> {text}" for phrase in phrases) if phrases else text}


def _boxes(sample: Sample) -> np.ndarray:
    """(n, 4) or (n, 5) of the boxes that an answer holds, in parts of the sides."""
    name, size = sample.meta.get("box_convention"), sample.meta.get("size_px")
    boxes = sample.obb_px if name and convention(str(name)).oriented else sample.boxes_px
    return np.zeros((0, 4)) if boxes is None or not size else boxes / _scale(boxes.shape[1], *size)


def _scale(kind: int, width: float, height: float) -> np.ndarray:
    return np.array([width, height, width, height, 1.0][:kind])


def _best(boxes: np.ndarray) -> np.ndarray:
    some = boxes[spread(len(boxes), _MOST)]
    overlap = (obb_iou if some.shape[1] == 5 else hbb_iou)(some, some)
    chosen: np.ndarray = some[int(((overlap >= 0.5).mean(axis=1) + overlap.mean(axis=1) / 1000).argmax())]
    return chosen
