"""What temporal perception returns and the Q-Former attends to."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class VisualMemory:
    """One sequence of visual tokens per sample, whatever the number of dates."""

    tokens: Tensor
    """(B, N', D)."""
    mask: Tensor
    """(B, N') bool, True where a token is valid."""

    def mean(self) -> Tensor:
        """(B, D) mean of the valid tokens."""
        weight = self.mask.unsqueeze(-1).to(self.tokens.dtype)
        return (self.tokens * weight).sum(1) / weight.sum(1)
