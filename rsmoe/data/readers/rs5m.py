"""RS5M: five million pairs in webdataset shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rsmoe.data.files.byte_ranges import read_range
from rsmoe.data.files.tar_index import index_tars, tars_in
from rsmoe.data.files.text_files import decode, stripped
from rsmoe.data.readers.annotations import data_root, require_split
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.data.shards.member import ShardMember
from rsmoe.errors import UserError

_FIELDS = ("img_name", "caption", "img_content")


class RS5M(Reader):
    """One sample a pair, out of tar files whose samples hold ``img_name``, ``caption`` (UTF-8) and ``img_content``.

    ``img_content`` is the encoded picture: these are not webdataset's usual ``jpg`` and ``txt``. Any sample is read by
    its place in the file, so that order and shuffling are those of every other data set; nothing is unpacked and no
    pickle is loaded.

    Args:
        shards: split -> patterns of its tar files, relative to ``root``.
        index: folder to keep the places of all samples in (relative to ``root``, or absolute): the headers of 128
            shards take minutes to read, the index a second. None reads them every time.

    Attributes:
        unused: "empty caption" -> ids.

    Raises:
        UserError: by `__getitem__`, for a caption that is not UTF-8.
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
            if not (found := tars_in(folder, pattern)):
                raise UserError(f"{name}: no shard is {folder / pattern}. Download some, or give data.shards.{split}")
            self._paths += [path for path in found if path not in self._paths]
        shard, row, places = index_tars(self._paths, _FIELDS, cache=None if index is None else folder / index)
        empty = places[:, 1, 1] == 0
        if empty.any():
            self.unused["empty caption"] = [self._id(s, r) for s, r in zip(shard[empty], row[empty], strict=True)]
        self._shard, self._row, self._places = shard[~empty], row[~empty], places[~empty]
        if not len(self):
            raise UserError(f"{name}: the shards of split {split!r} hold no pair")
        self.counts = {"shards": len(self._paths), "images": len(self), "captions": len(self)}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        path = self._paths[self._shard[index]]
        identity = self._id(self._shard[index], self._row[index])
        *texts, (start, size) = self._places[index].tolist()
        file_name, caption = (
            stripped(decode(read_range(str(path), *place), f"{path}: {what} of {identity}"))
            for place, what in zip(texts, ("name", "caption"), strict=True)
        )
        return self._make(
            identity,
            (ShardMember(shard=str(path), offset=start, size=size, name=file_name),),
            self.instruction,
            (caption,),
            "caption",
            meta={"file": file_name, "subset": path.stem.split("-")[0]},
        )

    def _id(self, shard: int, row: int) -> str:
        return f"{self._paths[shard].stem}:{row}"
