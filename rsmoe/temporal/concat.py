"""Both dates, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.temporal import TemporalInput, VisualMemory
from rsmoe.temporal.date_pairs import perceive_pairs


class Concat(nn.Module):
    """Memory [F_A + e_A ; F_B + e_B]: the baseline that leaves all comparison to the Q-Former. 2 D parameters.

    It holds no difference: of two equal dates its halves differ by e_B - e_A, whatever they show.

    Args:
        width: D.
        mark_dates: learn e_A and e_B. Without them, memory is a set in which before and after cannot be told apart;
            that is what the released code of DeltaVLM (arXiv 2507.22346) trains on.
    """

    def __init__(self, *, width: Positive, mark_dates: bool = True) -> None:
        super().__init__()
        self.marks = nn.Parameter(0.02 * torch.randn(2, width)) if mark_dates else None

    def forward(self, dates: TemporalInput) -> VisualMemory:
        """Tokens (B, T, N, D) -> memory (B, 2 N, D) if T = 2, else (B, N, D).

        Raises:
            UserError: more than two dates.
        """
        return perceive_pairs(dates, self._join)

    def _join(self, before: Tensor, after: Tensor) -> Tensor:
        if self.marks is not None:
            before, after = before + self.marks[0], after + self.marks[1]
        return torch.cat([before, after], dim=1)
