"""Visual memory: what temporal perception returns and the Q-Former attends to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class VisualMemory:
    """One sequence of visual tokens per view or request, whatever the number of dates."""

    tokens: Tensor
    """(B, N', D)."""
    mask: Tensor
    """(B, N') bool, True where a token is valid."""

    @classmethod
    def of(cls, tokens: Tensor) -> VisualMemory:
        """Tokens (B, N', D) that are all valid."""
        return cls(tokens=tokens, mask=torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device))

    def __getitem__(self, rows: Tensor) -> VisualMemory:
        """Of these rows (R,) long."""
        return VisualMemory(tokens=self.tokens[rows], mask=self.mask[rows])

    def spread(self, rows: Tensor, count: int) -> VisualMemory:
        """As these rows (R,) long of ``count``; the others have no valid token."""
        tokens = self.tokens.new_zeros(count, *self.tokens.shape[1:]).index_copy(0, rows, self.tokens)
        return VisualMemory(
            tokens=tokens, mask=self.mask.new_zeros(count, self.mask.shape[1]).index_copy(0, rows, self.mask)
        )

    def joined(self, other: VisualMemory) -> VisualMemory:
        """With the tokens of ``other`` (B, n, D) behind."""
        tokens = torch.cat([self.tokens, other.tokens.to(self.tokens.dtype)], dim=1)
        return VisualMemory(tokens=tokens, mask=torch.cat([self.mask, other.mask], dim=1))

    def packed(self) -> VisualMemory:
        """Valid tokens first, in their order, and no longer than the longest row needs."""
        longest = int(self.mask.sum(1).max()) if len(self.mask) else 0
        order = (~self.mask).long().argsort(dim=1, stable=True)[:, :longest]
        tokens = self.tokens.gather(1, order[..., None].expand(-1, -1, self.tokens.shape[2]))
        return VisualMemory(tokens=tokens, mask=self.mask.gather(1, order))

    def mean(self) -> Tensor:
        """(B, D) mean of the valid tokens."""
        weight = self.mask.unsqueeze(-1).to(self.tokens.dtype)
        return (self.tokens * weight).sum(1) / weight.sum(1)
