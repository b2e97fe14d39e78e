"""One picture of an archive, cut into tiles."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from weakref import finalize

import numpy as np

from rsmoe.archive.picture import Picture
from rsmoe.archive.tile import Box, Source, Tile, box_of
from rsmoe.errors import UserError
from rsmoe.geo.dates import Dates, read_dates
from rsmoe.geo.file_format import raster_drivers
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.info import open_raster
from rsmoe.geo.name_dates import day_in_name
from rsmoe.geo.windows import tile_starts


class SourceTiles:
    """The tiles of a picture: itself, or, where it is larger, windows that overlap and end at its edges.

    Args:
        picture: a copy of what is no file lasts as long as this object.
        bands: C of the tiles.
        raster: options of `rsmoe.geo.RasterSource`, for rasters alone.
        side: of a tile in pixels; 0 takes every picture as one tile.
        overlap: the least share of a tile that its neighbour sees too.

    Raises:
        UserError: see `rsmoe.geo.dates.read_dates`; another number of bands.
    """

    def __init__(self, picture: Picture, *, bands: int, raster: Mapping[str, Any], side: int, overlap: float) -> None:
        folder = Path()
        if not isinstance(picture.content, Path):
            folder = Path(mkdtemp(prefix="rsmoe-"))
            finalize(self, rmtree, folder, ignore_errors=True)
        file, day = picture.local(folder), picture.day
        if isinstance(file, Path):
            given = dict(raster) if raster_drivers(file) else {}
            self.dates: Dates = read_dates([file], bands=bands, options=given)
            day = day or _day(file, given)
        else:
            self.dates = Dates(images=(file,), valid=np.ones(file.shape[:2], bool), georeference=None, notes=())
        height, width, found = self.dates.images[0].shape
        if found != bands:
            raise UserError(
                f"{picture.path} has {found} bands, and the model reads {bands}: give a raster, raster.bands=[...]"
            )
        place = self.dates.georeference
        if place is None and picture.place is not None:
            place = picture.place.resized(width, height)
        self.source = Source(path=picture.path, stamp=picture.stamp, georeference=place, day=day)
        self._side, self._overlap = side, overlap

    @cached_property
    def windows(self) -> list[tuple[int, int, int, int]]:
        """Left, top, width and height of each tile, from the top to the bottom."""
        height, width = self.dates.valid.shape
        side = self._side or max(height, width)
        return [
            (left, top, min(side, width), min(side, height))
            for top in tile_starts(height, side, overlap=self._overlap)
            for left in tile_starts(width, side, overlap=self._overlap)
        ]

    def cut(self, window: tuple[int, int, int, int]) -> np.ndarray | None:
        """(h, w, C) uint8, thinned where it is very large; None where no pixel holds data."""
        left, top, width, height = window
        part = self.dates.overview(rows=slice(top, top + height), columns=slice(left, left + width))
        return part.images[0] if part.valid.any() else None

    def tiles(self, skip: Collection[tuple[int, int]] = ()) -> Iterator[tuple[Tile, np.ndarray | None]]:
        """Every tile with its pixels, None as in `cut`.

        Args:
            skip: left and top of those that are not read.
        """
        for window in self.windows:
            if window[:2] not in skip:
                box, gsd_m = _located(self.source.georeference, window)
                yield Tile(source=self.source, window=window, box=box, gsd_m=gsd_m), self.cut(window)


def _located(grid: Georeference | None, window: tuple[int, int, int, int]) -> tuple[Box | None, float | None]:
    """The box of a window, and its gsd in metres; None for what lies nowhere on the earth."""
    if grid is None:
        return None, None
    tile = Tile(source=Source(path="", stamp="", georeference=grid), window=window)
    footprint = tile.footprint()
    if footprint is None:
        return None, None
    assert tile.place is not None
    return box_of(footprint), tile.place.gsd_m


def _day(path: Path, raster: Mapping[str, Any]) -> str | None:
    """Of a date pattern, of a whole date in the name, of the file."""
    named = None if raster.get("date_pattern") else day_in_name(path.name)
    if named is None and raster_drivers(path):
        names = raster.get("names")
        named = open_raster(
            path, names=tuple(names) if isinstance(names, list) else names, date_pattern=raster.get("date_pattern")
        ).timestamp
    return None if named is None else f"{named:%Y-%m-%d}"
