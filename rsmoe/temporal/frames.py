"""Series of any number of frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Depth, Positive, PositiveReal
from rsmoe.errors import UserError
from rsmoe.temporal import TemporalInput, VisualMemory


class Frames(nn.Module):
    """What a place looks like over T frames, and what changed when, in a memory that does not grow with T.

    Place by place, with e(t) the sines of time t since the first frame and d_t = F_t - F_(t-1)::

        s   = sum_t softmax_t(w . LN(F_t + e(t))) F_t                                  what is there
        v_t = W_v (d_t * (1 + W_m e(t) + W_s LN(s)))                                   a change, when and where
        c_j = sum_t softmax_t(q_j . (W_k d_t + W_e e(t)) / sqrt(D)) v_t, j = 1 .. J    what changed

    Memory is [s ; c_1 ; ... ; c_J]. Equal frames have c = 0 exactly, for v has no bias: time, and the place that F_t
    brings and d_t loses, are factors of a change and no terms. One frame passes unchanged. A learned query over the
    dates of a series is L-TAE's (Garnot & Landrieu, arXiv 2007.00586); queries over differences are ours. 5 D^2 +
    (3 + J) D parameters.

    Args:
        width: D, a multiple of 2.
        slots: J, changes of one place that can be told apart; memory has N (1 + J) tokens.
        period: longest wave of the sines, in the unit of the times; the shortest is 2 pi.

    Raises:
        UserError: options out of range.
    """

    rates: Tensor

    def __init__(self, *, width: Positive, slots: Depth = 2, period: PositiveReal = 10_000.0) -> None:
        super().__init__()
        if slots < 1 or period <= 2 * math.pi or width % 2:
            raise UserError(
                f"temporal.slots={slots}, temporal.period={period}, tokens of width {width}: expected slots >= 1, a "
                f"period > 2 pi and an even width"
            )
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1, bias=False)
        self.queries = nn.Parameter(torch.randn(slots, width))
        self.key = nn.Linear(width, width, bias=False)
        self.key_time = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.value_time = nn.Linear(width, width, bias=False)
        self.value_place = nn.Linear(width, width, bias=False)
        rates = (2 * math.pi / period) ** (torch.arange(width // 2) / max(1, width // 2 - 1))
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, dates: TemporalInput) -> VisualMemory:
        """Tokens (B, T, N, D) -> memory (B, N (1 + J), D) if T > 1, else (B, N, D)."""
        tokens, frames, times = dates.tokens, dates.frames, dates.times
        longest, count, width = tokens.shape[1:]
        order = torch.arange(longest, device=tokens.device)
        valid = order < frames[:, None]  # (B, T)
        tokens = tokens.masked_fill(~valid[..., None, None], 0)
        when = order.expand(len(tokens), -1) if times is None else times
        waves = self._waves((when - when[:, :1]).masked_fill(~valid, 0)).to(tokens.dtype)[:, :, None]  # (B, T, 1, D)

        score = self.score(self.norm(tokens + waves))  # (B, T, N, 1)
        state = (self._weights(score, valid).to(tokens.dtype) * tokens).sum(1)  # (B, N, D)

        difference, later = tokens[:, 1:] - tokens[:, :-1], waves[:, 1:]  # (B, T - 1, N, D)
        key = self.key(difference) + self.key_time(later)
        score = key @ self.queries.T.to(key.dtype) / math.sqrt(width)  # (B, T - 1, N, J)
        value = self.value(difference * (1 + self.value_time(later) + self.value_place(self.norm(state))[:, None]))
        weights = self._weights(score, valid[:, 1:]).to(value.dtype)
        changes = torch.einsum("btnj,btnd->bjnd", weights, value).flatten(1, 2).to(tokens.dtype)  # (B, J N, D)

        length = count if longest == 1 else count + changes.shape[1]
        mask = (frames > 1)[:, None] | (torch.arange(length, device=tokens.device) < count)
        return VisualMemory(tokens=torch.cat([state, changes], dim=1)[:, :length], mask=mask)

    def _weights(self, score: Tensor, valid: Tensor) -> Tensor:
        """Softmax over the valid frames of (B, T, N, k); zeros for a sample that has none."""
        outside = ~valid[..., None, None]
        return score.float().masked_fill(outside, -1e9).softmax(1).masked_fill(outside, 0)

    def _waves(self, times: Tensor) -> Tensor:
        """(B, T) -> (B, T, D)."""
        angle = times.float()[..., None] * self.rates
        return torch.cat([angle.sin(), angle.cos()], dim=-1)
