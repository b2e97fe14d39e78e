"""What a router is asked."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RouterRequest:
    """B requests of a batch."""

    queries: Tensor
    """(B, M, D) of the Q-Former, which reads the picture with the instruction."""
    memory: Tensor
    """(B, D_m) mean of the visual memory, before any instruction is read."""
    instruction_ids: Tensor
    """(B, L) long, right-padded."""
    instruction_mask: Tensor
    """(B, L) bool."""
    allowed: Tensor
    """(E,) bool: experts that may be chosen, those that serve a task."""
    also: Tensor | None = None
    """(B, E) bool: experts that are added to the choice, while training teaches routes."""
    right: Tensor | None = None
    """(B, E) bool: experts that serve the label of each request. None for every router that does not ask for it with
    ``reads_label``."""
