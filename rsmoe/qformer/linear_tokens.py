"""Tokens of a picture by one linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.temporal.memory import VisualMemory


class LinearTokens(nn.Module):
    """One linear layer makes M tokens of a picture's first token, the class token of a tower with ``keep_prefix``.

    FROMAGe (arXiv 2301.13823, section 3.1) and RS-CapRet (arXiv 2402.06475) read a picture so. The norm before it
    stands for the last one of CLIP, which towers here leave out. The language model's projection is a linear layer,
    too; with a width of the tower or more the two are no less than one.

    Args:
        memory_width: D of the visual memory.
        vocab_size: unused; every Q-Former takes it.
        width: D of the queries.
        queries: M.
    """

    def __init__(
        self, *, memory_width: Positive, vocab_size: Positive, width: Positive = 1024, queries: Positive = 10
    ) -> None:
        super().__init__()
        self.width, self.queries = width, queries
        self.norm = nn.LayerNorm(memory_width)
        self.project = nn.Linear(memory_width, queries * width)

    def forward(self, memory: VisualMemory, instruction_ids: Tensor, instruction_mask: Tensor) -> Tensor:
        """Memory (B, N', D') -> queries (B, M, D); the instruction is not read."""
        rows = torch.arange(len(memory.tokens), device=memory.tokens.device)
        first = memory.tokens[rows, memory.mask.int().argmax(1)]
        found: Tensor = self.project(self.norm(first)).unflatten(1, (self.queries, self.width))
        return found
