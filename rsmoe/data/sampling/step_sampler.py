"""Which samples batch k holds: a pure function of the seed and k, so that a run can stop and go on anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from rsmoe.data.sampling.interleave import Shares
from rsmoe.errors import UserError


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (index, seed) for a `Mixture` of data sets, as ``batch_sampler`` of a ``DataLoader``.

    Without ``groups`` a draw is one sample. With them a draw is one view, a picture or a pair, and gives up to
    ``per_view`` of the requests on it, which share the draw's seed: so the view is encoded once for all of them. Each
    visit to a view takes the next of its requests, in an order of its own; where it has fewer than ``per_view``, those
    with several references are asked again, once for each.

    All draws of a run form one sequence, numbered from 0; batch k of rank r is the draws
    ``(k * world + r) * batch_size`` and the following. Every 1000 draws hold each data set by its share (rounded
    to whole draws, at least one), shuffled; the n-th draw of a data set is the n-th place in its shuffled epochs. So
    each sample (or view) of a data set is seen once before any is seen twice, batch k costs the same to find for any k,
    a run continued at ``start_step`` sees exactly what it would have seen, and two ranks with half the batch size see
    what one sees.

    Args:
        sizes: number of samples of each data set, in the order of the mixture.
        weights: share of each, of any positive scale; None means by number of draws.
        batch_size: draws a batch, on each rank.
        groups: for each data set its views: the indices of the requests on each, and those that may be asked again at
            once, as often as they may be. None means that every sample is a draw of its own.
        per_view: the most requests that a draw gives.
        seed: of the whole sequence: a number >= 0, or several (run, stage).
        steps: batch at which it ends: ``steps - start_step`` batches are given. The length is ``steps`` all the same.

    Raises:
        UserError: for weights that are negative, all zero or of another number, or that ask for an empty data set.
    """

    def __init__(
        self,
        *,
        sizes: Sequence[int],
        batch_size: int,
        seed: int | tuple[int, ...],
        steps: int,
        start_step: int = 0,
        weights: Sequence[float] | None = None,
        groups: Sequence[Sequence[tuple[Sequence[int], Sequence[int]]]] | None = None,
        per_view: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        draws = tuple(sizes) if groups is None else tuple(map(len, groups))  # in an epoch
        shares = np.asarray(draws if weights is None else weights, dtype=np.float64)
        self._shares = Shares(shares.tolist(), seed=(seed,) if isinstance(seed, int) else seed)
        if len(shares) != len(sizes):
            raise UserError(f"weights {shares.tolist()} of {len(sizes)} data sets: expected one each")
        for place, (size, share) in enumerate(zip(sizes, shares, strict=True)):
            if share > 0 and size < 1:
                raise UserError(f"data set {place} is empty but has the weight {share:g}")
        if batch_size < 1 or per_view < 1 or not 0 <= start_step <= steps or not 0 <= rank < world:
            raise UserError(
                f"batch_size={batch_size}, per_view={per_view}, start_step={start_step}, steps={steps}, rank={rank}, "
                f"world={world}: expected batch_size >= 1, per_view >= 1, 0 <= start_step <= steps, 0 <= rank < world"
            )
        self.batch_size, self.per_view, self.groups = batch_size, per_view, groups
        self.sizes = draws
        self.seed = (seed,) if isinstance(seed, int) else seed
        self.start_step, self.steps, self.rank, self.world = start_step, steps, rank, world
        self._first = np.concatenate([[0], np.cumsum(sizes)])
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def __len__(self) -> int:
        """``steps``, also when it starts later: Lightning counts the batches of an interrupted epoch as done."""
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start_step, self.steps):
            yield self.batch(step)

    def batch(self, step: int) -> list[tuple[int, int]]:
        """Batch ``step`` of this rank: (index in the mixture, seed of the sample)."""
        first = (step * self.world + self.rank) * self.batch_size
        return [pair for number in range(first, first + self.batch_size) for pair in self._draw(number)]

    def _draw(self, number: int) -> list[tuple[int, int]]:
        data, before = self._shares.draw(number)
        epoch, position = divmod(before, self.sizes[data])
        if data not in self._orders or self._orders[data][0] != epoch:
            order = np.random.default_rng((*self.seed, 1, data, epoch)).permutation(self.sizes[data])
            self._orders[data] = (epoch, order)
        seed = int(np.random.SeedSequence((*self.seed, 2, number)).generate_state(1, np.uint32)[0])
        place = int(self._orders[data][1][position])
        if self.groups is None:
            return [(int(self._first[data]) + place, seed)]
        requests, again = self.groups[data][place]
        order = np.random.default_rng((*self.seed, 3, data, place)).permutation(len(requests))
        count = min(self.per_view, len(requests))
        taken = [requests[order[(epoch * count + i) % len(requests)]] for i in range(count)]
        return [(int(self._first[data]) + index, seed) for index in [*taken, *again[: self.per_view - count]]]
