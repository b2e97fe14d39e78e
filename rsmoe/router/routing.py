"""The router's decision and the rows that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Rows:
    """R (sample, expert) pairs, sorted by expert so that each expert's rows lie together."""

    sample: Tensor
    """(R,) long."""
    expert: Tensor
    """(R,) long, ascending."""
    weight: Tensor
    """(R,) float, the router's weight of this row; sums to 1 over the rows of a sample."""


@dataclass(frozen=True, kw_only=True)
class Routing:
    """E experts for B samples."""

    logits: Tensor
    """(B, E) fp32 gate logits."""
    weights: Tensor
    """(B, E) fp32: 0 where an expert is not chosen, summing to 1 over the chosen."""
    chosen: Tensor
    """(B, E) bool: at least one per sample."""

    @classmethod
    def single(cls, samples: int, *, experts: int, device: torch.device) -> Routing:
        """All weight of every sample on expert 0."""
        logits = torch.full((samples, experts), -1e4, device=device)
        logits[:, 0] = 0.0
        return cls(logits=logits, weights=logits.softmax(-1), chosen=logits == 0.0)

    def rows(self) -> Rows:
        """The chosen pairs, expert-major (a stable order: experts ascending, then samples ascending)."""
        expert, sample = torch.nonzero(self.chosen.t(), as_tuple=True)
        return Rows(sample=sample, expert=expert, weight=self.weights[sample, expert])
