"""The box that does best without looking at the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsmoe.data.boxes import convention, hbb_of_obb, write
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread
from rsmoe.evaluation.constant_answers import ConstantAnswer
from rsmoe.metrics.regions.grounding import hbb_iou
from rsmoe.metrics.regions.obb import obb_iou

_MOST = 500
"""Boxes that are compared with one another."""


class ConstantBox(ConstantAnswer):
    """The training box that has an IoU of 0.5 with most others, and of those the highest mean IoU.

    It is the answer to every request, once; where a caption is to be grounded, once for each of its phrases.
    """

    def best(self, train: Sequence[Sample]) -> np.ndarray | None:
        """(4,) or (5,) float32, in parts of the sides; of oriented boxes where the answers hold such."""
        return _best(np.concatenate([_boxes(sample) for sample in train]))

    def true(self, sample: Sample) -> np.ndarray | None:
        """The first box of a sample, likewise."""
        boxes = _boxes(sample)
        return boxes[0] if len(boxes) else None

    def as_fields(self, answer: np.ndarray | None, test: Sample) -> dict[str, str]:
        """The text, as the boxes of the sample are written; "" for none."""
        name, size = test.meta.get("box_convention"), test.meta.get("size_px")
        if answer is None or not name or not size:
            return {"text": ""}
        width, height = size
        box = answer * _scale(answer, width, height)
        box = box if convention(name).oriented or len(box) == 4 else hbb_of_obb(box[None])[0]
        if len(box) == 4 and convention(name).oriented:
            x, y, right, bottom = box
            box = np.array([(x + right) / 2, (y + bottom) / 2, right - x, bottom - y, 0.0])
        text = write(box[None], convention=name, size_px=(width, height))
        phrases = test.meta.get("phrases", ())
        return {"text": " and ".join(f"<p>{phrase}</p> {text}" for phrase in phrases) if phrases else text}


def _boxes(sample: Sample) -> np.ndarray:
    """(n, 4) or (n, 5) of the boxes that an answer holds, in parts of the sides."""
    name, size = sample.meta.get("box_convention"), sample.meta.get("size_px")
    oriented = bool(name) and convention(str(name)).oriented and sample.obb_px is not None
    boxes = sample.obb_px if oriented else sample.boxes_px
    if boxes is None or not size:
        return np.zeros((0, 4), np.float32)
    return boxes / _scale(boxes, *size)


def _scale(boxes: np.ndarray, width: float, height: float) -> np.ndarray:
    sides = [width, height, width, height]
    return np.array(sides if boxes.shape[-1] == 4 else [*sides, 1.0])


def _best(boxes: np.ndarray) -> np.ndarray | None:
    if not len(boxes):
        return None
    some = boxes[spread(len(boxes), _MOST)]
    overlap = (obb_iou if some.shape[1] == 5 else hbb_iou)(some, some)
    chosen: np.ndarray = some[int(((overlap >= 0.5).mean(axis=1) + overlap.mean(axis=1) / 1000).argmax())]
    return chosen
