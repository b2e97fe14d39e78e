"""Visual tokens of a picture -> its embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Fraction, NonNegative, Positive
from rsmoe.errors import UserError


class PooledHead(nn.Module):
    """Mean and attention pooling of the tokens, then two linear maps.

    The channels are cut into ``heads`` groups; each has a map of attention over the tokens of its own, a softmax of one
    linear map, so that pooling costs next to nothing beside the encoder.

    Args:
        width: D of the tokens.
        dim: of the embedding.
        heads: maps of attention; 0 takes the mean alone.
        hidden: channels between the two linear maps.
        dropout: of the pooled channels, and of the hidden ones.

    Raises:
        UserError: heads that do not divide the width.
    """

    def __init__(
        self, *, width: Positive, dim: Positive, heads: NonNegative = 8, hidden: Positive = 512, dropout: Fraction = 0.0
    ) -> None:
        super().__init__()
        if heads and width % heads:
            raise UserError(f"image_head.heads={heads}: expected 0, or a divisor of the encoder's {width} channels")
        self.heads, self.dim = heads, dim
        self.attention = nn.Linear(width, heads) if heads else None
        pooled = 2 * width if heads else width
        self.project = nn.Sequential(
            nn.LayerNorm(pooled),
            nn.Dropout(dropout),
            nn.Linear(pooled, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, P, D) -> (n, dim)."""
        pooled = tokens.mean(1)
        if self.attention is not None:
            weights = self.attention(tokens).softmax(1)  # (n, P, heads)
            groups = tokens.unflatten(-1, (self.heads, -1))  # (n, P, heads, D / heads)
            seen = torch.einsum("nph,nphd->nhd", weights, groups).flatten(1)
            pooled = torch.cat([pooled, seen], dim=-1)
        out: Tensor = self.project(pooled)
        return out
