"""Whose turn it is in a mixture of data sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsmoe.errors import UserError

_CYCLE = 1000
"""Draws in which every data set gets its share exactly."""


class Shares:
    """Draw n of a mixture: a pure function of the seed and n, found as fast for any n.

    Every 1000 draws hold each data set by its share, rounded to whole draws and at least one, shuffled.

    Args:
        weights: share of each data set, of any positive scale; 0 leaves one out.

    Raises:
        UserError: for weights that are negative, not finite or all zero.
    """

    def __init__(self, weights: Sequence[float], *, seed: tuple[int, ...]) -> None:
        shares = np.asarray(weights, dtype=np.float64)
        if not np.isfinite(shares).all() or (shares < 0).any() or not shares.any():
            raise UserError(f"weights {shares.tolist()}: expected one number >= 0 each, one of them > 0")
        exact = shares / shares.sum() * _CYCLE
        quota = np.floor(exact).astype(np.int64)
        for place in np.argsort(quota - exact, kind="stable")[: _CYCLE - int(quota.sum())]:  # largest remainder
            quota[place] += 1
        self.quota = np.where((shares > 0) & (quota == 0), 1, quota)
        self._seed, self._length = seed, int(self.quota.sum())
        self._cycle: tuple[int, np.ndarray, np.ndarray] | None = None

    def draw(self, number: int) -> tuple[int, int]:
        """The data set of draw ``number``, and how many draws before it were of the same."""
        cycle, place = divmod(number, self._length)
        if self._cycle is None or self._cycle[0] != cycle:
            order = np.random.default_rng((*self._seed, 0, cycle))
            owner = order.permutation(np.repeat(np.arange(len(self.quota)), self.quota))
            before = np.zeros(len(owner), dtype=np.int64)
            for data, count in enumerate(self.quota):
                before[owner == data] = np.arange(count)
            self._cycle = (cycle, owner, before)
        _, owner, before = self._cycle
        data = int(owner[place])
        return data, cycle * int(self.quota[data]) + int(before[place])
