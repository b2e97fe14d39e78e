"""How the router changed while it trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RouterHistory:
    """S measurements in the order of training; a measurement that was not made is NaN."""

    step: Sequence[float]
    """(S,) optimizer steps, counted over all stages."""
    entropy: Sequence[float]
    """(S,) entropy of the gate in nats, mean over samples: 0 to ln E."""
    accuracy: Sequence[float]
    """(S,) share of samples whose strongest expert serves their task."""
    load: Sequence[Sequence[float]] = ()
    """(S, E) share of rows that each expert received, or empty."""
    stages: Sequence[tuple[float, str]] = ()
    """(first step, name) of each stage."""

    def __post_init__(self) -> None:
        lengths = {len(self.step), len(self.entropy), len(self.accuracy), len(self.load) or len(self.step)}
        if len(lengths) != 1:
            raise ValueError(f"a router history needs series of one length, got lengths {sorted(lengths)}")
