"""Which expert each row of the pass under way belongs to; it travels beside the model's code, not through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from rsmoe.router.routing import Routing


@dataclass(frozen=True, kw_only=True)
class TokenChoice:
    """k of E experts for each of n tokens of R rows."""

    logits: Tensor
    """(R, n, E) fp32."""
    index: Tensor
    """(R, n, k) long."""
    weight: Tensor
    """(R, n, k) fp32, 1 in sum."""

    def routing(self, mask: Tensor) -> Routing:
        """Of the tokens of ``mask`` (R, n) bool, each as a request of its own."""
        share = self.share[mask]
        return Routing(logits=self.logits[mask], weights=share, chosen=share > 0)

    @cached_property
    def share(self) -> Tensor:
        """(R, n, E) the weight of every expert."""
        return torch.zeros_like(self.logits).scatter(-1, self.index, self.weight)

    @cached_property
    def order(self) -> tuple[Tensor, Tensor]:
        """(R * n * k,) places of the flat ``index`` in the order of the experts, and (E,) where each one's end."""
        expert = self.index.flatten()
        count = torch.bincount(expert, minlength=self.logits.shape[-1])
        return expert.argsort(stable=True), count.cumsum(0).to(torch.int32)


class TokenGates(Protocol):
    """What routes tokens in adapted layers, see `rsmoe.experts.token.TokenBank`."""

    chosen: dict[str, TokenChoice]
    """Gate -> its choice in this pass."""

    def __call__(self, block: str, x: Tensor) -> TokenChoice:
        """(R, n, in), what a layer of that block reads -> experts of each token."""


@dataclass(frozen=True, kw_only=True)
class RowExperts:
    """R rows sorted by expert. Built once per pass, read by every adapted layer."""

    expert: Tensor
    """(R,) long, ascending."""
    ends: Tensor
    """(E,) long: rows of experts 0..e end before this row."""
    share: Tensor | None = None
    """(R, E) float: each row has the sum of all adapters, with these weights; None: that of ``expert`` alone."""
    gates: TokenGates | None = None
    """With these the tokens of a row choose among the experts of its ``share``."""

    @classmethod
    def of(cls, expert: Tensor, *, experts: int) -> RowExperts:
        """Finds the groups without a host synchronisation.

        Args:
            expert: (R,) long, or (R, E) weights of a sum, whose rows lie in the order of the expert that weighs most.

        Raises:
            RuntimeError: the rows are not sorted by expert, or name an expert that does not exist (on CUDA: a device
                assertion).
        """
        share, expert = (expert, expert.argmax(1)) if expert.ndim == 2 else (None, expert)
        known = (expert >= 0) & (expert < experts)
        # grouped products read sorted rows only, and would be silently wrong on others
        torch._assert_async(known.all() & (expert[1:] >= expert[:-1]).all(), "rows must be sorted by existing expert")
        ends = torch.searchsorted(expert, torch.arange(experts, device=expert.device), right=True)
        return cls(expert=expert, ends=ends, share=share)


# A context variable: threads that answer requests at the same time do not see each other's rows.
_CURRENT: ContextVar[RowExperts | None] = ContextVar("rsmoe_row_experts", default=None)


@contextmanager
def using(rows: RowExperts | None) -> Iterator[None]:
    """Makes ``rows`` those that adapted layers read, until the block ends, also by an exception."""
    token = _CURRENT.set(rows)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> RowExperts:
    """The rows of the pass under way.

    Raises:
        RuntimeError: an adapted layer runs outside of a pass of its bank.
    """
    rows = _CURRENT.get()
    if rows is None:
        raise RuntimeError(
            "a language model with grouped adapters runs only through ExpertBank.forward; to recompute activations, "
            "build the bank with checkpointing=True instead of enabling it on the language model"
        )
    return rows


def checkpoint_contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """``context_fn`` of `torch.utils.checkpoint`: the recomputation in the backward pass sees this pass's rows."""
    return nullcontext(), using(_CURRENT.get())
