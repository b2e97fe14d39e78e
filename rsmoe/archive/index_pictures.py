"""A store brought up to date with the pictures of an archive."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rsmoe.archive import Embedder, Store
from rsmoe.archive.picture import Picture
from rsmoe.archive.source_tiles import SourceTiles
from rsmoe.archive.tile import Source, Tile
from rsmoe.errors import UserError
from rsmoe.evaluation.watch import watched
from rsmoe.files import write_text


@dataclass(kw_only=True)
class Indexed:
    """What a call of `index_pictures` has done."""

    pictures: int = 0
    """Embedded, whole."""
    tiles: int = 0
    """Embedded."""
    empty: int = 0
    """Tiles without data, which are not embedded."""
    kept: int = 0
    """Pictures that were in the store already, and have not changed."""
    dropped: int = 0
    """Pictures that were in the store, and are not on the disk any more."""
    seconds: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    """Path of a picture that could not be read -> why."""


def index_pictures(
    embedder: Embedder,
    store: Store,
    pictures: Mapping[str, Picture],
    *,
    images: str | Sequence[str],
    side: int,
    overlap: float,
    raster: Mapping[str, Any],
    batch_size: int,
    errors: Path,
    console: Console,
) -> Indexed:
    """Embeds what is new or has changed, drops what is gone, with one progress bar.

    What is embedded is in the store batch by batch, and a job that was stopped goes on at the tile where it stopped. A
    picture that cannot be read does not stop the others, and the next start tries it again.

    Args:
        embedder: of the model that the store was made with.
        pictures: by their names in the store, see `rsmoe.archive.listing.listed`.
        images: where they were looked for; what the store has from there and the disk has not is dropped.
        side, overlap: see `SourceTiles`.
        raster: options of `rsmoe.geo.RasterSource`.
        batch_size: tiles that go through the model at once.
        errors: a jsonl that names pictures that cannot be read, and why; there are none where it is not there.
        console: where progress is shown.

    Raises:
        UserError: the store cannot be written.
    """
    started, done = time.monotonic(), Indexed()
    known = store.stamps()
    missing = [path for path in store.paths() if path not in pictures and not Path(path).is_file()]
    gone = [path for path in missing if _below(path, images)]
    store.drop(gone)
    left = {path: picture for path, picture in pictures.items() if known.get(path) != picture.stamp}
    done.dropped, done.kept = len(gone), len(pictures) - len(left)
    waiting: list[tuple[Tile, np.ndarray]] = []
    ended: list[Source] = []

    def flush() -> None:
        nonlocal waiting
        if waiting or ended:
            shown = [pixels for _, pixels in waiting]
            vectors = embedder.embed_images(shown) if shown else np.empty((0, embedder.dim))
            store.add([tile for tile, _ in waiting], vectors, whole=ended)
            done.tiles += len(waiting)
            waiting = []
            ended.clear()

    def taken(path: str, tiles: Iterator[tuple[Tile, np.ndarray | None]]) -> list[tuple[Tile, np.ndarray | None]]:
        """As many as the batch still takes; none behind the last, or where a file turns out to be damaged."""
        try:
            return list(islice(tiles, batch_size - len(waiting)))
        except UserError as error:
            done.failed[path] = str(error)
            return []

    sizes = {path: picture.size / 1e6 for path, picture in left.items()}
    with watched("images, MB", max(1, round(sum(sizes.values()))), console) as advance:
        before = 0.0  # MB of the pictures so far
        for path, picture in left.items():
            try:
                found = SourceTiles(picture, bands=embedder.bands, raster=raster, side=side, overlap=overlap)
            except UserError as error:
                done.failed[path] = str(error)
            else:
                tiles = found.tiles(skip=store.held(found.source))
                while some := taken(path, tiles):
                    waiting += [(tile, pixels) for tile, pixels in some if pixels is not None]
                    done.empty += sum(pixels is None for _, pixels in some)
                    if len(waiting) == batch_size:
                        flush()
            if path in done.failed:
                waiting = [(tile, pixels) for tile, pixels in waiting if tile.source.path != path]
                store.drop([path])
            else:
                ended.append(found.source)
                done.pictures += 1
            advance(round(before + sizes[path]) - round(before))
            before += sizes[path]
        flush()
    done.seconds = time.monotonic() - started
    errors.unlink(missing_ok=True)
    if done.failed:
        lines = (json.dumps({"source": path, "error": why}) for path, why in done.failed.items())
        write_text(errors, "\n".join([*lines, ""]))
    return done


def _below(path: str, images: str | Sequence[str]) -> bool:
    """Whether ``images=`` looks where a path lies: it is one of its files, or below a folder, that of a pattern too."""
    for word in [images] if isinstance(images, str) else images:
        place = Path(word)
        if not place.exists() and (signs := [sign for sign in "*?[" if sign in word]):
            place = Path(word[: min(map(word.find, signs))] + "-").parent
        if place.absolute() in (Path(path), *Path(path).parents):
            return True
    return False
