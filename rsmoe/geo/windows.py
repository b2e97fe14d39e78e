"""Dates that are too large to be read at once, read window by window from files that stay open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rsmoe.geo.align import AlignedRaster
from rsmoe.geo.failures import BLOCK_CACHE, gdal_failures
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.info import RasterInfo, read_info
from rsmoe.geo.opening import alone, open_dataset
from rsmoe.geo.raster import RasterSource
from rsmoe.geo.stretch import Stretch
from rsmoe.geo.warp import on_grid

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

WHOLE_PIXELS = 2**22
"""Pictures of up to so many pixels, 2048 x 2048, are read at once; of a larger one, this is the size of an overview."""


class DateWindows:
    """T dates on one grid. Files are opened here and closed with this object.

    Args:
        dates: all of `align`, or sources without a place whose windows have one size.

    Raises:
        UserError: see `RasterSource`.
    """

    def __init__(self, dates: Sequence[AlignedRaster] | Sequence[RasterSource]) -> None:
        self._sources = [date.source if isinstance(date, AlignedRaster) else date for date in dates]
        self.grid: Georeference | None = dates[0].grid if isinstance(dates[0], AlignedRaster) else None
        self._files: list[DatasetReader] = []
        self._infos: list[RasterInfo] = []
        self._stretches: list[Stretch | None] = []
        for date, source in zip(dates, self._sources, strict=True):
            file = open_dataset(source.path)
            with alone(source.path):
                info = read_info(file, source.path, names=source.names, date_pattern=source.date_pattern)
                fitted = date.common_stretch() if isinstance(date, AlignedRaster) else source.fitted_stretch(file, info)
            self._files.append(file)
            self._infos.append(info)
            self._stretches.append(fitted)
        if self.grid is not None:
            self.shape: tuple[int, ...] = (self.grid.height, self.grid.width)
        else:
            self.shape = self._sources[0].shape[:2]
        self.bands = len(self._sources[0].chosen(self._infos[0]))
        self._last: tuple[object, tuple[tuple[np.ndarray, ...], np.ndarray]] | None = None

    def read(self, rows: slice, columns: slice) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """T pictures (h, w, C) uint8, 0 where any date has no data, and the (h, w) bool mask where all have."""
        place = self._place(rows, columns)
        if self._last is None or self._last[0] != place:  # one call for each date and for the mask
            self._last = place, self._read(place, None)
        return self._last[1]

    def overview(
        self, shape: tuple[int, int], *, rows: slice, columns: slice, mean: bool
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """`read`, thinned to (h, w).

        Args:
            shape: (h, w).
            rows, columns: of the window.
            mean: pixels are means of those they stand for, as a picture wants them; else one of these where the date
                lies on the grid, as statistics want them.
        """
        return self._read(self._place(rows, columns), shape, mean=mean)

    def _place(self, rows: slice, columns: slice) -> tuple[int, int, int, int]:
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        return left, top, right - left, bottom - top

    def _read(
        self, place: tuple[int, int, int, int], shape: tuple[int, int] | None, *, mean: bool = True
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        grid = None if self.grid is None else self.grid.subwindow(*place)
        stored, known = [], []
        for source, file, info in zip(self._sources, self._files, self._infos, strict=True):
            damaged = f"{source.path} is truncated or damaged, copy or download it again"
            with alone(source.path, GDAL_CACHEMAX=BLOCK_CACHE), gdal_failures(damaged):
                if grid is None:
                    left, top, *_ = source.window_in(info)
                    window = left + place[0], top + place[1], place[2], place[3]
                    values, valid = source.pixels(file, info, window, shape=shape, mean=mean)
                else:
                    values, valid = on_grid(source, file, info, grid, shape=shape, mean=mean)
            stored.append(values)
            known.append(valid)
        every = np.logical_and.reduce(known)
        pictures = [
            source.to_uint8(values, every, info=info, stretch=stretch)
            for source, values, info, stretch in zip(self._sources, stored, self._infos, self._stretches, strict=True)
        ]
        return tuple(pictures), every


class LazyDate:
    """One date of `DateWindows`, or the mask where all have data, as an array that is read where it is cut.

    ``date[top:bottom, left:right]`` reads; a date is (H, W, C) uint8, the mask (H, W) bool.

    Args:
        dates: all of them.
        number: of the date; None is the mask.
    """

    def __init__(self, dates: DateWindows, number: int | None) -> None:
        self.dates, self._number = dates, number
        self.shape: tuple[int, ...] = dates.shape if number is None else (*dates.shape, dates.bands)

    def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
        images, valid = self.dates.read(*where)
        return valid if self._number is None else images[self._number]


def tile_starts(length: int, side: int, *, overlap: float) -> list[int]:
    """Where tiles start along an edge, evenly, the last one at the end.

    Args:
        length: of the edge in pixels.
        side: of a tile.
        overlap: below 1, the least share of a tile that the next one sees too.
    """
    if length <= side:
        return [0]
    count = 1 + int(np.ceil((length - side) / (side * (1 - overlap))))
    return [int(start) for start in np.linspace(0, length - side, count).round()]
