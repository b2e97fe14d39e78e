"""The pictures of a tar file: a webdataset's, or the library's own shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rsmoe.archive.picture import Picture, stamp_of
from rsmoe.data.files.file_names import is_picture
from rsmoe.data.files.tar_index import tar_members
from rsmoe.data.shards.dataset import view_at
from rsmoe.data.shards.index import open_shards
from rsmoe.data.shards.member import ShardMember
from rsmoe.errors import UserError
from rsmoe.geo.georeference import Georeference


def shard_pictures(tar: Path) -> list[Picture]:
    """Every member that is called like a picture; of a shard with its table beside it every picture of every view,
    by the id of its first sample, with its georeference. Masks and maps of classes are no pictures.

    Pictures are told apart by the time of the tar file and their place in it: one that was written anew is embedded
    anew.

    Args:
        tar: not compressed.

    Raises:
        UserError: it is damaged, holds no picture, or is not the shard of the table beside it.
    """
    split = tar.stem.rpartition("-")[0]
    ours = all(tar.with_name(f"{name}.json").is_file() for name in (split, tar.stem))
    changed = stamp_of(tar).partition(".")[2]
    met: Counter[str] = Counter()
    found = []
    for name, content, place in _views(tar, split) if ours else _members(tar):
        met[name] += 1  # members, and ids, may repeat
        found.append(
            Picture(
                path=f"{tar.absolute()}/{name}" + (f" ({met[name]})" if met[name] > 1 else ""),
                stamp=f"{content.size}.{changed}.{content.offset}",
                content=content,
                place=place,
            )
        )
    if not found:
        raise UserError(f"{tar} holds no picture")
    return found


def _members(tar: Path) -> Iterator[tuple[str, ShardMember, None]]:
    for name, offset, size in tar_members(tar):
        if is_picture(name.rpartition("/")[2]):
            yield name, ShardMember(shard=str(tar), offset=offset, size=size, name=name), None


def _views(tar: Path, split: str) -> Iterator[tuple[str, ShardMember, Georeference | None]]:
    shards = open_shards(str(tar.parent), split)
    number = next((i for i, shard in enumerate(shards.shards) if shard.name == tar.name), None)
    if number is None:
        raise UserError(f"{tar} is no shard of {split}.json beside it: write or download both again")
    for row in shards.table(number):
        first = view_at(str(tar), row)[0]
        for time, image in enumerate(first.images):
            assert isinstance(image, ShardMember)
            yield first.id + (f" at {time}" if len(first.images) > 1 else ""), image, first.georeference
