"""The cross-temporal semantic relation module of DeltaVLM."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Fraction, Positive
from rsmoe.temporal import TemporalInput, VisualMemory
from rsmoe.temporal.date_pairs import perceive_pairs


class CSRM(nn.Module):
    """Gates what each of two dates A, B says about their difference (DeltaVLM, arXiv 2507.22346), token by token.

    With d = F_B - F_A, and for t in {A, B}::

        C_t  = dropout(tanh(W_c1 d + W_c2 F_t + b_c))       context1, context2
        G_t  = dropout(sigmoid(W_g1 d + W_g2 F_t + b_g))    gate1, gate2
        F'_t = G_t * C_t
        O_t  = W_3 [F_t ; d ; F'_t] + b_3                   context3

    ``released``: the equations above, weights shared by both dates; memory is [O_A ; O_B]. The released code applies
    them in generation only and trains without; here one path serves both. ``paper``: weights of their own for each
    date, no W_3; memory is [F'_A ; F'_B].

    Args:
        width: D.
        variant: "released" (github.com/hanlinwu/DeltaVLM, 7 D^2 + 3 D parameters) or "paper" (8 D^2 + 4 D).
        dropout: on C_t and G_t.
    """

    def __init__(
        self, *, width: Positive, variant: Literal["released", "paper"] = "released", dropout: Fraction = 0.5
    ) -> None:
        super().__init__()
        shared = variant == "released"
        self.dates = nn.ModuleList(_Relation(width, dropout) for _ in range(1 if shared else 2))
        self.context3 = nn.Linear(3 * width, width) if shared else None

    def forward(self, dates: TemporalInput) -> VisualMemory:
        """Tokens (B, T, N, D) -> memory (B, 2 N, D) if T = 2, else (B, N, D).

        Raises:
            UserError: more than two dates.
        """
        return perceive_pairs(dates, self._relate)

    def _relate(self, before: Tensor, after: Tensor) -> Tensor:
        difference = after - before  # (R, N, D)
        told = []
        for date, relation in ((before, self.dates[0]), (after, self.dates[-1])):
            gated = relation(date, difference)
            if self.context3 is not None:
                gated = self.context3(torch.cat([date, difference, gated], dim=-1))
            told.append(gated)
        return torch.cat(told, dim=1)  # (R, 2N, D)


class _Relation(nn.Module):
    """F'_t of one date."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.context1 = nn.Linear(width, width, bias=False)
        self.context2 = nn.Linear(width, width)
        self.gate1 = nn.Linear(width, width, bias=False)
        self.gate2 = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, date: Tensor, difference: Tensor) -> Tensor:
        context = self.dropout(torch.tanh(self.context1(difference) + self.context2(date)))
        gate = self.dropout(torch.sigmoid(self.gate1(difference) + self.gate2(date)))
        out: Tensor = gate * context
        return out
