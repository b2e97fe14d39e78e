"""Region token: what the visual pyramid shows under the region that a request is about."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.temporal.memory import VisualMemory


class RegionToken(nn.Module):
    """Mask pooling of every pyramid level, projected to one token of the language model.

    With m_l(c) the share of cell c of level l that the region covers, and x_l(c) the features there::

        t = W LN(V [p_1 ; ... ; p_L]),   p_l = sum_c m_l(c) x_l(c) / sum_c m_l(c)

    so that a region smaller than a cell still has its features. Osprey (arXiv 2312.10032) pools masks so; GPT4RoI
    (arXiv 2307.03601) does it for boxes, by RoIAlign.

    Args:
        memory_width: D of the visual memory, the width in between.
        width: of the language model.
        pyramid_widths: channels of the levels.
    """

    def __init__(self, *, memory_width: int, width: int, pyramid_widths: Sequence[int]) -> None:
        super().__init__()
        self.join = nn.Sequential(nn.Linear(sum(pyramid_widths), memory_width), nn.LayerNorm(memory_width))
        self.project = nn.Linear(memory_width, width)

    def forward(self, pyramid: Sequence[Tensor], view: Tensor, regions: Tensor) -> VisualMemory:
        """Token (B, 1, D_lm) of each of B requests, valid where there is a region.

        Args:
            pyramid: levels (V, D_l, h_l, w_l) of the last date, finest first.
            view: (B,) long, the view of each request.
            regions: (B, H, W) bool, empty where a request is about all of the picture.
        """
        pointed = regions.flatten(1).any(1)
        rows = pointed.nonzero().squeeze(1)
        masks = regions[rows, None].float()  # (r, 1, H, W)
        pooled = []
        for level in pyramid:
            share = F.adaptive_avg_pool2d(masks, (level.shape[2], level.shape[3])).to(level.dtype)  # (r, 1, h, w)
            pooled.append((share * level[view[rows]]).sum((2, 3)) / share.sum((2, 3)))
        token = self.project(self.join(torch.cat(pooled, dim=1)))[:, None]
        return VisualMemory.of(token).spread(rows, len(regions))
