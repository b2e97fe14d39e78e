"""What temporal perception returns and the Q-Former attends to."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class VisualMemory:
    """One sequence of visual tokens per sample, whatever the number of dates."""

    tokens: Tensor
    """(B, N', D)."""
    mask: Tensor
    """(B, N') bool, True where a token is valid."""
