"""What temporal perception returns and the Q-Former attends to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def spread(tokens: Tensor, rows: Tensor, count: int) -> Tensor:
    """Tokens (R, ...) of these rows (R,) long of ``count`` -> (count, ...), zero in the other rows."""
    return tokens.new_zeros(count, *tokens.shape[1:]).index_copy(0, rows, tokens)


@dataclass(frozen=True, kw_only=True)
class VisualMemory:
    """One sequence of visual tokens per sample, whatever the number of dates."""

    tokens: Tensor
    """(B, N', D)."""
    mask: Tensor
    """(B, N') bool, True where a token is valid."""

    def extended(self, tokens: Tensor, rows: Tensor) -> VisualMemory:
        """With more tokens (R, n, D) at the end of these rows (R,) long; those of the other rows are masked."""
        more = spread(tokens.to(self.tokens.dtype), rows, len(self.tokens))
        valid = self.mask.new_zeros(more.shape[:2])
        valid[rows] = True
        return VisualMemory(tokens=torch.cat([self.tokens, more], dim=1), mask=torch.cat([self.mask, valid], dim=1))

    def mean(self) -> Tensor:
        """(B, D) mean of the valid tokens."""
        weight = self.mask.unsqueeze(-1).to(self.tokens.dtype)
        return (self.tokens * weight).sum(1) / weight.sum(1)
