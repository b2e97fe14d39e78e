"""What one pass of the expert bank returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class BankOutput:
    """R rows, each already through its own expert."""

    hidden: Tensor
    """(R, L, D) last hidden states, after the final norm."""
    cache: Any
    """The LM's key-value cache (a transformers ``Cache``, or a tuple of them without a shared base), or None."""
