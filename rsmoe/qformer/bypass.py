"""Visual bypass: tokens that go to the language model past the Q-Former."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.temporal.memory import VisualMemory
from rsmoe.vision.positions import GRID_SIDE, sine_positions


class VisualBypass(nn.Module):
    """Skip connection around the Q-Former: the mean of the visual memory, the tokens of the maps, and a 3 x 3 grid.

    A Q-Former that starts from random weights lags behind its encoder. A grid token is the mean of every pyramid level
    over its cell, LN(W [mean_1(c) ; ... ; mean_L(c)]) + sines of c. One linear map brings all to the width of the
    language model. Ours.

    Args:
        memory_width: D of the visual memory.
        width: of the language model.
        pyramid_widths: channels of the levels.
        grid: whether the grid is among the tokens.
    """

    def __init__(self, *, memory_width: int, width: int, pyramid_widths: Sequence[int], grid: bool = False) -> None:
        super().__init__()
        self.project = nn.Linear(memory_width, width)
        self.grid = (
            nn.Sequential(nn.Linear(sum(pyramid_widths), memory_width), nn.LayerNorm(memory_width)) if grid else None
        )
        self.register_buffer("places", sine_positions(GRID_SIDE, GRID_SIDE, memory_width), persistent=False)

    def forward(
        self, memory: VisualMemory, maps: VisualMemory, pyramid: Sequence[Tensor], compared: Tensor
    ) -> VisualMemory:
        """Tokens (V, n, D_lm) of V views.

        Args:
            memory: with the tokens of the maps in it.
            maps: the tokens of the maps alone, (V, m, D), m may be 0.
            pyramid: levels (V, D_l, h_l, w_l) of the last date, finest first.
            compared: (V,) bool, views whose maps compare their dates: these tokens stand in the place of the grid.
        """
        mean = VisualMemory.of(memory.mean()[:, None])
        if self.grid is not None:
            cells = torch.cat([F.adaptive_avg_pool2d(level, GRID_SIDE) for level in pyramid], dim=1)
            tokens = self.grid(cells.flatten(2).transpose(1, 2)) + self.places  # (V, 9, D)
            maps = VisualMemory(tokens=tokens, mask=~compared[:, None].expand(tokens.shape[:2])).joined(maps)
        past = mean.joined(maps.packed())
        return VisualMemory(tokens=self.project(past.tokens), mask=past.mask)
