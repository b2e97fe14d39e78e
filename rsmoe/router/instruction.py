"""The instruction router: reads the request and the queries, picks experts."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import NonNegativeReal, Positive, Share
from rsmoe.router.routing import Routing


class InstructionRouter(nn.Module):
    """A gate over E experts from the instruction's words and the instruction-guided queries.

    z = MLP([mean of word embeddings ; mean of queries]), p = softmax(W z) in fp32. The label of the task is not an
    argument, so it cannot leak into inference. The paper (RS-MoE, arXiv 2411.01595) publishes no router architecture;
    this one is ours.

    Args:
        width: D of the queries.
        vocab_size: of the instruction's tokens.
        experts: E.
        hidden: width of the gate's MLP.
        select: "topk" keeps the ``k`` most probable experts; "threshold" keeps, of these, those with
            p >= ``threshold``, and always the most probable one: a request costs as many rows as it needs.
        jitter: standard deviation of the noise on the logits in training.
    """

    def __init__(
        self,
        *,
        width: Positive,
        vocab_size: Positive,
        experts: Positive,
        hidden: Positive = 128,
        select: Literal["topk", "threshold"] = "threshold",
        k: Positive = 3,
        threshold: Share = 0.1,
        jitter: NonNegativeReal = 0.0,
    ) -> None:
        super().__init__()
        self.select, self.k, self.threshold, self.jitter = select, min(k, experts), threshold, jitter
        self.words = nn.Embedding(vocab_size, hidden)
        self.mix = nn.Sequential(nn.LayerNorm(hidden + width), nn.Linear(hidden + width, hidden), nn.GELU())
        self.gate = nn.Linear(hidden, experts)

    def forward(
        self,
        queries: Tensor,
        instruction_ids: Tensor,
        instruction_mask: Tensor,
        *,
        allowed: Tensor | None = None,
        also: Tensor | None = None,
    ) -> Routing:
        """(B, M, D), (B, L), (B, L) -> `Routing` over E experts, see `rsmoe.router.Router`."""
        mask = instruction_mask.unsqueeze(-1).to(queries.dtype)
        words = (self.words(instruction_ids) * mask).sum(1) / mask.sum(1).clamp_min(1.0)  # (B, hidden)
        state = self.mix(torch.cat([words, queries.mean(1)], dim=-1))
        with torch.autocast(state.device.type, enabled=False):
            logits = nn.functional.linear(state.float(), self.gate.weight.float(), self.gate.bias.float())  # (B, E)
            if self.training and self.jitter > 0:
                logits = logits + self.jitter * torch.randn_like(logits)
            if allowed is not None:
                logits = logits.masked_fill(~allowed, -1e4)
            return self.choose(logits, also=also)

    def choose(self, logits: Tensor, *, also: Tensor | None = None) -> Routing:
        """`Routing` of given (B, E) logits; ``also`` (B, E) bool adds experts to the choice."""
        probability = logits.softmax(-1)
        top = probability.topk(self.k, dim=-1)
        keep = top.values > 0  # an expert that is ruled out takes no row
        if self.select == "threshold":
            keep[:, 1:] &= top.values[:, 1:] >= self.threshold
        chosen = torch.zeros_like(probability, dtype=torch.bool).scatter(1, top.indices, keep)
        if also is not None:
            chosen = chosen | also
        weights = probability.masked_fill(~chosen, 0.0)
        return Routing(logits=logits, weights=weights / weights.sum(-1, keepdim=True), chosen=chosen)
