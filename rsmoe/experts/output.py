"""What one pass of the expert bank returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from rsmoe.experts.rows import TokenChoice


@dataclass(frozen=True, kw_only=True)
class BankOutput:
    """R rows, each already through its own expert."""

    hidden: Tensor
    """(R, L, D) last hidden states, after the final norm."""
    cache: Any
    """The LM's key-value cache (a transformers ``Cache``, or a tuple of them without a shared base), or None."""
    gates: Mapping[str, TokenChoice] = field(default_factory=dict)
    """Gate of a block -> how it routed the tokens, R x L; {} where rows have one expert each."""
