"""Temporal contract: visual tokens of T dates -> `VisualMemory`.

A module is an ``nn.Module`` in one file with one yaml in ``conf/temporal/``; its constructor takes ``width``. One batch
may mix views of one date and of several: a view with one date passes its N tokens through unchanged (the rest of its
memory is masked). Training and generation call this same function, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from rsmoe.temporal.memory import VisualMemory

__all__ = ["TemporalInput", "TemporalModule", "VisualMemory"]


@dataclass(frozen=True, kw_only=True)
class TemporalInput:
    """All that is known of the dates of V views."""

    tokens: Tensor
    """(V, T, N, D) of every date; what lies behind a view's ``frames`` is never read."""
    frames: Tensor
    """(V,) long: dates of each view, at least 1."""
    class_map: Tensor | None = None
    """(V, H, W) uint8 semantic change of the pairs, 255 unknown, for modules that take maps as an input."""
    times: Tensor | None = None
    """(V, T) float: when each frame was taken, in days since the first; None: the number of the frame."""


class TemporalModule(Protocol):
    """Bi-temporal difference perception, or a module over time series."""

    def __call__(self, dates: TemporalInput) -> VisualMemory:
        """(V, N', D) memory of each view; `rsmoe.errors.UserError` for more dates than the module compares."""
