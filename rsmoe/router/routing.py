"""The router's decision, and the rows of the language model that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

RULED_OUT = -1e4
"""Logit of an expert that may not be chosen: its probability is 0 in fp32."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """R (sample, expert) pairs, sorted by expert so that each expert's rows lie together."""

    sample: Tensor
    """(R,) long."""
    expert: Tensor
    """(R,) long, ascending."""
    weight: Tensor
    """(R,) float, the router's weight of this row; sums to 1 over the rows of a sample."""
    share: Tensor | None = None
    """(R, E) float: each row goes through the sum of all adapters with these weights, and ``expert`` is the one that
    weighs most. None: each row goes through the adapter of ``expert`` alone."""

    @property
    def adapters(self) -> Tensor:
        """What the bank is called with: ``share`` where adapters are summed, else ``expert``."""
        return self.expert if self.share is None else self.share

    def __getitem__(self, index: Tensor) -> Rows:
        """Those of the R rows for which ``index`` (R,) bool is True."""
        share = None if self.share is None else self.share[index]
        return Rows(sample=self.sample[index], expert=self.expert[index], weight=self.weight[index], share=share)


@dataclass(frozen=True, kw_only=True)
class Routing:
    """E experts for B samples."""

    logits: Tensor
    """(B, E) fp32: their softmax is the gate's distribution over the experts."""
    weights: Tensor
    """(B, E) fp32: 0 where an expert is not chosen, summing to 1 over the chosen."""
    chosen: Tensor
    """(B, E) bool: at least one per sample."""
    load: Tensor | None = None
    """(B, E) fp32, differentiable: probability that an expert is chosen, where the choice is random."""

    @classmethod
    def of(cls, logits: Tensor, chosen: Tensor, *, load: Tensor | None = None) -> Routing:
        """The weights of the chosen experts are their softmax."""
        return cls(logits=logits, weights=logits.masked_fill(~chosen, -torch.inf).softmax(-1), chosen=chosen, load=load)

    @classmethod
    def single(cls, samples: int, *, experts: int, device: torch.device) -> Routing:
        """All weight of every sample on expert 0."""
        logits = torch.full((samples, experts), RULED_OUT, device=device)
        logits[:, 0] = 0.0
        return cls.of(logits, logits == 0.0)

    @classmethod
    def joined(cls, parts: Sequence[Routing]) -> Routing:
        """Concatenated over samples, B1 + B2 + ..."""
        own = {name: torch.cat([getattr(p, name) for p in parts]) for name in ("logits", "weights", "chosen")}
        return cls(**own)

    def adding(self, also: Tensor) -> Routing:
        """With the experts of ``also`` (B, E) bool chosen as well."""
        return replace(Routing.of(self.logits, self.chosen | also), load=self.load)

    def only(self, experts: Tensor) -> Routing:
        """Restricted to ``experts`` (E,) bool, at least one; weights are scaled to sum to 1 again.

        A request of which no chosen expert is left goes to the most probable of them.
        """
        logits = self.logits.masked_fill(~experts, -torch.inf)
        kept = self.weights * experts
        gone = kept.sum(-1, keepdim=True) <= 0  # (B, 1)
        first = nn.functional.one_hot(logits.argmax(-1), len(experts)).to(kept.dtype)
        kept = torch.where(gone, first, kept)
        logits = logits.masked_fill(~experts, RULED_OUT)
        return Routing(logits=logits, weights=kept / kept.sum(-1, keepdim=True), chosen=kept > 0)

    def repeated(self, place: int, times: int) -> Routing:
        """Of one of the samples, for so many."""
        own = {name: getattr(self, name)[place].expand(times, -1) for name in ("logits", "weights", "chosen")}
        return Routing(**own)

    def usable(self) -> Tensor:
        """(E,) bool: experts that are not ruled out."""
        return (self.logits > RULED_OUT / 2).any(0)

    def rows(self) -> Rows:
        """The chosen pairs, expert-major (a stable order: experts ascending, then samples ascending)."""
        expert, sample = torch.nonzero(self.chosen.t(), as_tuple=True)
        return Rows(sample=sample, expert=expert, weight=self.weights[sample, expert])
