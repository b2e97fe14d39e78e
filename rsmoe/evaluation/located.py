"""What of an answer lies somewhere: its masks and boxes, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def boxes_of(
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


def masks_of(prediction: Prediction, shown: Dates) -> tuple[np.ndarray, ...]:
    """Masks of the targets that are on pixels with data, none of which two have."""
    free, apart = shown.valid.copy(), []
    for mask in prediction.masks or (() if prediction.mask is None else (prediction.mask,)):
        apart.append(mask & free)
        free &= ~mask
    return tuple(apart)


def mask_scores(prediction: Prediction, masks: Sequence[np.ndarray]) -> tuple[float | None, ...]:
    """Of each (H, W) bool mask the mean probability inside; None where it is empty, or of a map."""
    if prediction.mask_logits is None or not masks:
        return (None,) * len(masks)
    logits = torch.from_numpy(prediction.mask_logits)[None, None]
    likely = resized(logits, (masks[0].shape[0], masks[0].shape[1]))[0, 0].sigmoid().numpy()
    return tuple(float(likely[mask].mean()) if mask.any() else None for mask in masks)


def box_scores(
    prediction: Prediction, boxes: np.ndarray | None, scores: Sequence[float | None], sure: float | None
) -> tuple[float | None, ...]:
    """Of each box the score of its mask, where a head locates; of words the probability of their tokens.

    Args:
        scores: of `mask_scores`.
        sure: mean log-probability of the answer's tokens; None where it is not known.
    """
    if boxes is None:
        return ()
    if prediction.boxes_px is not None and len(boxes) == len(scores):
        return tuple(scores)
    return (None if sure is None else math.exp(sure),) * len(boxes)
