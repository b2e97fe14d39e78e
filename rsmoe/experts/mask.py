"""The mask expert: the state that emits [SEG] asks the feature pyramid for one mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Positive
from rsmoe.data.batch import Batch
from rsmoe.experts.expert import HeadInput
from rsmoe.experts.seg import SegExpert, pixel_bce, soft_dice
from rsmoe.experts.seg_matching import matched
from rsmoe.maps.decoder import resized, top_down


class MaskExpert(SegExpert):
    """Language-conditioned feature pyramid decoder; one query vector per [SEG] gives the logits by inner product.

    1. [SEG] state (n, D) -> query (n, C)
    2. coarse to fine: lateral 1x1 convolution with two coordinate channels ("the left one"), plus the upsampled level
       below, 3x3 convolution, scaled and shifted by the query (FiLM, arXiv 1709.07871)
    3. logits = <query, finest map>

    A pair that a map of change describes has no mask of its own: its [SEG] stands for that map.

    The [SEG] state as query is LISA's (arXiv 2308.00692); the pyramid is FPN's (arXiv 1612.03144).

    Args:
        width: C, channels of the decoder; a multiple of 8.
        name, tasks, template, hidden_width, pyramid_widths: as in `Expert`.
    """

    terms: Mapping[str, float] = {"mask_bce": 2.0, "mask_dice": 0.5}

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
        self.query = nn.Sequential(
            nn.LayerNorm(hidden_width), nn.Linear(hidden_width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(channels + 2, width, 1) for channels in pyramid_widths)
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width)) for _ in pyramid_widths
        )
        self.condition = nn.ModuleList(nn.Linear(width, 2 * width) for _ in pyramid_widths)
        self.bias = nn.Parameter(torch.zeros(()))

    def head(self, inputs: HeadInput) -> Tensor:
        """n states -> (n, h, w) logits at the size of the finest level; resize them bilinearly, threshold 0."""
        query = self.query(inputs.hidden)  # (n, C)
        laterals = [
            lateral(torch.cat([level, _coordinates(level)], dim=1))[inputs.view]
            for lateral, level in zip(self.lateral, inputs.pyramid, strict=True)
        ]
        x = top_down(laterals, [partial(self._conditioned, level, query) for level in range(len(laterals))])
        out: Tensor = torch.einsum("nc,nchw->nhw", query, x) / query.shape[1] ** 0.5 + self.bias
        return out

    def _conditioned(self, level: int, query: Tensor, x: Tensor) -> Tensor:
        gain, shift = self.condition[level](query)[..., None, None].chunk(2, dim=1)  # (n, C, 1, 1)
        return F.gelu(self.smooth[level](x) * (1 + gain) + shift)

    def losses(self, inputs: HeadInput, batch: Batch) -> dict[str, Tensor]:
        """Pixel cross-entropy and soft dice, averaged over the [SEG] of samples that have a mask (zero if none has).

        The weights, 2.0 and 0.5 beside the text loss of 1.0, are those of GeoPix and GeoPixel.
        """
        if bool(inputs.compared.all()):
            return {}
        inputs = inputs[~inputs.compared]
        logits = self.head(inputs)
        sample, count = inputs.sample.unique_consecutive(return_counts=True)
        target = matched(logits.detach(), batch.masks[sample], count.tolist(), terms=self.terms)  # (n, H, W)
        has = batch.has_mask[inputs.sample].float()
        share = has / has.sum().clamp_min(1)
        full = resized(logits[:, None], (target.shape[1], target.shape[2]))[:, 0]
        return {
            "mask_bce": (pixel_bce(full, target) * share).sum(),
            "mask_dice": (soft_dice(full, target) * share).sum(),
        }


def _coordinates(like: Tensor) -> Tensor:
    """(n, 2, h, w): y and x of the cell centres, from -1 to 1."""
    n, _, h, w = like.shape
    axes = [(torch.arange(size, device=like.device, dtype=like.dtype) * 2 + 1) / size - 1 for size in (h, w)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(n, 2, h, w)
