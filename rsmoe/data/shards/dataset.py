"""A sharded split as a data set: any sample by its number."""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from rsmoe.data.files.byte_ranges import is_url, read_range
from rsmoe.data.readers.annotations import data_root
from rsmoe.data.sample import Sample
from rsmoe.data.shards.index import open_shards
from rsmoe.data.shards.sample_codec import BLOCK, decode_view


class ShardDataset(Dataset[Sample]):
    """What a reader gave to ``python -m rsmoe.commands.shard``, in the order of the shards: views in a shuffled
    order, the samples of each together.

    A sample is read by its place in the shard, its pictures when they are decoded; nothing is unpacked. At an address
    each of these is a request: `rsmoe.data.shards.stream.Stream` reads in long runs instead.

    Args:
        root: folder of the shards, or its address; None means ``$RSMOE_DATA/<name>``.
        split: which index is read, ``<root>/<split>.json``.
        name: of the folder below ``$RSMOE_DATA``. The data set's own name, which its numbers carry, is in the index.
        verify: reads every shard whole and compares its sha256.

    Attributes:
        shards: the index, for streaming.
        name, protocol, counts, official: of the data set that was sharded.
        unused: empty: what it could not use is not in the shards.

    Raises:
        UserError: for a missing folder, index or shard, or (``verify``) a damaged shard; when a sample is read, for
            bytes that are no sample, naming the shard.
    """

    def __init__(self, *, root: str | None = None, split: str, name: str = "shards", verify: bool = False) -> None:
        location = root if root is not None and is_url(root) else str(data_root(root, name))
        self.shards = open_shards(location, split)
        if verify:
            self.shards.verify()
        self.name, self.split, self.protocol = self.shards.name, self.shards.split, self.shards.protocol
        self.counts, self.official = dict(self.shards.counts), dict(self.shards.official)
        self.unused: dict[str, list[str]] = {}
        tables = [self.shards.table(i) for i in range(len(self.shards.shards))]
        self._shard = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        self._rows = np.concatenate(tables)
        self._ends = np.cumsum(self._rows[:, 3])
        self._last: tuple[int, list[Sample]] | None = None

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        index %= len(self)
        view = int(np.searchsorted(self._ends, index, side="right"))
        if self._last is None or self._last[0] != view:  # the next one is often of the same view
            self._last = (view, view_at(self.shards.path(int(self._shard[view])), self._rows[view]))
        return self._last[1][index - int(self._ends[view] - self._rows[view, 3])]


def view_at(shard: str, row: np.ndarray) -> list[Sample]:
    """The samples of a view.

    Args:
        shard: path or address of the tar file.
        row: of its table, see `rsmoe.data.shards.index.Shards.table`.

    Raises:
        UserError: bytes that are no view, or another than the table says.
    """
    offset, json_size = int(row[0]), int(row[1])
    return decode_view(read_range(shard, offset + BLOCK, json_size, whole=True), shard=shard, row=row.tolist())
