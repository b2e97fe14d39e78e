"""A resampler without instruction, to compare with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Depth, Fraction, Positive
from rsmoe.errors import UserError
from rsmoe.temporal.memory import VisualMemory


class Resampler(nn.Module):
    """M learned queries that read the memory, whatever the instruction (Flamingo, arXiv 2204.14198, section 2.1).

    Each layer, pre-norm: queries attend to [memory ; queries], then a feed-forward network.

    Args:
        memory_width: D of the visual memory.
        vocab_size: unused; every Q-Former takes it.
        width: D of the queries.
        layers: blocks.
        heads: attention heads.
        queries: M.
        intermediate: width of the feed-forward networks.
        dropout: on the output of each block.

    Raises:
        UserError: ``width`` is no multiple of ``heads``.
    """

    def __init__(
        self,
        *,
        memory_width: Positive,
        vocab_size: Positive,
        width: Positive = 256,
        layers: Depth = 2,
        heads: Depth = 4,
        queries: Positive = 16,
        intermediate: Positive = 1024,
        dropout: Fraction = 0.1,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"qformer.width={width} is not a multiple of qformer.heads={heads}")
        self.width, self.queries = width, queries
        self.query_tokens = nn.Parameter(0.02 * torch.randn(1, queries, width))
        self.project = nn.Sequential(nn.Linear(memory_width, width), nn.LayerNorm(width))
        self.layers = nn.ModuleList(_Layer(width, heads, intermediate, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, memory: VisualMemory, instruction_ids: Tensor, instruction_mask: Tensor) -> Tensor:
        """Memory (B, N', D') -> queries (B, M, D); the instruction is not read."""
        seen = self.project(memory.tokens)  # (B, N', D)
        state = self.query_tokens.expand(len(seen), -1, -1)
        mask = torch.cat([memory.mask, memory.mask.new_ones(len(seen), self.queries)], dim=1)[:, None, None]
        for layer in self.layers:
            state = layer(state, seen, mask)
        out: Tensor = self.norm(state)
        return out


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, intermediate: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.ffn = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, intermediate), nn.GELU(), nn.Linear(intermediate, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, state: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
        own = self.norm(state)
        key, value = self.key_value(torch.cat([seen, own], dim=1)).chunk(2, dim=-1)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (self.query(own), key, value))
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        state = state + self.dropout(self.out(read))
        out: Tensor = state + self.dropout(self.ffn(state))
        return out
