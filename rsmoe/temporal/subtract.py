"""Only what differs."""

from __future__ import annotations

from torch import nn

from rsmoe.temporal import TemporalInput, VisualMemory
from rsmoe.temporal.date_pairs import perceive_pairs


class Subtract(nn.Module):
    """Memory F_B - F_A: the smallest baseline. Two equal dates give exactly zero.

    Place in the image is lost where it is added to the tokens of both dates alike.

    Args:
        width: D, unused; every temporal module takes it.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, dates: TemporalInput) -> VisualMemory:
        """Tokens (B, T, N, D) -> memory (B, N, D), all valid.

        Raises:
            UserError: more than two dates.
        """
        return perceive_pairs(dates, lambda before, after: after - before)
