"""Which expert each row of the pass under way belongs to; it travels beside the model's code, not through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RowExperts:
    """R rows sorted by expert. Built once per pass, read by every adapted layer."""

    expert: Tensor
    """(R,) long, ascending."""
    ends: Tensor
    """(E,) long: rows of experts 0..e end before this row."""
    share: Tensor | None = None
    """(R, E) float: each row has the sum of all adapters, with these weights; None: that of ``expert`` alone."""

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
