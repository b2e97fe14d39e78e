"""Averages of the memory, to compare with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.temporal.memory import VisualMemory


class Pooled(nn.Module):
    """M averages of neighbouring tokens through an MLP: no query, no instruction (LLaVA's projector, arXiv 2310.03744).

    Query i averages the valid tokens floor(i n / M) to ceil((i + 1) n / M) of a sample that has n.

    Args:
        memory_width: D of the visual memory.
        vocab_size: unused; every Q-Former takes it.
        width: D of the queries.
        queries: M.
    """

    def __init__(
        self, *, memory_width: Positive, vocab_size: Positive, width: Positive = 256, queries: Positive = 16
    ) -> None:
        super().__init__()
        self.width, self.queries = width, queries
        self.project = nn.Sequential(
            nn.LayerNorm(memory_width), nn.Linear(memory_width, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, memory: VisualMemory, instruction_ids: Tensor, instruction_mask: Tensor) -> Tensor:
        """Memory (B, N', D') -> queries (B, M, D); the instruction is not read."""
        place = (memory.mask.cumsum(1) - 1)[:, None]  # (B, 1, N') rank among the valid tokens
        count = memory.mask.sum(1)[:, None, None]  # (B, 1, 1)
        index = torch.arange(self.queries, device=place.device)[None, :, None]  # (1, M, 1)
        first, end = index * count // self.queries, -(-(index + 1) * count // self.queries)
        share = (place >= first) & (place < end) & memory.mask[:, None]  # (B, M, N')
        weights = share.to(memory.tokens.dtype) / share.sum(-1, keepdim=True).clamp_min(1)
        pooled: Tensor = self.project(weights @ memory.tokens)
        return pooled
