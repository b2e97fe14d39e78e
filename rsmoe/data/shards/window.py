"""A window of a stream: the undecoded bytes of views that lie together in shards."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rsmoe.data.files.byte_ranges import is_url, read_range
from rsmoe.data.sample import Sample
from rsmoe.data.shards.index import Shards
from rsmoe.data.shards.order import Run
from rsmoe.data.shards.sample_codec import BLOCK, decode_view, padded
from rsmoe.errors import UserError


class EncodedBytes:
    """A view as it was read; its samples are decoded at the first call and cached.

    Args:
        number: which view of the shard it is.
        row: its row of the table, see `rsmoe.data.shards.index.COLUMNS`.
    """

    def __init__(self, *, shard: str, number: int, row: Sequence[int], content: bytes) -> None:
        self.shard, self.number = shard, number
        self._row, self._content = row, content
        self._samples: list[Sample] | None = None

    def samples(self) -> list[Sample]:
        """Its samples; `UserError` naming the shard, when the bytes are not those that were written."""
        if self._samples is None:
            offset, json_size, size, _, checksum = self._row
            if zlib.crc32(self._content) != checksum and is_url(self.shard):  # damaged on its way, perhaps
                self._content = read_range(self.shard, offset, size, whole=True)
            if len(self._content) < size or zlib.crc32(self._content) != checksum:
                raise UserError(
                    f"{self.shard} is damaged at view {self.number} (bytes {offset} to {offset + size}). Write or "
                    "download this shard again"
                )
            text = self._content[BLOCK : BLOCK + json_size]
            files = memoryview(self._content)[BLOCK + padded(json_size) :]
            self._samples = decode_view(text, shard=self.shard, row=self._row, files=files)
            self._content = b""  # each file has its own bytes now
        return self._samples


@dataclass(frozen=True)
class Unit:
    """The unit of shuffling: one sample of a view, or the view."""

    view: EncodedBytes
    first: int
    """Number of its first sample in the data set, counted over the shards."""
    place: int
    """Of the sample in the view; 0 for a view."""
    epoch: int
    """How often the data set had been gone through before."""


def read_window(shards: Shards, runs: Sequence[Run], *, whole: bool, table: Callable[[int], np.ndarray]) -> list[Unit]:
    """Reads runs of units, each in one piece.

    Args:
        runs: what to read; units are views where ``whole``, else samples.
        table: number of a shard -> its table.

    Raises:
        UserError: for a shard that cannot be read at all. One that is cut off or altered gives views that raise it.
    """
    units: list[Unit] = []
    starts = np.cumsum([0, *(shard.samples for shard in shards.shards)])
    for run in runs:
        rows = table(run.shard)
        ends = np.cumsum(rows[:, 3])
        stop = run.first + run.count
        if whole:
            low, high = run.first, stop
        else:
            low, high = np.searchsorted(ends, [run.first, stop - 1], side="right") + (0, 1)
        path = shards.path(run.shard)
        base = int(rows[low, 0])
        content = read_range(path, base, int(rows[high - 1, 0] + rows[high - 1, 2]) - base, whole=True)
        for number in range(int(low), int(high)):
            row = [int(value) for value in rows[number]]
            place = row[0] - base
            view = EncodedBytes(shard=path, number=number, row=row, content=content[place : place + row[2]])
            before = int(ends[number]) - row[3]
            inside = range(1) if whole else range(max(run.first - before, 0), min(stop - before, row[3]))
            units += [
                Unit(view=view, first=int(starts[run.shard]) + before, place=place, epoch=run.epoch) for place in inside
            ]
    return units
