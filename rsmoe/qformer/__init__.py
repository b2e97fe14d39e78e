"""Q-Former contract: visual memory + instruction -> queries.

A module is an ``nn.Module`` in one file with one yaml in ``conf/qformer/``; its constructor takes ``memory_width``
and ``vocab_size`` (the model passes both). `bypass.VisualBypass` lets tokens past it, where ``conf/bypass/`` says so.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from rsmoe.temporal.memory import VisualMemory


class QFormer(Protocol):
    """Query transformer, resampler or projector."""

    queries: int
    """M."""
    width: int
    """D of the queries."""

    def __call__(self, memory: VisualMemory, instruction_ids: Tensor, instruction_mask: Tensor) -> Tensor:
        """Memory (B, N', D'), instruction (B, L) and its bool mask -> queries (B, M, D)."""
