"""Writes one split of a data set as shards."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch.utils.data import DataLoader, Dataset

from rsmoe.data.rasters.images import images_key
from rsmoe.data.sample import Sample
from rsmoe.data.shards.index import NAME, SCHEMA, Shards, open_shards
from rsmoe.data.shards.quarantine import Quarantine
from rsmoe.data.shards.sample_codec import BLOCK, PIXELS, encode_view, padded
from rsmoe.errors import UserError, require_known
from rsmoe.files import whole_file


class ShardWriter(Dataset[dict[str, Any]]):
    """Item n is shard n: asking for it writes it, unless it is there already, and gives its table.

    Samples on the same images lie together, so that the images are kept once, wherever the reader has them. A shard
    gets its name when it is complete and on the disk, its table after it: what has a table is finished.

    Args:
        source: what the data is made of (its config), for telling whose the finished shards are.
        shard_size: views in a shard; the last one may have fewer.
        seed: of the order of the views, in which streams read them; None keeps the reader's.
        pixels: "encoded" keeps pictures as they are; "raw" keeps their pixels, which is larger and needs no decoding.

    Raises:
        UserError: for a data set without samples, a split whose name cannot be that of a file, or other ``pixels``.
    """

    def __init__(
        self,
        *,
        dataset: Dataset[Sample],
        out: Path,
        source: Mapping[str, Any],
        shard_size: int = 1000,
        seed: int | None = 0,
        check: bool = True,
        pixels: str = "encoded",
    ) -> None:
        require_known("pixels", pixels, known=PIXELS)
        self.dataset, self.out, self.check, self.pixels = dataset, out, check, pixels
        self.split = str(dataset.split)  # type: ignore[attr-defined]
        if not NAME.fullmatch(self.split) or shard_size < 1 or not len(dataset):  # type: ignore[arg-type]
            raise UserError(
                f"split {self.split!r} of {len(dataset)} samples, shard_size={shard_size}: "  # type: ignore[arg-type]
                "expected a name of letters, digits, dot, dash and underscore, samples, and shard_size >= 1"
            )
        views: dict[Hashable, list[int]] = {}
        cut = [SCHEMA, source, shard_size, seed, check, *([pixels] if pixels != "encoded" else [])]
        made = hashlib.sha256(json.dumps(cut, default=str).encode())
        for i in range(len(dataset)):  # type: ignore[arg-type]
            sample = dataset[i]
            views.setdefault(_key(sample), []).append(i)
            made.update(f"\n{sample.id}".encode(errors="surrogatepass"))
        self.plan = made.hexdigest()
        order: Sequence[int] = range(len(views))
        if seed is not None:
            order = np.random.default_rng(seed).permutation(len(views)).tolist()
        rows = list(views.values())
        self._views = [rows[i] for i in order]
        self.shard_size = shard_size

    def __len__(self) -> int:
        return -(-len(self._views) // self.shard_size)

    def name(self, number: int) -> str:
        """Of a shard's file, without ".tar"."""
        return f"{self.split}-{number:05d}"

    def finished(self, number: int) -> dict[str, Any] | None:
        """The table of a shard that is complete and of this plan; one that had to leave samples out is tried again."""
        try:
            table: dict[str, Any] = json.loads((self.out / f"{self.name(number)}.json").read_text())
            size = (self.out / f"{self.name(number)}.tar").stat().st_size
        except (OSError, ValueError):
            return None
        return table if table["plan"] == self.plan and table["size"] == size and not table["left_out"] else None

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Writes shard ``number``.

        Raises:
            UserError: when the disk is full or cannot be written; nothing of this shard is left then.
        """
        if (table := self.finished(number)) is not None:
            return table
        first = number * self.shard_size
        rows: list[list[int]] = []
        left_out: list[tuple[str, str]] = []
        with _whole(self.out / f"{self.name(number)}.tar") as file:
            tar = _Tar(file)
            for place, view in enumerate(self._views[first : first + self.shard_size]):
                encoded = encode_view([self.dataset[i] for i in view], check=self.check, pixels=self.pixels)
                left_out.extend(encoded.left_out)
                if encoded.members:
                    rows.append(tar.add(f"{first + place:09d}", encoded.members, encoded.samples))
            size, sha256 = tar.close()
        table = {"schema": SCHEMA, "name": f"{self.name(number)}.tar", "plan": self.plan, "size": size}
        table |= {"sha256": sha256, "views": len(rows), "samples": sum(row[3] for row in rows)}
        table |= {"left_out": left_out, "table": rows}
        _write_json(self.out / f"{self.name(number)}.json", table)
        return table


class _Tar:
    """A tar file with the same bytes for the same members, hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash, self._size = file, hashlib.sha256(), 0

    def add(self, key: str, members: Sequence[tuple[str, bytes]], samples: int) -> list[int]:
        """Writes a view; gives its row of the table."""
        parts: list[bytes] = []
        for name, content in members:
            info = tarfile.TarInfo(f"{key}.{name}")
            info.size = len(content)
            parts += [info.tobuf(tarfile.USTAR_FORMAT), content, bytes(padded(len(content)) - len(content))]
        view = b"".join(parts)
        row = [self._size, len(members[0][1]), len(view), samples, zlib.crc32(view)]
        self._write(view)
        return row

    def close(self) -> tuple[int, str]:
        """Writes the end; gives bytes and sha256 of the whole."""
        self._write(bytes(2 * BLOCK))
        return self._size, self._hash.hexdigest()

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._hash.update(content)
        self._size += len(content)


def write_shards(
    *,
    dataset: Dataset[Sample],
    out: Path,
    source: Mapping[str, Any],
    shard_size: int = 1000,
    seed: int | None = 0,
    check: bool = True,
    pixels: str = "encoded",
    processes: int = 0,
    max_bad_fraction: float = 0.0,
    progress: Callable[[int, int], None] = lambda samples, shards: None,
) -> Shards:
    """Writes the shards that are missing, then the index; see `ShardWriter` and `Shards`.

    Args:
        processes: that write; 0 is this one alone.
        max_bad_fraction: share of samples that may be left out because they cannot be read, see `Quarantine`; their
            reasons go to ``<split>.quarantine.jsonl``.
        progress: called after each shard with its samples and the number of shards.

    Raises:
        UserError: when the folder holds shards of something else, the disk is full, too many samples cannot be read,
            or those of a whole shard.
    """
    cut: dict[str, Any] = {"shard_size": shard_size, "seed": seed, "check": check, "pixels": pixels}
    writer = ShardWriter(dataset=dataset, out=out, source=source, **cut)
    out.mkdir(parents=True, exist_ok=True)
    split = writer.split
    ours = re.compile(rf"{re.escape(split)}(-\d{{5,}})?\.json")
    for path in sorted(out.iterdir()):
        if ours.fullmatch(path.name):
            _require_same(path, writer.plan)
    log = out / f"{split}.quarantine.jsonl"
    log.unlink(missing_ok=True)
    bad = Quarantine(max_bad_fraction=max_bad_fraction, path=log)
    loader = DataLoader(writer, batch_size=None, num_workers=processes, in_order=False, prefetch_factor=None)
    tables: list[dict[str, Any]] = []
    for table in loader:
        for identity, reason in table["left_out"]:
            bad.add(source=str(dataset.name), identity=identity, shard=table["name"], reason=reason)  # type: ignore[attr-defined]
        bad.good(table["samples"])
        if not table["samples"]:
            raise UserError(f"no sample of {table['name']} can be read; the last: {bad.rows[-1]['reason']}")
        tables.append(table)
        progress(table["samples"], len(writer))
    kept = ("name", "samples", "views", "size", "sha256")
    shards = [{key: table[key] for key in kept} for table in sorted(tables, key=lambda table: table["name"])]
    index = {
        "schema": SCHEMA,
        "name": dataset.name,  # type: ignore[attr-defined]
        "split": split,
        "protocol": getattr(dataset, "protocol", ""),
        "pixels": pixels,
        "plan": writer.plan,
        "source": source,
        "left_out": bad.bad,
        "counts": getattr(dataset, "counts", {}),
        "official": getattr(dataset, "official", {}),
        "shards": shards,
    }
    _write_json(out / f"{split}.json", index)
    return open_shards(str(out), split)


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """`whole_file`, open, and on the disk at the end, also when the machine stops."""
    with whole_file(path) as part:
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"{path} cannot be written ({error.strerror}). Make room or choose another out=, then type the same "
                "again: finished shards are kept"
            ) from error


def _write_json(path: Path, content: Any) -> None:
    with _whole(path) as file:
        file.write(json.dumps(content, default=str, separators=(",", ":")).encode())


def _require_same(path: Path, plan: str) -> None:
    """Refuses to write over shards of something else."""
    try:
        theirs = json.loads(path.read_text()).get("plan")
    except (OSError, ValueError, AttributeError):
        theirs = None
    if theirs != plan:
        raise UserError(
            f"{path} belongs to other data, or to shards that were cut in another way. Choose another out=, or remove "
            "what is there"
        )


def _key(sample: Sample) -> Hashable:
    """`images_key`, of arrays by content: a reader that makes them anew gives each a place of its own."""
    return tuple(
        hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest() if isinstance(image, np.ndarray) else key
        for image, key in zip(sample.images, images_key(sample), strict=True)
    )
