"""What the experts of the token [SEG] share: masks as answers, and the two losses of a mask."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rsmoe.experts.expert import AnswerInput, Expert
from rsmoe.maps.decoder import resized


class SegExpert(Expert):
    """An expert whose `head` gives logits (n, h, w) for the n [SEG] of a batch; threshold 0.

    A pair that a map of change describes has no mask of its own: its [SEG] stands for that map.

    Args:
        name, tasks, template, hidden_width, pyramid_widths: as in `Expert`.
    """

    token = "[SEG]"

    def answer(self, request: AnswerInput) -> dict[int, dict[str, Any]]:
        """ "mask": (H, W) bool of the size of the picture, the union; of several [SEG] also "masks", one each; and
        "mask_logits", (h, w) of the union as the head gives them."""
        own: dict[int, list[Tensor]] = defaultdict(list)
        for logits, place in zip(self.head(request.inputs), request.inputs.sample.tolist(), strict=True):
            own[place].append(logits)
        answers: dict[int, dict[str, Any]] = {}
        for place, found in own.items():
            if "change" in request.maps[place]:
                answers[place] = {"mask": request.maps[place]["change"] > 0}
                continue
            full = (resized(logits[None, None], request.size_px[place])[0, 0] for logits in found)
            masks = [(logits > 0).cpu().numpy() for logits in full]
            answers[place] = {"mask": np.logical_or.reduce(masks)}
            answers[place] |= {"masks": tuple(masks)} if len(masks) > 1 else {}
            answers[place]["mask_logits"] = torch.stack(found).amax(0).detach().float().cpu().numpy()
        return answers


def pixel_bce(logits: Tensor, target: Tensor) -> Tensor:
    """(n, h, w) -> (n,) mean cross-entropy over the pixels."""
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2))


def soft_dice(logits: Tensor, target: Tensor) -> Tensor:
    """(n, h, w) -> (n,) ``1 - (2 |p t| + 1) / (|p| + |t| + 1)``."""
    p = logits.sigmoid()
    return 1 - (2 * (p * target).sum((1, 2)) + 1) / (p.sum((1, 2)) + target.sum((1, 2)) + 1)
