"""What of an answer lies somewhere: its masks and boxes, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rsmoe.data.boxes import parse
from rsmoe.data.tasks import find_task
from rsmoe.experts.expert import Expert
from rsmoe.geo.dates import Dates
from rsmoe.maps.decoder import resized
from rsmoe.metrics.prediction import Prediction


def locates(experts: Sequence[Expert], prediction: Prediction, boxes: np.ndarray | None) -> bool:
    """Whether a request asks for places: its answer holds some, or its expert has a task that masks or boxes answer."""
    if prediction.mask is not None or boxes is not None:
        return True
    tasks = (task for expert in experts if expert.name == prediction.expert for task in expert.tasks)
    return any(find_task(task).answer in ("mask", "boxes") for task in tasks)


def answer_boxes(
    prediction: Prediction, convention: str | None, size_px: tuple[int, int], shown: Dates
) -> np.ndarray | None:
    """Boxes of the words, else of a head, which has seen the picture as it was shown; None without any.

    Args:
        convention: of the words; None reads none.
        size_px: (width, height) of the picture, in whose pixels they are.
    """
    found = parse(prediction.text, convention=convention, size_px=size_px).boxes if convention else None
    if (found is None or not len(found)) and prediction.boxes_px is not None:
        height, width = shown.valid.shape
        found = prediction.boxes_px * np.array(2 * [size_px[0] / width, size_px[1] / height], np.float32)
    return found if found is not None and len(found) else None


def places_of(
    prediction: Prediction, shown: Dates, *, convention: str | None, size_px: tuple[int, int], sure: float | None
) -> dict[str, Any]:
    """The fields of a `rsmoe.evaluation.reply.Reply` that say where things are, of a picture that was answered whole.

    Args:
        shown: the picture as the model was shown it.
        convention, size_px: see `answer_boxes`.
        sure: mean log-probability of the answer's tokens; None where it is not known.
    """
    free, masks = shown.valid.copy(), []
    for mask in prediction.masks or (() if prediction.mask is None else (prediction.mask,)):
        masks.append(mask & free)
        free &= ~mask
    scores = _scores(prediction, masks)
    boxes = answer_boxes(prediction, convention, size_px, shown)
    told: tuple[float | None, ...] = ()
    if boxes is not None:
        of_masks = prediction.boxes_px is not None and len(boxes) == len(scores)
        told = scores if of_masks else (None if sure is None else math.exp(sure),) * len(boxes)
    return {
        "mask": None if prediction.mask is None else prediction.mask & shown.valid,
        "masks": tuple(masks),
        "mask_scores": scores,
        "boxes": boxes,
        "box_scores": told,
    }


def _scores(prediction: Prediction, masks: Sequence[np.ndarray]) -> tuple[float | None, ...]:
    """Of each (H, W) bool mask the mean probability inside; None where it is empty, or of a map."""
    if prediction.mask_logits is None or not masks:
        return (None,) * len(masks)
    logits = torch.from_numpy(prediction.mask_logits)[None, None]
    likely = resized(logits, (masks[0].shape[0], masks[0].shape[1]))[0, 0].sigmoid().numpy()
    return tuple(float(likely[mask].mean()) if mask.any() else None for mask in masks)
