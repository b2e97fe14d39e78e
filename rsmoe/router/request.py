"""Input of a router."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RouterRequest:
    """B requests of a batch."""

    queries: Tensor
    """(B, M, D) of the Q-Former, which reads picture and instruction."""
    memory: Tensor
    """(B, D_m) mean of the visual memory, before any instruction is read."""
    instruction_ids: Tensor
    """(B, L) long, right-padded."""
    instruction_mask: Tensor
    """(B, L) bool."""
    allowed: Tensor
    """(E,) bool: experts that may be chosen, those that serve a task."""
    also: Tensor | None = None
    """(B, E) bool: experts that are chosen, too, in the first ``teach_routing_steps`` of a stage."""
    right: Tensor | None = None
    """(B, E) bool: experts that serve the task label of each request; None unless the router has ``reads_label``."""
