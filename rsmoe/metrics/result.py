"""A number and how it was computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number of ``metrics.json``."""

    metric: str
    """ "caption/bleu4", "vqa/presence", "mask/miou" ..."""
    value: float
    """On the scale that papers print, which the protocol states."""
    protocol: str
    """Id of a `rsmoe.metrics.Protocol`, prefixed with "generated/" on generated scenes."""
    split: str
    n: int
    """Samples in the denominator: all of them."""
    parse_failures: int = 0
    """Predictions that could not be read; they count as wrong."""
    low: float | None = None
    """Lower bound of the 95 % bootstrap interval; None where none was asked for."""
    high: float | None = None
    """Its upper bound."""
    lower_is_better: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for json; without bounds where there are none, and ``lower_is_better`` only where it is true."""
        return {name: value for name, value in asdict(self).items() if value is not None and value is not False}
