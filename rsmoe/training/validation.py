"""Validation during training: means of losses over the split "val", over all processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rsmoe.training.ranks import gathered


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How often a stage is validated, and on how much."""

    every: int
    """Steps between two validations; a shorter stage is validated once, at its end."""
    limit: int | None
    """Samples of each data set, evenly spread; None for all."""


class Means:
    """Means over samples, of values that only some batches have, the same on every process."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, int]] = {}

    def add(self, values: Mapping[str, Tensor], count: int) -> None:
        """Scalar means over a batch of ``count`` samples."""
        for name, value in values.items():
            total, n = self._sums.get(name, (torch.zeros_like(value.detach()), 0))
            self._sums[name] = total + value.detach() * count, n + count

    def take(self) -> dict[str, float]:
        """The means, by name, and a new beginning; every process has to call it."""
        own = {name: (float(total), n) for name, (total, n) in self._sums.items()}
        self._sums = {}
        shares = gathered([own])
        names = sorted({name for share in shares for name in share})
        found = {name: [share[name] for share in shares if name in share] for name in names}
        return {name: sum(t for t, _ in parts) / sum(n for _, n in parts) for name, parts in found.items()}
