"""The expert for every thing of a kind: one [SEG] marks their pixels, whose connected components are the things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Positive
from rsmoe.data.batch import Batch
from rsmoe.errors import UserError
from rsmoe.experts.expert import AnswerInput, HeadInput
from rsmoe.experts.instances import SMALLEST, located
from rsmoe.experts.seg import SegExpert, pixel_bce, soft_dice
from rsmoe.maps.decoder import PyramidDecoder, resized

_RARE = -3.0
"""Logit of a kind at first."""


class ObjectsExpert(SegExpert):
    """Dense grounding: the [SEG] state is the classifier of every pixel.

    1. pixels, once a view with a [SEG]: the FPN of all levels -> features F (C, h, w), whatever is asked
    2. [SEG] state -> query q (C,); of several in a reply the mean; <q, F> + b are the logits of the kind that is asked
    3. an answer: pixels above 0 are the mask, its connected components the things
       (`rsmoe.experts.instances.things_of`), and boxes are their hulls

    The state that emits [SEG] is that of the word before it: let answers say "every airplane [SEG]". Ours; one vector
    against a map of pixels is LSeg's (arXiv 2201.03546).

    A pair that a map of change describes has no mask of its own: its [SEG] stands for that map.

    Args:
        width: C, channels of the decoder; a multiple of 8.
        name, tasks, template, hidden_width, pyramid_widths: as in `Expert`.

    Raises:
        UserError: a width that is no multiple of 8.
    """

    terms: Mapping[str, float] = {"object_bce": 10.0, "object_dice": 1.0}
    smallest_px = SMALLEST

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

    def decode(self, inputs: HeadInput) -> tuple[Tensor, Tensor]:
        """n >= 1 states of g replies -> (g,) long, the sample of each, and (g, h, w) logits of what it asks for."""
        sample, reply, count = inputs.sample.unique_consecutive(return_inverse=True, return_counts=True)
        state = inputs.hidden.new_zeros(len(sample), inputs.hidden.shape[1]).index_add(0, reply, inputs.hidden)
        query = self.query(state / count[:, None])
        asked, view = inputs.view[count.cumsum(0) - count].unique(return_inverse=True)
        x = self.pixels([level[asked] for level in inputs.pyramid])  # (v, C, h, w)
        logits = torch.bmm(query[:, None], x.flatten(2)[view])[:, 0] / query.shape[1] ** 0.5 + self.bias
        return sample, logits.view(len(sample), *x.shape[-2:])

    def head(self, inputs: HeadInput) -> Tensor:
        """n states -> (n, h, w) logits at the size of the finest level, the same for those of one reply."""
        reply = inputs.sample.unique_consecutive(return_inverse=True)[1]
        return self.decode(inputs)[1][reply]

    def losses(self, inputs: HeadInput, batch: Batch) -> dict[str, Tensor]:
        """Of the replies that have a mask (zero if none has), at the size of the finest level.

        - "object_bce": pixel cross-entropy of the kind, mean over the replies;
        - "object_dice": soft dice, mean over the replies with something to mark.
        """
        if bool(inputs.compared.all()):
            return {}
        sample, logits = self.decode(inputs[~inputs.compared])
        true = (batch.masks[sample] > 0) & batch.has_mask[sample, None, None]  # (g, H, W)
        covered = F.adaptive_avg_pool2d(true.float(), (logits.shape[1], logits.shape[2]))
        has, marked = batch.has_mask[sample].float(), true.flatten(1).any(1).float()
        bce = (pixel_bce(logits.float(), covered) * has).sum() / has.sum().clamp_min(1)
        dice = (soft_dice(logits.float(), covered) * marked).sum() / marked.sum().clamp_min(1)
        return {"object_bce": bce, "object_dice": dice}

    def answer(self, request: AnswerInput) -> dict[int, dict[str, Any]]:
        """ "mask", "masks" and "boxes_px" in pixels of the picture, see `rsmoe.experts.instances.located`; and
        "mask_logits", (h, w) as the head gives them."""
        answers: dict[int, dict[str, Any]] = {}
        for place, kind in zip(*self.decode(request.inputs), strict=True):
            sample = int(place)
            if "change" in request.maps[sample]:
                answers[sample] = {"mask": request.maps[sample]["change"] > 0}
                continue
            share = resized(kind[None, None], request.size_px[sample])[0, 0].sigmoid().cpu().numpy()
            answers[sample] = located(share) | {"mask_logits": kind.detach().float().cpu().numpy()}
        return answers
