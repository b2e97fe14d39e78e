"""Semantic maps as visual tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.errors import UserError
from rsmoe.vision.positions import sine_positions


class SemanticTokens(nn.Module):
    """The classes of the two dates of a pair, cell by cell.

    A cell's token is LN(W s + place), s the shares of its pixels that are no change or one of n classes, and zero for a
    pair of which no pixel is known. MModalCC reads the colours of the maps with a second ResNet-101, which its loader
    never normalises (four views fall through a check of shapes); shares of classes need neither.

    Args:
        width: D, a multiple of 4.
        classes: n of a date's map, 1 to 15.
        cells: side of the grid of tokens.

    Raises:
        UserError: options out of range.
    """

    def __init__(self, *, width: int, classes: int, cells: int) -> None:
        super().__init__()
        if not 1 <= classes <= 15 or cells < 1 or width % 4:
            raise UserError(
                f"temporal.classes={classes}, temporal.cells={cells}, tokens of width {width}: expected 1 to 15 "
                f"classes, 1 or more cells, and a width that is a multiple of 4"
            )
        self.classes, self.cells = classes, cells
        self.embed = nn.Linear(1 + classes, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.register_buffer("places", sine_positions(cells, cells, width), persistent=False)

    def forward(self, changes: Tensor) -> Tensor:
        """(R, H, W) uint8 transitions -> (R, 2, cells^2, D).

        Args:
            changes: what became what, as `rsmoe.data.rasters.transition_map.TransitionMap` writes it: 0 no change,
                1 + n (a - 1) + (b - 1), 255 unknown.

        Raises:
            UserError: a value beyond n n.
        """
        known = changes != UNKNOWN
        beyond = known & (changes > self.classes**2)
        if bool(beyond.any()):
            raise UserError(
                f"a class map holds the transition {int(changes[beyond].max())}, and temporal.classes={self.classes} "
                f"has {self.classes**2}. Set temporal.classes to the classes of one date of the data"
            )
        kind = changes.long() - 1
        dates = torch.stack([1 + kind // self.classes, 1 + kind % self.classes], dim=1)  # (R, 2, H, W)
        dates = dates.masked_fill(~(known & (kind >= 0))[:, None], 0)
        one_hot = F.one_hot(dates, 1 + self.classes).to(self.embed.weight.dtype) * known[:, None, ..., None]
        shares = F.adaptive_avg_pool2d(one_hot.flatten(0, 1).permute(0, 3, 1, 2), self.cells)  # (2R, 1 + n, c, c)
        tokens = self.norm(self.embed(shares.flatten(2).transpose(1, 2)) + self.places)
        seen = known.flatten(1).any(1)
        out: Tensor = tokens.unflatten(0, (len(changes), 2)) * seen[:, None, None, None]
        return out
