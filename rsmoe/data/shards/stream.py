"""Batches out of shards that are read in long runs, from a folder or from an address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from rsmoe.data.sample import Sample
from rsmoe.data.shards.index import Shards
from rsmoe.data.shards.member import ShardMember
from rsmoe.data.shards.order import Draw, StreamOrder
from rsmoe.data.shards.quarantine import Quarantine
from rsmoe.data.shards.window import Unit, read_window
from rsmoe.errors import UserError, require_known

_FURTHER = 4
"""Windows in which a substitute is looked for, where all of a draw's own window is bad."""


class Stream(IterableDataset[list[tuple[Sample, int]]]):
    """Batches ``start_step`` to ``steps`` of this rank as (sample, seed) pairs, what `Collate` takes::

        DataLoader(stream, batch_size=None, collate_fn=collate, num_workers=workers)

    Batch k is the same for any number of workers and whether or not the run was interrupted, see `StreamOrder`. What is
    held and shuffled is undecoded: ``buffer`` draws of each data set on each rank, and as many again while they are
    fetched. webdataset deals whole shards to ranks and workers, which makes batches depend on their number and fails
    with fewer shards than workers; the files are in its format all the same, and it can read them.

    A sample whose bytes were altered, or whose pictures cannot be decoded, goes to the quarantine; the next one of its
    lane takes its place.

    Args:
        shards: data sets by name.
        steps: batch at which it ends: each rank gives ``steps - start_step``.
        seed: a number >= 0, or several (run, stage).
        weights: share of each data set by name; a name left out is not used. None means by ``temperature``.
        temperature: T: shares as size ** (1 / T). 1, which is None, means by size; the greater, the more equal.
        per_view: 1 draws single samples; more draws views, with up to so many requests on each, as `StepSampler` does.
        buffer: draws that are shuffled, of each data set on each rank. Raw pixels are held too: take fewer of them.
        lanes: independent parts that a rank reads side by side. It belongs to the order, the number of workers does
            not; best the number of workers, or a multiple of it.
        check: decodes pictures and masks as a test when a process meets them first, and keeps them for `Collate`.
            Without it only altered bytes are noticed, and a picture that cannot be decoded ends the run.
        max_bad_fraction, quarantine: limit, and jsonl of what could not be read, see `Quarantine`.

    Attributes:
        quarantine: counts of this process; each worker has its own, and its own limit.

    Raises:
        UserError: for an unknown name, weights that cannot be shares, and options out of range; while it is read, for
            a shard that cannot be reached, or when too much is bad.
    """

    def __init__(
        self,
        *,
        shards: Mapping[str, Shards],
        batch_size: int,
        steps: int,
        start_step: int = 0,
        seed: int | tuple[int, ...] = 0,
        weights: Mapping[str, float] | None = None,
        temperature: float | None = None,
        per_view: int = 1,
        buffer: int = 4000,
        lanes: int = 4,
        check: bool = True,
        max_bad_fraction: float = 0.01,
        quarantine: Path | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__()
        if not 0 <= start_step <= steps or per_view < 1 or (temperature is not None and temperature <= 0):
            raise UserError(
                f"start_step={start_step}, steps={steps}, per_view={per_view}, temperature={temperature}: expected "
                "0 <= start_step <= steps, per_view >= 1, temperature > 0"
            )
        require_known("data set", *(weights or {}), known=shards)
        if weights and temperature is not None:
            raise UserError("give weights or temperature, not both")
        self._shards = tuple(shards.values())
        self._whole = per_view > 1
        self.per_view, self.start_step, self.steps = per_view, start_step, steps
        self._seed = (seed,) if isinstance(seed, int) else tuple(seed)
        sizes = [[s.views if self._whole else s.samples for s in data.shards] for data in self._shards]
        even = [float(sum(counts)) ** (1 / (temperature or 1)) for counts in sizes]
        self.order = StreamOrder(
            sizes=sizes,
            weights=[weights.get(name, 0.0) for name in shards] if weights else even,
            batch_size=batch_size,
            seed=self._seed,
            buffer=buffer,
            lanes=lanes,
            rank=rank,
            world=world,
        )
        self.quarantine = Quarantine(max_bad_fraction=max_bad_fraction, path=quarantine)
        # of each sample, and of the pictures under the number of their first sample: whether they could be decoded
        self._tested = [np.full((2, data.samples), not check) for data in self._shards]
        self._held: list[ShardMember] = []

    def __iter__(self) -> Iterator[list[tuple[Sample, int]]]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        windows = _Windows(self._shards, self.order, whole=self._whole)
        try:
            for step in range(self.start_step + worker, self.steps, workers):
                pairs: list[tuple[Sample, int]] = []
                for draw in self.order.batch(step):
                    pairs += [(sample, draw.seed) for sample in self._take(draw, windows)]
                yield pairs
                for file in self._held:  # the batch is made: what is still decoded was in a cache
                    file.forget()
                self._held.clear()
        finally:
            windows.close()

    def _take(self, draw: Draw, windows: _Windows) -> list[Sample]:
        """The samples of a draw, or of the next one of its lane that can be read."""
        fault: UserError | None = None
        for further in range(_FURTHER + 1):
            units, order = windows.get(draw.data, draw.window, further)
            if 2 * draw.turn >= len(units):
                windows.fetch(draw.data, draw.window, 1)
            for shift in range(len(units)):
                unit = units[order[(draw.turn + shift) % len(units)]]
                try:
                    samples = self._requests(draw.data, unit)
                except UserError as error:
                    if fault is None:
                        fault = error
                        self._set_apart(draw.data, unit, str(error))
                    continue
                if fault is None:
                    self.quarantine.good()
                return samples
        raise UserError(f"no sample of {_FURTHER + 1} windows of {len(units)} can be read: {fault}")

    def _requests(self, data: int, unit: Unit) -> list[Sample]:
        samples = unit.view.samples()
        places = self._choose(data, unit, samples) if self._whole else [unit.place]
        of_sample, of_view = self._tested[data]
        new = [place for place in dict.fromkeys(places) if not of_sample[unit.first + place]]
        files: list[object] = [file for place in new for file in (samples[place].mask, samples[place].class_map)]
        files += [] if of_view[unit.first] else samples[0].images
        for file in {id(file): file for file in files}.values():
            if isinstance(file, ShardMember):
                file.decode()
                self._held.append(file)
        of_sample[[unit.first + place for place in new]] = of_view[unit.first] = True
        return [samples[place] for place in places]

    def _choose(self, data: int, unit: Unit, samples: list[Sample]) -> list[int]:
        """Up to ``per_view`` of the samples of a view: at each visit the next ones, in an order of their own."""
        order = np.random.default_rng((*self._seed, 3, data, unit.first)).permutation(len(samples))
        count = min(self.per_view, len(samples))
        taken = [int(order[(unit.epoch * count + i) % len(samples)]) for i in range(count)]
        # two captions of one picture would be each other's negatives in retrieval
        again = [i for i, s in enumerate(samples) if s.task != "retrieval" for _ in s.responses[1:]]
        return [*taken, *again[: self.per_view - count]]

    def _set_apart(self, data: int, unit: Unit, reason: str) -> None:
        try:
            identity = unit.view.samples()[unit.place].id
        except UserError:
            identity = f"view {unit.view.number}, sample {unit.place}"
        self.quarantine.add(source=self._shards[data].name, identity=identity, shard=unit.view.shard, reason=reason)


class _Windows:
    """The current window of every lane and data set, and the next one, which is fetched meanwhile."""

    def __init__(self, shards: tuple[Shards, ...], order: StreamOrder, *, whole: bool) -> None:
        self._shards, self._order, self._whole = shards, order, whole
        self._table = lru_cache(maxsize=16)(lambda data, number: shards[data].table(number))
        self._held: dict[tuple[int, int], dict[int, Future[tuple[list[Unit], np.ndarray]]]] = {}
        self._fetcher = ThreadPoolExecutor(max_workers=1)

    def get(self, data: int, current: int, further: int) -> tuple[list[Unit], np.ndarray]:
        """The units of the window so many after the current one of a lane, and the order in which they are drawn."""
        future = self.fetch(data, current, further)
        held = self._held[data, current % self._order.all_lanes]
        for past in [number for number in held if number < current]:
            del held[past]
        return future.result()

    def fetch(self, data: int, current: int, further: int) -> Future[tuple[list[Unit], np.ndarray]]:
        """Begins to read a window, unless it is being read already."""
        held = self._held.setdefault((data, current % self._order.all_lanes), {})
        number = current + further * self._order.all_lanes
        if number not in held:
            held[number] = self._fetcher.submit(self._read, data, number)
        return held[number]

    def close(self) -> None:
        """Ends the fetching."""
        self._fetcher.shutdown(wait=True, cancel_futures=True)

    def _read(self, data: int, number: int) -> tuple[list[Unit], np.ndarray]:
        runs = self._order.runs(data, number)
        units = read_window(self._shards[data], runs, whole=self._whole, table=lambda shard: self._table(data, shard))
        return units, self._order.shuffled(data, number)
