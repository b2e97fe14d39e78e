"""The pictures of ``images=``, and one of them again by its name."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from rsmoe.archive.picture import Picture
from rsmoe.archive.shard_pictures import shard_pictures
from rsmoe.archive.stac_pictures import stac_pictures
from rsmoe.data.files.byte_ranges import is_url
from rsmoe.data.files.file_names import globbed, is_leftover
from rsmoe.data.files.stac_items import STAC_SUFFIXES
from rsmoe.errors import UserError
from rsmoe.evaluation.request_list import find_pictures

_TAR = (".tar",)


def listed(images: str | Sequence[str], *, asset: str | None = None) -> dict[str, Picture]:
    """Pictures by their names in a store.

    - a picture, a tar file of them (webdataset, shards of this library), a json of STAC items or a catalogue of them;
    - a folder: all pictures and tar files below it; a pattern: the files that fit it.

    Args:
        asset: see `rsmoe.archive.stac_pictures.stac_pictures`.

    Raises:
        UserError: nothing there, an address, a file that is damaged.
    """
    found: dict[str, Picture] = {}
    for word in [images] if isinstance(images, str) else images:
        if is_url(word):
            raise UserError(f"images={word}: an archive is made of files; download it first")
        path = Path(word)
        tars: list[Path] = []
        if path.is_dir():
            tars = [tar for tar in sorted(path.glob("**/*.tar")) if not is_leftover(tar.relative_to(path))]
        elif path.suffix.lower() in (*_TAR, *STAC_SUFFIXES):
            tars = [path] if path.is_file() else [Path(name) for name in sorted(glob.glob(word, recursive=True))]
            if not tars:
                raise UserError(f"images={word}: no such file")
        pictures = [picture for tar in tars for picture in _within(tar, asset)]
        if path.is_dir() and tars:
            pictures += [Picture.of(file) for file in globbed(path, "**/*")]
        elif not tars:
            pictures += [Picture.of(Path(name)) for _, name in find_pictures(word)]
        found |= {picture.path: picture for picture in pictures}
    return found


def picture_at(name: str, *, asset: str | None = None) -> Picture:
    """The picture of that name in a store.

    Raises:
        UserError: it is not there any more.
    """
    path = Path(name)
    if path.is_file():
        return Picture.of(path)
    holder = next((parent for parent in path.parents if parent.is_file()), None)
    held = {} if holder is None else {p.path: p for p in _kept(holder, holder.stat().st_mtime_ns, asset)}
    if name not in held:
        raise UserError(f"{name} is not there any more")
    return held[name]


def _within(path: Path, asset: str | None) -> tuple[Picture, ...]:
    return tuple(shard_pictures(path) if path.suffix.lower() in _TAR else stac_pictures(path, asset=asset))


@lru_cache(maxsize=4)
def _kept(path: Path, _changed: int, asset: str | None) -> tuple[Picture, ...]:
    return _within(path, asset)
