"""No temporal perception."""

from __future__ import annotations

from torch import nn

from rsmoe.errors import UserError
from rsmoe.temporal import TemporalInput, VisualMemory


class Passthrough(nn.Module):
    """One date per sample: its tokens are the memory.

    Args:
        width: D, unused; every temporal module takes it.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, dates: TemporalInput) -> VisualMemory:
        """Tokens (B, 1, N, D) -> memory (B, N, D), all valid.

        Raises:
            UserError: there are samples with two dates.
        """
        if dates.tokens.shape[1] != 1:
            raise UserError(
                f"temporal=passthrough reads one date, and samples have up to {dates.tokens.shape[1]}. "
                f"Use temporal=csrm, temporal=concat or temporal=subtract"
            )
        return VisualMemory.of(dates.tokens[:, 0])
