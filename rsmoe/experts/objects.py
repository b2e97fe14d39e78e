"""The expert for every thing of a kind: one [SEG] marks their pixels, and the pixels say which thing they are of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Positive
from rsmoe.data.batch import Batch
from rsmoe.errors import UserError
from rsmoe.experts.expert import AnswerInput, HeadInput
from rsmoe.experts.instances import things_of
from rsmoe.experts.seg import SegExpert, pixel_bce, soft_dice
from rsmoe.maps.decoder import PyramidDecoder, resized

_RARE, _SIDE = -3.0, 8.0
"""Logit of a kind, and distance to a side in pixels of the finest level, at first."""
_LARGEST = 1000.0


class ObjectsExpert(SegExpert):
    """Dense grounding: the [SEG] state classifies every pixel, and every pixel tells the box of the thing it is of.

    1. pixels, once a view with a [SEG]: the FPN of all levels -> features F (C, h, w), and from them, whatever is
       asked, the distances of a pixel to the four sides of its thing (FCOS, arXiv 1904.01355)
    2. [SEG] state -> query q (C,); of several in a reply the mean; <q, F> + b are the logits of the kind that is asked
    3. an answer: pixels above 0 are the mask, and `rsmoe.experts.instances.things_of` takes them apart

    A picture is decoded once for all kinds that are asked of it. Pixels teach densely: some dozens of pictures are
    enough, where queries of a transformer find none of their objects.

    A pair that a map of change describes has no mask of its own: its [SEG] stands for that map.

    Args:
        width: C, channels of the decoder; a multiple of 8.
        name, tasks, template, hidden_width, pyramid_widths: as in `Expert`.

    Raises:
        UserError: a width that is no multiple of 8.
    """

    terms: Mapping[str, float] = {"object_bce": 10.0, "object_dice": 1.0, "object_box": 1.0}

    def __init__(
        self,
        *,
        name: str,
        tasks: Sequence[str],
        template: str = "{instruction}",
        hidden_width: Positive,
        pyramid_widths: Sequence[Positive],
        width: Positive = 64,
    ) -> None:
        super().__init__(
            name=name, tasks=tasks, template=template, hidden_width=hidden_width, pyramid_widths=pyramid_widths
        )
        if width % 8:
            raise UserError(f"expert.{name}.width={width}: expected a multiple of 8")
        self.query = nn.Sequential(
            nn.LayerNorm(hidden_width), nn.Linear(hidden_width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.pixels = PyramidDecoder(widths=pyramid_widths, channels=width, finest_kernel=1)
        self.bias = nn.Parameter(torch.tensor(_RARE))
        self.sides = nn.Sequential(nn.Conv2d(width, width, 1), nn.GELU(), nn.Conv2d(width, 4, 1))
        last = self.sides[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.normal_(last.weight, std=0.01)
        nn.init.constant_(last.bias, math.log(_SIDE))

    def decode(self, inputs: HeadInput) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """n >= 1 states of g replies.

        Returns:
            (g,) long: the sample of each reply; (g, h, w) logits of what it asks for; (v, 4, h, w) distances to the
            sides, in pixels of that size, of the views that are asked about; (g,) long: the place among them.
        """
        sample, reply, count = inputs.sample.unique_consecutive(return_inverse=True, return_counts=True)
        state = inputs.hidden.new_zeros(len(sample), inputs.hidden.shape[1]).index_add(0, reply, inputs.hidden)
        query = self.query(state / count[:, None])
        asked, view = inputs.view[count.cumsum(0) - count].unique(return_inverse=True)
        x = self.pixels([level[asked] for level in inputs.pyramid])  # (v, C, h, w)
        logits = torch.bmm(query[:, None], x.flatten(2)[view])[:, 0] / query.shape[1] ** 0.5 + self.bias
        sides = self.sides(x).float().clamp(-4.0, math.log(_LARGEST)).exp()
        return sample, logits.view(len(sample), *x.shape[-2:]), sides, view

    def head(self, inputs: HeadInput) -> Tensor:
        """n states -> (n, h, w) logits at the size of the finest level, the same for those of one reply."""
        reply = inputs.sample.unique_consecutive(return_inverse=True)[1]
        return self.decode(inputs)[1][reply]

    def losses(self, inputs: HeadInput, batch: Batch) -> dict[str, Tensor]:
        """Of the replies that have a mask (zero if none has), at the size of the finest level.

        - "object_bce": pixel cross-entropy of the kind, mean over the replies;
        - "object_dice": soft dice, mean over the replies with something to mark;
        - "object_box": 1 - GIoU (arXiv 1902.09630) between the box that a pixel tells and that of the target it is on,
          mean over its pixels, then over all targets of the batch.
        """
        if bool(inputs.compared.all()):
            return {}
        sample, logits, sides, view = self.decode(inputs[~inputs.compared])
        numbers = batch.masks[sample] * batch.has_mask[sample, None, None]  # (g, H, W)
        size = (logits.shape[1], logits.shape[2])
        covered = F.adaptive_avg_pool2d((numbers > 0).float(), size)
        has, marked = batch.has_mask[sample].float(), numbers.flatten(1).any(1).float()
        bce = (pixel_bce(logits.float(), covered) * has).sum() / has.sum().clamp_min(1)
        dice = (soft_dice(logits.float(), covered) * marked).sum() / marked.sum().clamp_min(1)
        place, told, share = target_sides(numbers, size)
        said = sides[view[place[0]], :, place[1], place[2]]  # (p, 4)
        return {"object_bce": bce, "object_dice": dice, "object_box": ((1 - giou(said, told)) * share).sum()}

    def answer(self, request: AnswerInput) -> dict[int, dict[str, Any]]:
        """ "mask": (H, W) bool of the size of the picture; "masks" of its things, the surest first, and "boxes_px"
        (m, 4) ``x1 y1 x2 y2`` in its pixels."""
        sample, logits, sides, view = self.decode(request.inputs)
        answers: dict[int, dict[str, Any]] = {}
        for place, seen, own in zip(sample.tolist(), logits.float(), sides[view], strict=True):
            if "change" in request.maps[place]:
                answers[place] = {"mask": request.maps[place]["change"] > 0}
                continue
            height, width = request.size_px[place]
            h, w = seen.shape
            boxes, owner = things_of(seen.sigmoid().cpu().numpy(), own.cpu().numpy())
            near = owner[_nearest(height, h)[:, None], _nearest(width, w)]
            on = (resized(seen[None, None], (height, width))[0, 0] > 0).cpu().numpy() & (near >= 0)
            edge = np.array([width, height, width, height])
            answers[place] = {
                "mask": on,
                "masks": tuple(on & (near == number) for number in range(len(boxes))),
                "boxes_px": (boxes * edge / [w, h, w, h]).clip(0, edge).astype(np.float32),
            }
        return answers


def _nearest(length: int, cells: int) -> np.ndarray:
    """(length,) the cell that the middle of each pixel of a line lies in."""
    return ((np.arange(length) + 0.5) * cells / length).astype(int)


def target_sides(numbers: Tensor, size: tuple[int, int]) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor]:
    """Distances of pixels to the sides of the targets that they are on.

    Args:
        numbers: (g, H, W) uint8 number of the target of each pixel, 0 none.
        size: (h, w) of the pixels that are asked.

    Returns:
        Places (g, h, w) of the p pixels whose middle is on a target; (p, 4) distances to its left, upper, right and
        lower side in pixels of ``size``; (p,) the pixel's part of a mean over targets.
    """
    (height, width), (h, w) = numbers.shape[1:], size
    small = F.interpolate(numbers[:, None].float(), size=size, mode="nearest-exact")[:, 0].to(numbers.dtype)
    reply, row, column = (small > 0).nonzero(as_tuple=True)
    number = small[reply, row, column].long()
    owner, target, count = torch.stack([reply, number], 1).unique(dim=0, return_inverse=True, return_counts=True)
    boxes = numbers.new_zeros(len(owner), 4, dtype=torch.float32)
    for i, (g, k) in enumerate(owner.tolist()):
        on = numbers[g] == k
        ys, xs = on.any(1).nonzero()[:, 0], on.any(0).nonzero()[:, 0]
        boxes[i] = torch.stack([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1])
    boxes *= torch.tensor([w / width, h / height] * 2, device=boxes.device)
    x, y = column + 0.5, row + 0.5
    x1, y1, x2, y2 = boxes[target].unbind(1)
    told = torch.stack([x - x1, y - y1, x2 - x, y2 - y], dim=1)
    return (reply, row, column), told, 1 / (count[target] * max(1, len(owner)))


def giou(first: Tensor, second: Tensor) -> Tensor:
    """(p, 4) and (p, 4) distances of one point to the sides of two boxes around it -> (p,) in [-1, 1]."""

    def area(d: Tensor) -> Tensor:
        return (d[:, 0] + d[:, 2]) * (d[:, 1] + d[:, 3])

    both, hull = area(torch.minimum(first, second)), area(torch.maximum(first, second))
    union = area(first) + area(second) - both
    return both / union - (hull - union) / hull
