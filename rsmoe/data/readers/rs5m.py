"""RS5M: five million pairs in webdataset shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rsmoe.data.files.links import require_inside
from rsmoe.data.files.tar_index import index_tar
from rsmoe.data.files.text_files import decode, stripped
from rsmoe.data.rasters.tar_image import TarImage
from rsmoe.data.readers.annotations import data_root, require_split
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError

_FIELDS = ("img_name", "caption", "img_content")


class RS5M(Reader):
    """One sample a pair, out of tar files whose samples hold ``img_name``, ``caption`` (UTF-8) and ``img_content``.

    ``img_content`` is the encoded picture: these are not webdataset's usual ``jpg`` and ``txt``. Any sample is read by
    its place in the file, so that order and shuffling are those of every other data set; nothing is unpacked and no
    pickle is loaded.

    Args:
        split: a key of ``shards``.
        shards: split -> patterns of its tar files, relative to ``root``.
        index: folder to keep the places of all samples in (relative to ``root``, or absolute): the headers of 128
            shards take minutes to read, the index a second. None reads them every time.
        instruction: the request of every sample.

    Attributes:
        counts: "shards", "images", "captions".
        unused: "empty caption" -> ids.

    Raises:
        UserError: for a missing folder, a split or pattern without shards, and what `index_tar` refuses. `__getitem__`
            raises it for a caption that is not UTF-8, its image when it is decoded.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "rs5m",
        shards: Mapping[str, Sequence[str]],
        index: str | None = None,
        instruction: str = "Describe this image in one sentence.",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        self.instruction = instruction
        require_split(name, split, sorted(shards))
        self._paths: list[Path] = []
        for pattern in shards[split]:
            shards_here = (p for p in folder.glob(pattern) if p.is_file() and not p.name.startswith("."))
            found = sorted(map(require_inside, shards_here))
            if not found:
                raise UserError(f"{name}: no shard is {folder / pattern}. Download some, or give data.shards.{split}")
            self._paths += [path for path in found if path not in self._paths]
        cache = None if index is None else folder / index
        tables = [index_tar(path, _FIELDS, cache=cache) for path in self._paths]
        shard = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        row = np.concatenate([np.arange(len(table)) for table in tables])
        places = np.concatenate(tables)
        empty = places[:, 1, 1] == 0
        if empty.any():
            self.unused["empty caption"] = [self._id(s, r) for s, r in zip(shard[empty], row[empty], strict=True)]
        self._shard, self._row, self._places = shard[~empty], row[~empty], places[~empty]
        if not len(self):
            raise UserError(f"{name}: the shards of split {split!r} hold no pair")
        self.counts = {"shards": len(tables), "images": len(self), "captions": len(self)}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        path = self._paths[self._shard[index]]
        identity = self._id(self._shard[index], self._row[index])
        places = [(int(offset), int(size)) for offset, size in self._places[index]]
        try:
            with path.open("rb") as file:
                file_name, caption = (
                    _text(file, *place, where=f"{path}: {what} of {identity}")
                    for place, what in zip(places[:2], ("name", "caption"), strict=True)
                )
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}). Put the shard back") from error
        return self._make(
            identity,
            (TarImage(path, *places[2], name=file_name),),
            self.instruction,
            (caption,),
            "caption",
            meta={"file": file_name, "subset": path.stem.split("-")[0]},
        )

    def _id(self, shard: int, row: int) -> str:
        return f"{self._paths[shard].stem}:{row}"


def _text(file: BinaryIO, offset: int, size: int, *, where: str) -> str:
    file.seek(offset)
    return stripped(decode(file.read(size), where))
