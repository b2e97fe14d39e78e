"""The index of a sharded split: content and checksum of every shard."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rsmoe.data.files.byte_ranges import is_url, read_range
from rsmoe.data.files.json_text import parse_json
from rsmoe.data.files.text_files import decode
from rsmoe.data.readers.annotations import field as value_of
from rsmoe.errors import UserError

SCHEMA = 1
"""Version of the files described here; a reader refuses a later one."""

COLUMNS = ("offset", "json_size", "size", "samples", "crc32")
"""Of a shard's table, one row a view: its first byte, bytes of its json, bytes in all, samples, and checksum."""

NAME = re.compile(r"\w[\w.-]*", re.ASCII)
"""What a split may be called; with ``-00000.tar`` a shard: a name from elsewhere never leads out of its folder."""

_LONGEST = 2**30
_BLOCK = 2**24


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One tar file of a split."""

    name: str
    samples: int
    views: int
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Shards:
    """A sharded split in a folder, or at an address.

    ``<split>.json`` holds what is here; beside each ``<split>-00000.tar`` lies ``<split>-00000.json`` with its table.
    """

    location: str
    """The folder or address that the files are in."""
    name: str
    """Of the data set: `Sample.source`."""
    split: str
    protocol: str
    """See `rsmoe.data`."""
    plan: str
    """Hash of the source and of how it was cut."""
    pixels: str = "encoded"
    """How the pictures are kept, "encoded" or "raw"."""
    counts: Mapping[str, int]
    """Of the reader, and "samples" and "views" of the shards."""
    official: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    shards: tuple[Shard, ...]

    @property
    def samples(self) -> int:
        """Samples in all shards."""
        return sum(shard.samples for shard in self.shards)

    @property
    def views(self) -> int:
        """Views in all shards."""
        return sum(shard.views for shard in self.shards)

    def path(self, number: int) -> str:
        """Where a shard is."""
        return join(self.location, self.shards[number].name)

    def table(self, number: int) -> np.ndarray:
        """(views, 5) int64: the `COLUMNS` of a shard, read anew at each call.

        Raises:
            UserError: naming the shard whose table is missing, or is not the one of the index.
        """
        shard = self.shards[number]
        where = join(self.location, f"{shard.name.removesuffix('.tar')}.json")
        content = read_json_at(where)
        try:
            table = np.asarray(value_of(content, "table", list, where))
        except ValueError as error:  # rows of several lengths, which is no table at all
            raise UserError(f"{where} holds no table: {error}. Write or download it again") from error
        whole = (
            table.shape == (shard.views, len(COLUMNS))
            and table.dtype == np.int64
            and content.get("sha256") == shard.sha256
            and bool((table >= 0).all())
            and int(table[:, 3].sum()) == shard.samples
            and bool((table[:, 0] + table[:, 2] <= shard.size).all())
        )
        if not whole:
            raise UserError(f"{where} is not the table of {shard.name} in the index. Write or download both again")
        return table

    def verify(self) -> None:
        """Reads all shards whole; `UserError` naming the shards whose sha256 is not that of the index."""
        broken = [shard.name for i, shard in enumerate(self.shards) if sha256_of(self.path(i)) != shard.sha256]
        if broken:
            raise UserError(
                f"{len(broken)} of {len(self.shards)} shards in {self.location} are damaged: "
                f"{', '.join(broken[:5])}. Write or download them again"
            )


def open_shards(location: str, split: str) -> Shards:
    """Reads the index of a split.

    Args:
        location: a folder, or an address (http, https, s3, gs, hf).

    Raises:
        UserError: when there is none, it is of another format or a later schema, or a name in it leads elsewhere.
    """
    if not NAME.fullmatch(split):
        raise UserError(f"{split!r} is no name of a split: expected letters, digits, dot, dash and underscore")
    where = join(location, f"{split}.json")
    content = read_json_at(where)
    schema = value_of(content, "schema", int, where)
    if schema != SCHEMA:
        raise UserError(f"{where} has schema {schema}; this version reads {SCHEMA}. Write the shards anew")
    shards = []
    for i, row in enumerate(value_of(content, "shards", list, where)):
        place = f"{where}, shards[{i}]"
        shard = Shard(
            name=value_of(row, "name", str, place),
            samples=value_of(row, "samples", int, place),
            views=value_of(row, "views", int, place),
            size=value_of(row, "size", int, place),
            sha256=value_of(row, "sha256", str, place),
        )
        whole = min(shard.samples, shard.views, shard.size) > 0
        if not (whole and NAME.fullmatch(shard.name) and shard.name.endswith(".tar")):
            raise UserError(f"{place}: {row} is no shard: expected a file name that ends in .tar, and counts above 0")
        shards.append(shard)
    if not shards:
        raise UserError(f"{where} lists no shard")
    return Shards(
        location=location,
        shards=tuple(shards),
        pixels=content.get("pixels", "encoded"),
        counts=value_of(content, "counts", dict, where),
        official=value_of(content, "official", dict, where),
        **{key: value_of(content, key, str, where) for key in ("name", "split", "protocol", "plan")},
    )


def join(location: str, name: str) -> str:
    """A file of a folder or address; what follows "?" in an address stays behind the name."""
    if not is_url(location):
        return f"{location.rstrip('/')}/{name}"
    base, mark, query = location.partition("?")
    return f"{base.rstrip('/')}/{name}{mark}{query}"


def sha256_of(location: str) -> str:
    """Hash of a file or address, read in blocks."""
    total = hashlib.sha256()
    place = 0
    while block := read_range(location, place, _BLOCK):
        total.update(block)
        place += len(block)
    return total.hexdigest()


def read_json_at(location: str) -> Any:
    """The json of a file or address; `UserError` when it cannot be read, or is not json."""
    again = is_url(location)  # an answer that was cut off may be whole the second time
    while True:
        try:
            content = decode(read_range(location, 0, _LONGEST), location)
            return parse_json(content, location, advice="Write or download it again")
        except UserError as error:
            if not again or not isinstance(error.__cause__, ValueError):
                raise
            again = False
