"""What lies where, in nine tokens that no query has to find."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.vision.positions import sine_positions

CELLS = 3
"""Side of the grid: the places of captions ("in the top left corner") and of change instructions."""


class Glance(nn.Module):
    """Means of every pyramid level over a 3 x 3 grid: token_c = LN(W [mean_1(c) ; ... ; mean_L(c)]) + sines of c.

    The tokens go past the Q-Former, which lags behind its encoder where both start from random weights. Ours.

    Args:
        pyramid_widths: channels of the levels.
        width: D of the tokens.
    """

    def __init__(self, *, pyramid_widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.tell = nn.Sequential(nn.Linear(sum(pyramid_widths), width), nn.LayerNorm(width))
        self.register_buffer("places", sine_positions(CELLS, CELLS, width), persistent=False)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Levels (N, D_l, h_l, w_l) -> (N, 9, D), row by row."""
        cells = torch.cat([F.adaptive_avg_pool2d(level, CELLS) for level in pyramid], dim=1)  # (N, sum D_l, 3, 3)
        told: Tensor = self.tell(cells.flatten(2).transpose(1, 2)) + self.places
        return told
