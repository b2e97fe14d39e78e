"""The Transformer layer and the fusion that RSICCformer and MModalCC are made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.errors import UserError


class DifferenceAttention(nn.Module):
    """One layer, the same for whatever attends: to a difference, or to another kind of token (RSICCformer, MModalCC).

    ::

        y = LN_1(x + dropout(MHA(Q = x, K = V = s)))
        o = LN_2(y + dropout(W_2 dropout(relu(W_1 y + b_1)) + b_2))        W_1: D -> 4 D

    MHA has no biases, unlike the released code's: s = 0 then adds exactly nothing, after training too. A bias on K
    would change nothing, one on V or on the output adds the same vector to every token. 12 D^2 + 9 D parameters.

    Args:
        width: D.
        heads: of the attention; they divide D.
        dropout: rate.

    Raises:
        UserError: the heads do not divide D.
    """

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise UserError(
                f"temporal.heads={heads} does not divide the width of the visual tokens, {width}. Type a divisor of it"
            )
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, bias=False, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """x (R, N, D), s (R, S, D) -> o (R, N, D)."""
        y = self.norm1(tokens + self.dropout(self.attention(tokens, seen, seen, need_weights=False)[0]))
        inner: Tensor = self.linear2(self.dropout(F.relu(self.linear1(y))))
        out: Tensor = self.norm2(y + self.dropout(inner))
        return out


class BitemporalFusion(nn.Module):
    """Joins the two dates of each layer, and the layers one after another (RSICCformer's multistage fusion).

    ::

        z_l = LN_l(relu(u + V_3 relu(n_2(V_2 relu(n_1(V_1 u))))))     u = [A_l ; B_l] + z_(l-1), in channels, z_0 = 0
        V_1: 2 D -> D, V_2: D -> D, V_3: 2 D

    The released code has a 3 x 3 convolution at V_2 and batch normalisation at n and behind V_3. Here tokens need not
    be a grid (a class token, several stages), training and generation must agree, and a batch may hold no pair: V_2 is
    a linear map and n is LN. Each place gives two tokens, the halves of z, so that a Q-Former of width D reads them.

    Args:
        width: D.
        levels: layers, at least 1.
    """

    def __init__(self, *, width: int, levels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(2 * width, width),
                nn.LayerNorm(width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.LayerNorm(width),
                nn.ReLU(),
                nn.Linear(width, 2 * width),
            )
            for _ in range(levels)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(2 * width) for _ in range(levels))

    def forward(self, levels: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """A_l, B_l (R, N, D) of every layer, first to last -> (R, 2 N, D): first halves, then second halves."""
        fused: Tensor | None = None
        for (before, after), block, norm in zip(levels, self.blocks, self.norms, strict=True):
            u = torch.cat([before, after], dim=-1)  # (R, N, 2D)
            u = u if fused is None else u + fused
            fused = norm(F.relu(u + block(u)))
        assert fused is not None
        return torch.cat(fused.chunk(2, dim=-1), dim=1)
