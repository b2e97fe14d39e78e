"""What batch k of a stream holds: a pure function of the seed and k.

For map-style data, `rsmoe.data.sampling.step_sampler` is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rsmoe.data.sampling.interleave import Shares
from rsmoe.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One place of a batch."""

    data: int
    """Number of the data set."""
    window: int
    """Number of the window of it."""
    turn: int
    """How many draws came out of this window before."""
    seed: int
    """Of reference and augmentation."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Units of a shard that follow one another: samples, or views."""

    epoch: int
    shard: int
    first: int
    count: int


class StreamOrder:
    """Endless epochs of shards, cut into windows, dealt out to lanes, shuffled within each window.

    The units of a data set (samples, or views) form one sequence: epoch after epoch, in each all shards in an order of
    its own, in each shard the units as they lie. Window n is the units ``n * window_size`` and the following, so
    that it is read in long runs. A rank has ``lanes`` lanes; of all G lanes of all ranks lane g has the windows
    g, g + G, g + 2 G ..., and batch k of a rank comes out of its lane ``k % lanes``, the draws of a lane being
    mixed by `Shares`. So no two lanes read the same, every rank has as many batches as are asked for, however many
    shards there are, and nothing depends on the loader's workers: with as many as lanes, or a divisor, each reads what
    it gives and no more.

    A window has at most 1/G of an epoch, so that within an epoch a unit comes twice only next to its border.

    Args:
        sizes: for each data set the units of each of its shards.
        buffer: draws that a rank holds of each data set, over its lanes; those are shuffled.

    Raises:
        UserError: for options out of range, or weights that cannot be shares.
    """

    def __init__(
        self,
        *,
        sizes: Sequence[Sequence[int]],
        weights: Sequence[float],
        batch_size: int,
        seed: tuple[int, ...],
        buffer: int,
        lanes: int,
        rank: int,
        world: int,
    ) -> None:
        if min(batch_size, buffer, lanes) < 1 or not 0 <= rank < world:
            raise UserError(
                f"batch_size={batch_size}, buffer={buffer}, lanes={lanes}, rank={rank}, world={world}: expected "
                "batch_size, buffer and lanes >= 1, and 0 <= rank < world"
            )
        self.batch_size, self.lanes, self.rank, self.all_lanes = batch_size, lanes, rank, lanes * world
        self._seed = seed
        self._sizes = [np.asarray(counts, dtype=np.int64) for counts in sizes]
        totals = [int(counts.sum()) for counts in self._sizes]
        self.window_sizes = [max(1, min(buffer // lanes, total // self.all_lanes)) for total in totals]
        self._shares = [Shares(weights, seed=(*seed, 4, rank * lanes + lane)) for lane in range(lanes)]
        self._epochs: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}

    def batch(self, step: int) -> list[Draw]:
        """Batch ``step`` of this rank."""
        lane = step % self.lanes
        first = step // self.lanes * self.batch_size
        draws = np.random.default_rng((*self._seed, 2, self.rank, step))
        seeds = draws.integers(2**32, size=self.batch_size).tolist()
        return [self._draw(lane, first + i, seed) for i, seed in enumerate(seeds)]

    def shuffled(self, data: int, window: int) -> np.ndarray:
        """(window_size,) in which order the units of a window are drawn."""
        return np.random.default_rng((*self._seed, 1, data, window)).permutation(self.window_sizes[data])

    def runs(self, data: int, window: int) -> list[Run]:
        """Positions of the units of a window, in the order of the shards."""
        sizes = self._sizes[data]
        total = int(sizes.sum())
        found: list[Run] = []
        place, left = window * self.window_sizes[data], self.window_sizes[data]
        while left:
            epoch, within = divmod(place, total)
            order, ends = self._epoch(data, epoch)
            turn = int(np.searchsorted(ends, within, side="right"))
            shard = int(order[turn])
            first = within - int(ends[turn] - sizes[shard])
            count = min(left, int(sizes[shard]) - first)
            found.append(Run(epoch=epoch, shard=shard, first=first, count=count))
            place, left = place + count, left - count
        return found

    def _draw(self, lane: int, number: int, seed: int) -> Draw:
        data, nth = self._shares[lane].draw(number)
        window, turn = divmod(nth, self.window_sizes[data])
        window = window * self.all_lanes + self.rank * self.lanes + lane
        return Draw(data=data, window=window, turn=turn, seed=seed)

    def _epoch(self, data: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of the shards in an epoch, and where each of them ends."""
        if data not in self._epochs or self._epochs[data][0] != epoch:
            order = np.random.default_rng((*self._seed, 0, data, epoch)).permutation(len(self._sizes[data]))
            self._epochs[data] = (epoch, order, np.cumsum(self._sizes[data][order]))
        return self._epochs[data][1:]
